// The OpenAPI document of a server's routes, made of what they say of themselves.
//
// Threads: reentrant. Source: OpenAPI Specification 3.1.0.
#pragma once

#include <span>
#include <string>

#include "base/status.h"
#include "serve/http/http_server.h"
#include "serve/http/route_document.h"

namespace sightline::serve {

struct OpenApiInfo {
  std::string title;
  std::string version;
  std::string summary;
  // A JSON object of the schemas that the routes refer to, by name.
  std::string schemas = "{}";
};

// InvalidArgument for a schema that is no JSON: a mistake where the route is registered.
absl::StatusOr<std::string> OpenApiJson(const OpenApiInfo& info,
                                        std::span<const Router::Listed> routes);

// GET /openapi.json with all routes that stand by now, and its own. The last one before Start().
absl::Status AddOpenApiRoute(const OpenApiInfo& info, HttpServer& server);

}  // namespace sightline::serve
