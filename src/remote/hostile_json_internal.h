// JSON from machines that are not trusted: bounded depth, and lookups that cannot throw.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace sightline {

inline constexpr int kMostJsonDepth = 32;  // chosen: replies have 7

// Nullopt for what is no JSON or is nested deeper.
inline std::optional<nlohmann::json> ParseHostileJson(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMostJsonDepth) return std::nullopt;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  nlohmann::json parsed = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) return std::nullopt;
  return parsed;
}

// Null when `object` is null, no object, or lacks it.
inline const nlohmann::json* Member(const nlohmann::json* object, const char* name) {
  if (object == nullptr || !object->is_object()) return nullptr;
  const auto found = object->find(name);
  return found == object->end() ? nullptr : &*found;
}

// Null when it is no string.
inline const std::string* Text(const nlohmann::json* value) {
  return value == nullptr ? nullptr : value->get_ptr<const std::string*>();
}

}  // namespace sightline
