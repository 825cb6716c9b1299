// What a route says of itself, where it is registered: the pieces of the OpenAPI document.
#pragma once

#include <string>
#include <vector>

namespace sightline::serve {

// Schemas are JSON Schema as text: {"type":"string"}, or {"$ref":"#/components/schemas/Error"}.
struct RouteDocument {
  struct Parameter {
    std::string name;
    std::string summary;
    std::string schema;
    bool in_header = false;  // else in the query
  };
  struct Content {
    std::string type;    // "application/json"
    std::string schema;  // "" = bytes that JSON Schema says nothing of
  };
  struct Answer {
    int status = 200;
    std::string summary;
    std::vector<Content> contents = {};  // none: no body
  };
  std::string summary;
  std::string tag;
  // Of the pattern's own parameters ("{model}"): those without a word here are plain strings.
  std::vector<Parameter> path = {};
  std::vector<Parameter> parameters = {};
  std::vector<Content> bodies = {};  // one of them; none: no body is taken
  bool body_required = false;
  std::vector<Answer> answers = {};
};

}  // namespace sightline::serve
