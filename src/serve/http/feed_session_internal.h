// Connections that listen. Internal to serve/http.
#pragma once

#include <memory>
#include <optional>

#include "serve/http/feed_queue_internal.h"
#include "serve/http/gated_exchange_internal.h"
#include "serve/http/http_connection_internal.h"
#include "serve/http/http_stream_internal.h"

namespace sightline::serve {

// Takes a connection over from HttpSession, once, and keeps it to its end.
class FeedConnection : public HttpConnection {
 public:
  explicit FeedConnection(HttpConnectionHost& host);
  ~FeedConnection() override;

  // The feed that the handler gets; made at the first call.
  const std::shared_ptr<FeedQueue>& queue();
  void Start(HttpStream&& stream, GatedExchange&& exchange);

 protected:
  virtual void Begin(HttpStream&& stream) = 0;
  HttpConnectionHost& host() { return host_; }
  // What the gate puts on every answer.
  void AddGateHeaders(NamedTexts* headers);

 private:
  HttpConnectionHost& host_;
  std::shared_ptr<FeedQueue> queue_;
  std::optional<GatedExchange> exchange_;
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
