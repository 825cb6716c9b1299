// JSON as text, whatever bytes it holds: file names need not be UTF-8, and nlohmann's dump() throws
// on those that are not. Each such byte becomes U+FFFD.
//
// Threads: reentrant. Errors: none.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace sightline {

// For nlohmann::json and ordered_json. One line, or indented by `indent` blanks.
template <typename Json>
std::string JsonText(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace sightline
