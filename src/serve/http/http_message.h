// An HTTP request and its answer, as handlers see them: no type of the HTTP library shows.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sightline::serve {

using NamedTexts = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;     // "GET"; a HEAD request comes to handlers of GET as "GET"
  std::string path;       // as sent, escapes in place: "/v1/cameras/front%20door/retry"
  std::string query;      // as sent, without the "?"
  NamedTexts headers;     // names in lower case, in the order sent
  NamedTexts parameters;  // of the route's pattern, without escapes: {"id", "front door"}
  std::string body;
  bool from_unix_socket = false;

  // The first header of that lower-case name; empty when there is none.
  std::string_view Header(std::string_view name) const;
  // A parameter of the pattern; empty when it has none of that name.
  std::string_view Parameter(std::string_view name) const;
  // The first value of a key of the query ("a=1&b"), without escapes; nullopt without that key.
  std::optional<std::string> QueryValue(std::string_view key) const;
};

struct HttpResponse {
  int status = 200;  // 100..599, others are sent as 500
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  NamedTexts headers = {};  // further ones; no line ends in them, those that have any are left out
};

// {"error": "..."} with that status: how errors look on every route.
HttpResponse ErrorResponse(int status, std::string_view message);

using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

}  // namespace sightline::serve
