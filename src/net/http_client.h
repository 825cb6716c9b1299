// Requests to HTTP servers, and their answers: the one way out for whatever asks or tells other
// machines something (models behind an endpoint; later object stores, web hooks, search indexes).
//
//   SL_ASSIGN_OR_RETURN(auto client, HttpClient::Create({}));
//   SL_ASSIGN_OR_RETURN(HttpResponse answer, client->Fetch({.url = "https://host/v1/models"}));
//
// Threads: Fetch() blocks and may be called from any number of threads at once; each call in flight
// has a connection of its own. Who wants fewer at once holds back.
// Bounds: a request ends within its timeout, whatever the server does; no more of an answer is read
// than its limits allow; idle connections are few and given up after two minutes.
// Trust: HTTP and HTTPS alone. Certificates and host names are always verified; TLS 1.2 at least.
// Cookies and .netrc are not used. A redirect is followed only where asked for, and never to another
// scheme, host or port, so that headers with credentials go nowhere else. Nothing is decompressed.
// Errors: the server's origin ("https://host:port") and what happened; never the path, the query,
// credentials, header values or the body, and nothing of the server's that a terminal would obey.
// Cost: the network's; a few kilobytes a connection and 16 KiB of buffers a call.
// Source: RFC 9110 and 9112 (HTTP/1.1), over libcurl 7.88 of Debian 12 or later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "net/cancel_signal.h"

namespace sightline::net {

struct HttpHeader {
  std::string name;
  std::string value;
};

struct TlsOptions {
  std::string ca_file = {};           // PEM; empty: the authorities that the system trusts
  std::string certificate_file = {};  // PEM, for servers that want to know us; with key_file
  std::string key_file = {};          // PEM, not encrypted
};

struct HttpClientOptions {
  int64_t connect_timeout_us = 5'000'000;  // name, TCP and TLS together; chosen
  size_t max_idle_connections = 8;         // kept open for the next requests; chosen
  TlsOptions tls = {};
  // http_proxy, https_proxy and no_proxy, as other programs read them.
  bool use_environment_proxy = true;
  // A server on this machine that listens at this path; the host in the URL is a name alone then.
  std::string unix_socket = {};
};

struct HttpRequest {
  std::string method = "GET";
  std::string url = {};                   // http:// or https://, at most 8 KiB
  std::vector<HttpHeader> headers = {};   // Host, Content-Length and User-Agent are added
  std::string_view body = {};             // borrowed until Fetch() returns
  int64_t timeout_us = 30'000'000;        // from the call to the answer's last byte; chosen
  size_t max_answer_bytes = 1024 * 1024;  // of the answer's body; chosen
  size_t max_head_bytes = 64 * 1024;      // of the answer's head; chosen
  int max_redirects = 0;                  // 0: a redirect is an answer like others
  CancelSignal* cancel = nullptr;         // may end it early; must live until Fetch() returns
};

struct HttpResponse {
  int status = 0;                        // 100 to 999
  std::vector<HttpHeader> headers = {};  // names in lower case, values as they came
  std::string body = {};
  // What the server asks for before the next request (seconds or a date), at most a leap year.
  std::optional<int64_t> retry_after_us = {};

  // The first of that name (in lower case); null when there is none.
  const std::string* Find(std::string_view name) const;
};

class HttpClient {
 public:
  // FailedPrecondition for TLS files that cannot be read.
  static absl::StatusOr<std::unique_ptr<HttpClient>> Create(const HttpClientOptions& options);
  ~HttpClient();  // no Fetch() may be in flight

  // The answer, whatever its status. Errors:
  //   InvalidArgument    a URL, method or header that cannot be sent
  //   NotFound           nobody listens at unix_socket
  //   Unavailable        no such host, nobody listens, or the connection broke, also in the middle
  //                      of an answer: may pass
  //   DeadlineExceeded   connecting or the whole took too long
  //   Unauthenticated    the server's certificate is not trusted, or is another host's
  //   DataLoss           what came is no HTTP
  //   ResourceExhausted  the answer is beyond its limits
  //   PermissionDenied   a redirect to another server, or too many of them; a unix_socket of another
  //                      user's
  //   Cancelled          by `request.cancel`
  //   FailedPrecondition this side's TLS or libcurl cannot do it
  absl::StatusOr<HttpResponse> Fetch(const HttpRequest& request);

  // Connections made so far: those of requests that found no idle one.
  uint64_t connections_made() const;

 private:
  class Impl;
  explicit HttpClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// "https://host:port" of a URL (the port where it is not the scheme's own), in lower case: what of it
// may be shown. InvalidArgument, without the text, for what HttpClient would not take.
absl::StatusOr<std::string> OriginOf(const std::string& url);

}  // namespace sightline::net
