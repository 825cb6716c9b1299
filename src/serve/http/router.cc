#include "serve/http/router.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/ascii_text.h"

namespace sightline::serve {
namespace {

// "/a//b/" is {"a", "", "b", ""}.
std::vector<std::string_view> SegmentsOf(std::string_view path) {
  std::vector<std::string_view> segments;
  path.remove_prefix(1);
  while (true) {
    const size_t slash = path.find('/');
    segments.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

bool IsParameter(std::string_view segment) {
  return segment.size() > 2 && segment.starts_with('{') && segment.ends_with('}');
}

// How much a segment of a pattern leaves open.
int Openness(std::string_view segment) {
  if (segment == "*") return 2;
  return IsParameter(segment) ? 1 : 0;
}

bool IsMoreExact(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return std::lexicographical_compare(
      a.begin(), a.end(), b.begin(), b.end(),
      [](const std::string& x, const std::string& y) { return Openness(x) < Openness(y); });
}

bool SamePattern(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const std::string& x, const std::string& y) {
                      return IsParameter(x) ? IsParameter(y) : x == y;
                    });
}

bool Matches(const std::vector<std::string>& pattern, const std::vector<std::string>& path,
             NamedTexts* parameters) {
  parameters->clear();
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == "*") return true;
    if (i >= path.size()) return false;
    if (IsParameter(pattern[i])) {
      if (path[i].empty()) return false;
      parameters->emplace_back(pattern[i].substr(1, pattern[i].size() - 2), path[i]);
    } else if (pattern[i] != path[i]) {
      return false;
    }
  }
  return pattern.size() == path.size();
}

}  // namespace

absl::Status Router::Add(std::string_view method, std::string_view pattern, HttpHandler handler,
                         const RouteOptions& options) {
  Route route;
  route.handler = std::move(handler);
  route.options = options;
  return AddRoute(method, pattern, std::move(route));
}

absl::Status Router::AddAsync(std::string_view method, std::string_view pattern,
                              HttpAsyncHandler handler, const RouteOptions& options) {
  Route route;
  route.async_handler = std::move(handler);
  route.options = options;
  return AddRoute(method, pattern, std::move(route));
}

absl::Status Router::AddFeed(std::string_view pattern, HttpFeedHandler handler,
                             const RouteOptions& options) {
  Route route;
  route.feed_handler = std::move(handler);
  route.options = options;
  return AddRoute("GET", pattern, std::move(route));
}

absl::Status Router::AddRoute(std::string_view method, std::string_view pattern, Route route) {
  if (method.empty() || method == "HEAD" || !pattern.starts_with('/')) {
    return InvalidArgument("{} {} is no route: a path begins with /, and HEAD is a part of GET",
                           method, pattern);
  }
  route.method = std::string(method);
  route.pattern = std::make_shared<const std::string>(pattern);
  const std::vector<std::string_view> segments = SegmentsOf(pattern);
  for (size_t i = 0; i < segments.size(); ++i) {
    if (segments[i] == "*" && i + 1 < segments.size()) {
      return InvalidArgument("{} is no route: * stands only at the end", pattern);
    }
    route.segments.emplace_back(segments[i]);
  }
  for (const Route& other : routes_) {
    if (other.method == method && SamePattern(other.segments, route.segments)) {
      return InvalidArgument("the route {} {} stands already", method, pattern);
    }
  }
  const auto at = std::find_if(routes_.begin(), routes_.end(), [&](const Route& other) {
    return IsMoreExact(route.segments, other.segments);
  });
  routes_.insert(at, std::move(route));
  return absl::OkStatus();
}

std::vector<Router::Listed> Router::List() const {
  std::vector<Listed> list;
  for (const Route& route : routes_) {
    list.push_back({route.method, *route.pattern, route.options});
  }
  return list;
}

Router::Found Router::Find(std::string_view method, std::string_view path,
                           bool from_unix_socket) const {
  Found found;
  if (!path.starts_with('/')) {
    found.refusal = ErrorResponse(400, "the path does not begin with /");
    return found;
  }
  std::vector<std::string> segments;
  for (const std::string_view segment : SegmentsOf(path)) {
    if (!PercentDecode(segment, &segments.emplace_back())) {
      found.refusal =
          ErrorResponse(400, "a % in the path is not followed by two hexadecimal digits");
      return found;
    }
  }
  const std::string_view wanted = method == "HEAD" ? "GET" : method;
  std::set<std::string> allowed;
  for (const Route& route : routes_) {
    if (route.options.reach == RouteReach::kUnixSocket && !from_unix_socket) continue;
    if (!Matches(route.segments, segments, &found.parameters)) continue;
    if (route.method == wanted) {
      if (route.handler) found.handler = &route.handler;
      if (route.async_handler) found.async_handler = &route.async_handler;
      if (route.feed_handler) found.feed_handler = &route.feed_handler;
      found.options = route.options;
      found.pattern = *route.pattern;
      return found;
    }
    allowed.insert(route.method);
    if (route.method == "GET") allowed.insert("HEAD");
  }
  found.parameters.clear();
  if (allowed.empty()) {
    found.refusal = ErrorResponse(404, "there is nothing at this path");
    return found;
  }
  std::string allow;
  for (const std::string& name : allowed) allow += (allow.empty() ? "" : ", ") + name;
  found.refusal = ErrorResponse(405, "this path answers " + allow);
  found.refusal.headers.emplace_back("Allow", allow);
  return found;
}

}  // namespace sightline::serve
