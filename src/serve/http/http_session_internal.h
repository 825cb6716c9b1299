// One connection of HttpServer, from its first request to its last. Internal to serve/http.
//
// Threads: everything on the server's.
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "serve/http/body_place_internal.h"
#include "serve/http/gated_exchange_internal.h"
#include "serve/http/http_connection_internal.h"
#include "serve/http/http_stream_internal.h"
#include "serve/http/request_parser_internal.h"

namespace sightline::serve {

class HttpSession final : public HttpConnection {
 public:
  // `refusal`: the status that is all that it answers, 503 of a server that is full and 429 of an address
  // that has too many connections; 0: none.
  HttpSession(HttpConnectionHost& host, HttpStream&& stream, bool from_unix_socket, int refusal);
  ~HttpSession() override;

  void Start();
  void EndWhenAnswered() override;
  void Close() override;
  void OnAlarm(int64_t now_us) override;
  void SendLater(HttpResponse&& response) override;

 private:
  using ErrorCode = boost::beast::error_code;

  // How long and how much is read of a connection that is told why it ends: closed with bytes unread it
  // would be reset, and the answer lost on its way.
  static constexpr int64_t kLingerUs = 2'000'000;
  static constexpr size_t kLingerBytes = size_t{64} << 20;   // as much as a body may have anywhere
  static constexpr size_t kPassOverBytes = size_t{1} << 20;  // of a body that nobody wants; chosen
  static constexpr size_t kReadAtOnce = 4096;

  // What a request and its answer need; a connection that is idle for long has none.
  struct Turn {
    explicit Turn(size_t max_head_bytes) : parser(request, max_head_bytes) {}
    HttpRequest request;
    RequestParser parser;
    Router::Found route;
    BodyPlace place;         // of a body whose length is known, until it is whole
    HttpReply::Asker asker;  // of an asynchronous handler
    HttpResponse response;
    std::string head;
    std::vector<boost::asio::const_buffer> unsent;
    size_t next = 0;  // of `unsent`
    uint64_t sent_bytes = 0;
  };

  enum class Phase { kIdle, kAsleep, kRequest, kHandler, kAnswer, kLinger };

  void OnHandshake(ErrorCode error);
  void AwaitRequest();
  // Waits for more bytes of the head.
  void ReadMore();
  void Sleep();
  void ReadHead();
  void OnHead(ErrorCode error);
  // Asks the gate; true when it refused, and its answer is on its way.
  bool IsRefusedByGate(size_t body_bytes, bool chunked);
  void ReadBody();
  void ReadRest();
  void AwaitRest();
  void ReadChunks();
  void Answer();
  void AnswerByFeed();
  void Refuse(int status, std::string_view message);
  void RefuseBroken(ErrorCode error);
  void RefuseFull();
  void RefuseCrowd();
  void Send(HttpResponse&& response, bool keep_alive, bool head_only);
  void Write();
  void OnSent(ErrorCode error);
  // Reads what is left of the body of a request that was refused, then the next request.
  void PassOver();
  void DiscardRest();
  void Linger();
  bool KeepsAlive() const;
  bool IsHead() const { return turn_->request.method == "HEAD"; }
  void SetDeadline(int64_t at_us);
  // For the next bytes after `moved_bytes`: nothing may stand still for longer than `grace_us`, and
  // everything be slower than the least rate by no more than that.
  void AllowTime(int64_t grace_us, uint64_t moved_bytes);
  std::shared_ptr<HttpSession> Self() {
    return std::static_pointer_cast<HttpSession>(shared_from_this());
  }

  HttpConnectionHost& host_;
  HttpStream stream_;
  boost::beast::flat_buffer buffer_;
  std::unique_ptr<Turn> turn_;
  GatedExchange exchange_;  // from Admit() to Ended()
  std::string client_;      // asked for once
  int64_t began_us_ = 0;    // the first byte of the request came, or the first of the answer goes
  int64_t deadline_us_ = HttpConnectionHost::kNever;
  BodyRoom room_;                 // taken for the body
  size_t answer_room_bytes_ = 0;  // taken for the answer
  size_t pass_over_bytes_ = 0;    // of the body that nobody wants
  size_t lingered_bytes_ = 0;
  Phase phase_ = Phase::kIdle;
  const bool from_unix_socket_;
  const int refusal_;        // its status; 0: none
  bool keep_alive_ = false;  // of the request that is being answered
  bool head_only_ = false;
  bool first_ = true;  // no request came yet
};

}  // namespace sightline::serve
