#include "pipeline/config/describe.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/json_text.h"
#include "pipeline/config/fields.h"

namespace sightline {
namespace {

using config::Field;
using config::FieldType;
using config::Section;
using config::Value;
using Json = nlohmann::ordered_json;

// The shortest text that reads back as the same float, as a number of JSON.
Json FromFloat(float value) { return Json::parse(fmt::format("{}", value)); }

Json FromValue(const Field& field, const Value& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag;
  if (const auto* number = std::get_if<double>(&value)) return *number;
  if (field.type == FieldType::kInteger) return std::get<int64_t>(value);
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) return *list;
  if (const auto* numbers = std::get_if<std::vector<int64_t>>(&value)) return *numbers;
  const auto from_point = [](PointF p) { return Json::array({FromFloat(p.x), FromFloat(p.y)}); };
  if (const auto* point = std::get_if<PointF>(&value)) return from_point(*point);
  if (const auto* points = std::get_if<std::vector<PointF>>(&value)) {
    Json all = Json::array();
    for (const PointF point : *points) all.push_back(from_point(point));
    return all;
  }
  return config::FormatValue(field, value);
}

bool IsEmptyList(const Value& value) {
  const auto* texts = std::get_if<std::vector<std::string>>(&value);
  const auto* numbers = std::get_if<std::vector<int64_t>>(&value);
  return (texts != nullptr && texts->empty()) || (numbers != nullptr && numbers->empty());
}

Json FromSection(const Section& section, const void* target) {
  Json map = Json::object();
  for (const Field& field : section.fields) {
    const std::string key(field.key);
    if (field.type == FieldType::kSectionList) {
      for (size_t i = 0; const void* element = field.element(target, i); ++i) {
        map[key].push_back(FromSection(*field.section, element));
      }
    } else if (field.type == FieldType::kSection) {
      if (const void* inner = field.element(target, 0)) {
        Json inner_map = FromSection(*field.section, inner);
        // An empty map that is there says more than one that is not only where it is optional.
        if (!inner_map.empty() || !field.unset_means.empty()) map[key] = std::move(inner_map);
      }
    } else {
      const Value value = field.get(target);
      if (std::holds_alternative<std::monostate>(value) || IsEmptyList(value)) continue;
      map[key] = FromValue(field, value);
    }
  }
  return map;
}

// Models that cameras name directly are no entries of a file.
Json FromConfig(const Config& config) {
  Config declared = config;
  declared.models.resize(std::min(declared.models.size(), declared.declared_models));
  return FromSection(config::FileSection(), &declared);
}

// A JSON string is a double-quoted YAML one; numbers, booleans and flow lists are the same in both.
// Texts that need no quotes go without.
std::string Scalar(const Json& value) {
  if (!value.is_string()) return JsonText(value);
  const auto& text = value.get_ref<const std::string&>();
  const bool plain = !text.empty() && std::isalpha(static_cast<unsigned char>(text[0])) &&
                     text != "true" && text != "false" && text != "null" && text != "Null" &&
                     text != "NULL" &&
                     text.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-") ==
                         std::string::npos;
  return plain ? text : JsonText(value);
}

void WriteYaml(const Json& map, const std::string& indent, std::string& text) {
  bool first = true;
  for (const auto& [key, value] : map.items()) {
    // The first key of a list's entry stands behind its "- ".
    if (!first) text += indent;
    first = false;
    const bool maps = value.is_array() && !value.empty() && value[0].is_object();
    if (value.is_object() && !value.empty()) {
      text += fmt::format("{}:\n{}  ", key, indent);
      WriteYaml(value, indent + "  ", text);
    } else if (maps) {
      text += fmt::format("{}:\n", key);
      for (const Json& entry : value) {
        text += fmt::format("{}  - ", indent);
        WriteYaml(entry, indent + "    ", text);
      }
    } else {
      text += fmt::format("{}: {}\n", key, Scalar(value));
    }
  }
}

}  // namespace

std::string ConfigYaml(const Config& config) {
  std::string text;
  WriteYaml(FromConfig(config), "", text);
  return text;
}

std::string ConfigJson(const Config& config) { return JsonText(FromConfig(config)); }

}  // namespace sightline
