// Which handler answers a request: routes by method and path.
//
// Patterns: "/metrics" is that path alone; "{id}" stands for one segment that is not empty, handed on
// without escapes ("/v1/cameras/{id}/retry"); "/*" at the end stands for whatever follows, also
// nothing ("/ui/*"). Exact segments go before "{}", and these before "*". Escapes in the request's
// path are undone segment by segment, so that "%2F" never makes a new segment.
//
// Threads: Add() before the first Find(); Find() from any. Cost: a pass over the routes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "serve/http/http_message.h"

namespace sightline::serve {

// Whom a route answers: control belongs on the Unix socket, whose file mode is its lock.
enum class RouteReach { kEverywhere, kUnixSocket };

// What a caller must be allowed to do, where the server has a gate (http_gate.h): each includes those
// before it.
enum class RouteRole : uint8_t {
  kHealth,   // as kViewer, but may be opened to everyone
  kMetrics,  // the same
  kViewer,   // metadata, statistics
  kInfer,
  kAdmin,    // changes something for everyone
  kControl,  // the same, and may be turned off: loading models, settings of log and traces
};

struct RouteDocument;

struct RouteOptions {
  RouteReach reach = RouteReach::kEverywhere;
  RouteRole role = RouteRole::kAdmin;  // a route that says nothing is nobody else's
  // The model, and its version, are "model" and "version" of the query: what is asked of models before the
  // body is read is asked of that one.
  bool model_in_query = false;
  // Of a request's body; more is answered with 413. Unset: none for GET and DELETE, else the server's.
  std::optional<size_t> max_body_bytes = {};
  // A header in lower case that says how many bytes of a body stand before others which are best read where
  // they lie: in large bodies these begin on a boundary of 64. Empty: none.
  std::string_view aligned_by = {};
  // What it says of itself (route_document.h), for /openapi.json; null: nothing.
  std::shared_ptr<const RouteDocument> document = {};
};

class Router {
 public:
  // InvalidArgument for a pattern that is none, and for one that stands already.
  absl::Status Add(std::string_view method, std::string_view pattern, HttpHandler handler,
                   const RouteOptions& options = {});
  absl::Status AddAsync(std::string_view method, std::string_view pattern, HttpAsyncHandler handler,
                        const RouteOptions& options = {});
  // Of GET.
  absl::Status AddFeed(std::string_view pattern, HttpFeedHandler handler,
                       const RouteOptions& options = {});

  struct Found {
    // One of them; with none `refusal` is the answer.
    const HttpHandler* handler = nullptr;
    const HttpAsyncHandler* async_handler = nullptr;
    const HttpFeedHandler* feed_handler = nullptr;
    RouteOptions options;
    std::string_view pattern;  // lives as long as the router
    NamedTexts parameters;
    HttpResponse refusal;  // 400, 404, or 405 with Allow

    bool refused() const {
      return handler == nullptr && async_handler == nullptr && feed_handler == nullptr;
    }
  };
  // HEAD finds the route of GET.
  Found Find(std::string_view method, std::string_view path, bool from_unix_socket) const;

  struct Listed {
    std::string method;
    std::string pattern;
    RouteOptions options;
  };
  // All routes, the more exact ones first.
  std::vector<Listed> List() const;

 private:
  struct Route {
    std::string method;
    std::shared_ptr<const std::string> pattern;
    std::vector<std::string> segments;  // "{id}" for a parameter, "*" at the end
    HttpHandler handler;
    HttpAsyncHandler async_handler;  // instead
    HttpFeedHandler feed_handler;    // instead
    RouteOptions options;
  };
  absl::Status AddRoute(std::string_view method, std::string_view pattern, Route route);
  std::vector<Route> routes_;  // the more exact ones first
};

}  // namespace sightline::serve
