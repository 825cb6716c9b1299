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
// Bounds: connections beyond the most are answered 503 and closed, those beyond the most of one address 429. A request's head must come within
// its time and size (431), its body within its size (413, by route) and no slower than min_bytes_per_s,
// which is also what an answer must be read at; who is slower or idle for too long is closed. All bodies
// that are being read or answered have a bound together, too, and so have all answers that wait to be
// read (503 beyond them). Connections that are idle for seconds hold some hundred bytes (16 KB with TLS).
// Answers: keep-alive, pipelining, HEAD, "Expect: 100-continue", 400 for what is no HTTP, 404, and 405
// with Allow; TLS 1.3 (tls_credentials.h); server-sent events and WebSockets (http_feed.h). No compression.
// Source: RFC 9110 and 9112, over Boost.Beast's parser and its WebSocket.
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
class TlsCredentials;

struct HttpServerOptions {
  std::optional<ListenAddress> tcp = {};
  std::string unix_path = {};  // empty: none. Mode 0600, removed at the end (unix_socket.h)

  // All chosen, not measured.
  size_t max_connections = 256;
  // Of one client, by NetworkOf() (client_address.h), but not of the Unix socket's; 0: as many as of all.
  size_t max_connections_per_address = 0;
  size_t max_head_bytes = 16 * 1024;
  size_t max_body_bytes = 1024 * 1024;          // of routes that say nothing else
  size_t max_bodies_bytes = size_t{512} << 20;  // of all requests together
  // Of all answers that wait to be read, without those of up to 16 KiB.
  size_t max_answers_bytes = size_t{512} << 20;
  // Of a handshake and of a request's head; then the longest that a body may stand still, and how far it
  // may be behind min_bytes_per_s.
  int64_t request_timeout_us = 10'000'000;
  // Before the first request and between requests, longer than scrapers wait; while more than three quarters of
  // max_connections are there, the first has to come within request_timeout_us.
  int64_t idle_timeout_us = 75'000'000;
  int64_t asleep_after_us = 2'000'000;    // an idle connection gives its buffers back
  int64_t write_timeout_us = 30'000'000;  // the same of an answer
  uint64_t min_bytes_per_s = 16 * 1024;
  int64_t stop_timeout_us = 1'000'000;  // what answers on their way get at Stop()
  // What the client of a WebSocket has to answer that it ends.
  int64_t close_timeout_us = 2'000'000;
  // What waits for each client of a feed; beyond it the oldest is lost.
  size_t feed_messages = 64;
  size_t feed_bytes = size_t{1} << 20;

  std::shared_ptr<const TlsCredentials> tls = {};  // for the port, not the Unix socket; null: none

  HttpGate* gate = nullptr;  // who may come in (http_gate.h); null: everyone. Outlives the server
};

// What the server has seen; counters never go back.
struct HttpServerStats {
  uint64_t connections = 0;  // open now
  uint64_t asleep = 0;       // of these, idle ones without buffers
  uint64_t accepted = 0;
  uint64_t refused = 0;          // beyond max_connections, or those of an address
  uint64_t address_refused = 0;  // of these beyond max_connections_per_address
  uint64_t failed = 0;          // not accepted for want of a descriptor or memory; tried again soon
  uint64_t requests = 0;        // answered, whatever the status
  uint64_t errors = 0;          // of these with a status from 400 on
  uint64_t bodies_bytes = 0;    // of requests that are being read or answered
  uint64_t bodies_kept_bytes = 0;  // of memory that waits for the next ones
  uint64_t bodies_refused = 0;  // requests for which max_bodies_bytes left no room
  uint64_t answers_bytes = 0;   // that wait to be read
  uint64_t answers_refused = 0;  // for which max_answers_bytes left no room
  uint64_t timed_out = 0;        // connections closed in the middle of a request or an answer
  uint64_t handshakes_failed = 0;
  uint64_t feeds = 0;  // open now
  uint64_t feed_messages = 0;
  uint64_t feed_messages_lost = 0;  // by clients that read too slowly
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
  absl::Status RouteFeed(std::string_view pattern, HttpFeedHandler handler,
                         const RouteOptions& options = {});
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
