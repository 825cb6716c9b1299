// A small HTTP/1.1 server: TCP, a Unix domain socket, or both, on one thread of its own.
//
//   SL_ASSIGN_OR_RETURN(auto server, HttpServer::Create({.tcp = address, .unix_path = path}));
//   SL_RETURN_IF_ERROR(server->Route("GET", "/metrics", [](const HttpRequest&) { ... }));
//   SL_RETURN_IF_ERROR(server->Route("POST", "/v1/cameras/{id}/retry", retry,
//                                    {.reach = RouteReach::kUnixSocket}));
//   SL_RETURN_IF_ERROR(server->Start());
//
// Threads: Route() before Start(); the rest from any but the server's own. Handlers run one after the
// other on the thread "http": while one works, nobody else is answered. They may throw; the answer is
// then 500. Those of RouteAsync() answer when they have the answer, and others are served meanwhile.
// Bounds: connections beyond the most are answered 503 and closed. A request's head must come within
// its time and size (431), its body too (413, by route); a connection that is idle, sends too slowly or
// does not read its answer is closed. An answer that does not fit the sockets' buffers is held until it
// is read: at most one a connection. All bodies that are being read or answered have a bound together,
// too (503 beyond it).
// Answers: keep-alive, pipelining, HEAD, "Expect: 100-continue", 400 for what is no HTTP, 404, and 405
// with Allow. Neither TLS nor compression.
// Source: RFC 9110 and 9112, over Boost.Beast.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/listen_address.h"
#include "base/status.h"
#include "serve/http/http_message.h"
#include "serve/http/router.h"

namespace sightline::serve {

class HttpGate;

struct HttpServerOptions {
  std::optional<ListenAddress> tcp = {};
  std::string unix_path = {};  // empty: none. Mode 0600, removed at the end (unix_socket.h)

  // All chosen, not measured.
  size_t max_connections = 256;
  size_t max_head_bytes = 16 * 1024;
  size_t max_body_bytes = 1024 * 1024;          // of routes that say nothing else
  size_t max_bodies_bytes = size_t{512} << 20;  // of all requests together
  int64_t request_timeout_us = 10'000'000;      // from a request's first byte to its last
  int64_t idle_timeout_us = 75'000'000;         // between requests; longer than scrapers wait
  int64_t write_timeout_us = 30'000'000;        // of an answer, to its last byte
  int64_t stop_timeout_us = 1'000'000;          // what answers on their way get at Stop()

  HttpGate* gate = nullptr;  // who may come in (http_gate.h); null: everyone. Outlives the server
};

// What the server has seen; counters never go back.
struct HttpServerStats {
  uint64_t connections = 0;  // open now
  uint64_t accepted = 0;
  uint64_t refused = 0;         // beyond max_connections
  uint64_t failed = 0;          // not accepted for want of a descriptor or memory; tried again soon
  uint64_t requests = 0;        // answered, whatever the status
  uint64_t errors = 0;          // of these with a status from 400 on
  uint64_t bodies_bytes = 0;    // of requests that are being read or answered
  uint64_t bodies_refused = 0;  // requests for which max_bodies_bytes left no room
};

class HttpServer {
 public:
  // Binds and listens, but answers nobody before Start(). InvalidArgument without an address or for a
  // path too long; FailedPrecondition when the port or the path is taken, or not allowed.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Create(const HttpServerOptions& options);
  ~HttpServer();  // Stop()s

  // As router.h has it.
  absl::Status Route(std::string_view method, std::string_view pattern, HttpHandler handler,
                     const RouteOptions& options = {});
  absl::Status RouteAsync(std::string_view method, std::string_view pattern,
                          HttpAsyncHandler handler, const RouteOptions& options = {});
  // ResourceExhausted when the system gives no thread.
  absl::Status Start();
  // Accepts nobody any more, closes what is idle, and waits until the answers on their way are sent,
  // at most stop_timeout_us. Idempotent.
  void Stop();

  // Where it listens, with the port that it got; nullopt without TCP.
  std::optional<ListenAddress> address() const;
  HttpServerStats stats() const;
  // What was added so far.
  std::vector<Router::Listed> routes() const;

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sightline::serve
