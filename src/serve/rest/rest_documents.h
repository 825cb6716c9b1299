// What the routes of the Open Inference Protocol say of themselves, for /openapi.json.
// Threads: reentrant.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "serve/http/route_document.h"

namespace sightline::serve {

enum class RestBody { kNone, kJson, kInfer };

// `answer`: the name of a schema of RestSchemas() for a 200, or "" for an empty body. `body_schema` likewise.
std::shared_ptr<const RouteDocument> RestDocument(std::string summary, std::string_view answer,
                                                  RestBody body = RestBody::kNone,
                                                  std::string_view body_schema = "Object");

// All schemas of the document, of the /v1 routes, too: a JSON object by name.
std::string ServingSchemas();

}  // namespace sightline::serve
