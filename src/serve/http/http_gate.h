// Who may come in: asked by HttpServer before a request costs more than its head.
//
//   class Gate final : public HttpGate { ... };
//   auto server = HttpServer::Create({.tcp = address, .gate = &gate});
//
// Threads: all functions are called on the thread of the server, several servers may have one gate.
// They must return soon.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "serve/http/http_message.h"
#include "serve/http/router.h"

namespace sightline::serve {

// One request, from its head to the end of its answer.
struct HttpExchange {
  std::string method;      // as sent: "HEAD" is "HEAD"
  std::string_view route;  // the pattern, which lives as long as the server; "": there was none
  RouteRole role = RouteRole::kAdmin;
  std::string model;        // the parameter "{model}" of the pattern
  std::string client;       // "192.0.2.1", "2001:db8::1"; "unix" for the Unix socket
  int status = 0;           // 0: the client left before there was an answer
  bool complete = false;    // the last byte of the answer was handed to the system
  uint64_t body_bytes = 0;  // of the request, as far as it came
  uint64_t sent_bytes = 0;  // of the answer, its head included
  // On the monotonic clock, in us.
  int64_t began_us = 0;     // the first byte of the head is there
  int64_t handled_us = 0;   // the body is there; 0: it never was, or was not wanted
  int64_t answered_us = 0;  // the first byte of the answer goes out; 0: none did
  int64_t ended_us = 0;
  std::shared_ptr<RequestContext> context;  // what Admit() left in the request; may be null
};

class HttpGate {
 public:
  virtual ~HttpGate() = default;
  // Called when the head was read and the route was looked for, before any byte of the body is taken.
  // `head` has all but the body, and `route` ("" where there is none, which is then answered by 404 or
  // 405 unless the gate refuses) the pattern of the route. The gate may set head.context, which the
  // handler finds there and whose answer_headers are put on the answer, whatever that is.
  // What is returned is sent instead of asking the handler.
  virtual std::optional<HttpResponse> Admit(HttpRequest& head, std::string_view route,
                                            const RouteOptions& options) = 0;
  // Whether a client that listens (http_feed.h) may go on: asked of each every kFeedLookUs, with what Admit()
  // let in. With "no" nothing that waits for it is sent any more, and its connection ends.
  virtual bool MayGoOn(const HttpExchange& /*exchange*/) { return true; }
  static constexpr int64_t kFeedLookUs = 500'000;
  // Once for every request for which Admit() was called: after the answer was sent, or when the client
  // left, or with the server.
  virtual void Ended(const HttpExchange& exchange) = 0;
};

}  // namespace sightline::serve
