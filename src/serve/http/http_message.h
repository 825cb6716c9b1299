// An HTTP request and its answer, as handlers see them: no type of the HTTP library shows.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/http/request_body.h"
#include "serve/request_context.h"

namespace sightline::serve {

using NamedTexts = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;     // "GET"; a HEAD request comes to handlers of GET as "GET"
  std::string path;       // as sent, escapes in place: "/v1/cameras/front%20door/retry"
  std::string query;      // as sent, without the "?"
  NamedTexts headers;     // names in lower case, in the order sent
  NamedTexts parameters;  // of the route's pattern, without escapes: {"id", "front door"}
  RequestBody body;
  bool from_unix_socket = false;
  std::string client;  // its address: "192.0.2.1", "2001:db8::1"; "unix" for the Unix socket
  std::shared_ptr<RequestContext> context;  // of the server's gate; null without one

  // The first header of that lower-case name; empty when there is none.
  std::string_view Header(std::string_view name) const;
  // A parameter of the pattern; empty when it has none of that name.
  std::string_view Parameter(std::string_view name) const;
  // The first value of a key of the query ("a=1&b"), without escapes; nullopt without that key.
  std::optional<std::string> QueryValue(std::string_view key) const;
  // Its keys in their order, without escapes.
  std::vector<std::string> QueryKeys() const;
};

struct HttpResponse {
  int status = 200;  // 100..599, others are sent as 500
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  NamedTexts headers = {};  // further ones; no line ends in them, those that have any are left out
  // Sent behind `body` as one with it, without being copied together.
  std::vector<std::string> more_body = {};
};

// {"error": "..."} with that status: how errors look on every route.
HttpResponse ErrorResponse(int status, std::string_view message);

using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

// Takes the answer to one request, from any thread and at any time, also after the server's end. The
// first one counts. Whoever gives none before the last copy is gone has answered 500.
class HttpReply {
 public:
  // Calls `send` at most once, on the thread that answers.
  explicit HttpReply(std::function<void(HttpResponse&&)> send);
  void operator()(HttpResponse response) const;
  // The client was seen to have left (looked at some ten times a second): what has not begun need not.
  bool left() const;

 private:
  struct State;

 public:
  // Keeps no answer open.
  class Asker {
   public:
    void MarkLeft() const;

   private:
    friend class HttpReply;
    std::weak_ptr<State> state_;
  };
  Asker asker() const;

 private:
  std::shared_ptr<State> state_;
};

// For answers that take longer than it may hold up the server's thread: must return soon.
using HttpAsyncHandler = std::function<void(HttpRequest&&, const HttpReply&)>;

// For clients that listen (http_feed.h): what is returned refuses the client, else the feed is its own
// until it leaves. Must return soon.
class HttpFeed;
using HttpFeedHandler = std::function<std::optional<HttpResponse>(
    const HttpRequest&, const std::shared_ptr<HttpFeed>&)>;

}  // namespace sightline::serve
