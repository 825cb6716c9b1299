// Connections that listen. Internal to serve/http.
#pragma once

#include <memory>
#include <optional>

#include "serve/http/feed_queue_internal.h"
#include "serve/http/gated_exchange_internal.h"
#include "serve/http/http_connection_internal.h"
#include "serve/http/http_stream_internal.h"

namespace sightline::serve {

// Takes a connection over from HttpSession, once, and keeps it to its end, or until the server's gate lets
// its client listen no longer.
class FeedConnection : public HttpConnection {
 public:
  explicit FeedConnection(HttpConnectionHost& host);
  ~FeedConnection() override;

  void OnAlarm(int64_t now_us) final;

  // The feed that the handler gets; made at the first call.
  const std::shared_ptr<FeedQueue>& queue();
  void Start(HttpStream&& stream, GatedExchange&& exchange);

 protected:
  virtual void Begin(HttpStream&& stream) = 0;
  // The time of SetFeedAlarm() came.
  virtual void OnFeedAlarm() = 0;
  // The client waits for a write that does not end.
  virtual bool is_stuck() const = 0;
  HttpConnectionHost& host() { return host_; }
  void SetFeedAlarm(int64_t at_us);
  bool is_revoked() const { return is_revoked_; }
  // Of the connection at its end, the requests before this one included.
  void SetWrittenBytes(uint64_t bytes);
  // What the gate puts on every answer.
  void AddGateHeaders(NamedTexts* headers);

 private:
  HttpConnectionHost& host_;
  std::shared_ptr<FeedQueue> queue_;
  std::optional<GatedExchange> exchange_;
  uint64_t written_before_ = 0;
  int64_t feed_alarm_us_ = HttpConnectionHost::kNever;
  int64_t next_look_us_ = HttpConnectionHost::kNever;  // whether it may go on
  bool is_revoked_ = false;
};

std::shared_ptr<FeedConnection> MakeEventStream(HttpConnectionHost& host);
// For a request that asks for a WebSocket.
std::shared_ptr<FeedConnection> MakeWebSocket(HttpConnectionHost& host, const HttpRequest& request);

// Asks the handler; the connection that is to be started, or why there is none. `early`: the client has
// sent something behind its request.
std::shared_ptr<FeedConnection> OpenFeed(HttpConnectionHost& host, const HttpRequest& request,
                                         const HttpFeedHandler& handler, bool early,
                                         std::optional<HttpResponse>* refusal);

}  // namespace sightline::serve
