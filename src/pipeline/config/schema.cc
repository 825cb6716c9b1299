#include "pipeline/config/schema.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/json_text.h"
#include "pipeline/config/fields.h"
#include "pipeline/config/reader.h"

namespace sightline {
namespace {

using config::Field;
using config::FieldType;
using config::Section;
using config::Value;
using Json = nlohmann::ordered_json;

constexpr std::string_view kSchemaDialect = "https://json-schema.org/draft/2020-12/schema";

Json SectionSchema(const Section& section);

// YAML reads an unquoted 7 as a number; the parser takes it for the text it is.
Json TextTypes() { return Json::array({"string", "number"}); }

Json Number(double value) {
  if (value == std::floor(value) && std::abs(value) < 9e15) return static_cast<int64_t>(value);
  return value;
}

void AddRange(const Field& field, Json& schema) {
  if (std::isfinite(field.min)) {
    schema[field.min_excluded ? "exclusiveMinimum" : "minimum"] = Number(field.min);
  }
  if (std::isfinite(field.max)) schema["maximum"] = Number(field.max);
}

void AddCount(const Field& field, Json& schema) {
  if (field.min_items > 0) schema["minItems"] = field.min_items;
  schema["maxItems"] = field.max_items;
}

Json PointSchema() {
  return Json{{"type", "array"}, {"items", {{"type", "number"}}}, {"minItems", 2}, {"maxItems", 2}};
}

void AddType(const Field& field, Json& schema) {
  switch (field.type) {
    case FieldType::kBool:
      schema["type"] = "boolean";
      break;
    case FieldType::kInteger:
      schema["type"] = "integer";
      AddRange(field, schema);
      break;
    case FieldType::kNumber:
      schema["type"] = "number";
      AddRange(field, schema);
      break;
    case FieldType::kDuration:
      schema["type"] = "string";
      schema["pattern"] = "^[0-9]*\\.?[0-9]+(us|ms|s|m|h)$";
      break;
    case FieldType::kTime:
      schema["type"] = "string";
      schema["format"] = "date-time";
      break;
    case FieldType::kChoice:
      schema["enum"] = Json(std::vector<std::string>(field.choices.begin(), field.choices.end()));
      break;
    case FieldType::kId:
      schema["type"] = TextTypes();
      schema["pattern"] =
          fmt::format("^[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{}}}$", config::kMaxIdLength - 1);
      break;
    case FieldType::kLabel:
      schema["type"] = TextTypes();
      schema["minLength"] = 1;
      schema["maxLength"] = config::kMaxLabelLength;
      break;
    case FieldType::kText:
    case FieldType::kPath:
    case FieldType::kSource:
    case FieldType::kSecret:
      schema["type"] = TextTypes();
      schema["minLength"] = 1;
      break;
    case FieldType::kTextList:
      schema["type"] = "array";
      schema["items"] = {{"type", TextTypes()}, {"minLength", 1}};
      AddCount(field, schema);
      break;
    case FieldType::kNumberList:
      schema["type"] = "array";
      schema["items"] = {{"type", "integer"}};
      AddRange(field, schema["items"]);
      AddCount(field, schema);
      break;
    case FieldType::kPoint:
      schema.update(PointSchema());
      break;
    case FieldType::kPoints:
      schema["type"] = "array";
      schema["items"] = PointSchema();
      AddCount(field, schema);
      break;
    case FieldType::kSection:
      schema.update(SectionSchema(*field.section));
      break;
    case FieldType::kSectionList:
      schema["type"] = "array";
      schema["items"] = SectionSchema(*field.section);
      AddCount(field, schema);
      break;
  }
}

std::string DefaultOf(const Section& section, const Field& field) {
  if (field.required || field.section != nullptr || !field.unset_means.empty()) return "";
  return config::FormatValue(field, field.get(config::DefaultTarget(section)));
}

// The default as the schema's own type.
Json DefaultValue(const Section& section, const Field& field) {
  const std::string text = DefaultOf(section, field);
  if (text.empty()) return Json();
  switch (field.type) {
    case FieldType::kBool:
    case FieldType::kInteger:
    case FieldType::kNumber:
      return Json::parse(text);
    default:
      return text;
  }
}

Json SectionSchema(const Section& section) {
  Json schema{{"type", "object"}, {"additionalProperties", false}};
  Json required = Json::array();
  Json needs = Json::object();
  Json& properties = schema["properties"] = Json::object();
  for (const Field& field : section.fields) {
    Json property;
    AddType(field, property);
    property["description"] = field.description;
    if (const Json value = DefaultValue(section, field); !value.is_null()) {
      property["default"] = value;
    }
    const std::string key(field.key);
    if (field.required) required.push_back(key);
    if (!field.needs.empty()) needs[key] = Json::array({std::string(field.needs)});
    properties[key] = std::move(property);
  }
  if (!required.empty()) schema["required"] = required;
  if (!needs.empty()) schema["dependentRequired"] = needs;
  if (!section.exactly_one_of.empty()) {
    Json& one_of = schema["oneOf"] = Json::array();
    for (const std::string_view key : section.exactly_one_of) {
      one_of.push_back({{"required", Json::array({std::string(key)})}});
    }
  }
  return schema;
}

// What the field takes, short enough for a table.
std::string TypeCell(const Field& field) {
  switch (field.type) {
    case FieldType::kBool:
      return "`true` or `false`";
    case FieldType::kDuration: {
      Field plain = field;
      plain.type = FieldType::kDuration;
      std::string words = config::WantedWords(plain);
      const std::string_view prefix = "a duration such as 250ms, 2s or 5m";
      return "duration" + words.substr(prefix.size());
    }
    case FieldType::kInteger:
      return config::WantedWords(field).substr(2);
    case FieldType::kNumber:
      return config::WantedWords(field).substr(2);
    case FieldType::kTime:
      return "time";
    case FieldType::kChoice:
      return fmt::format("`{}`", fmt::join(field.choices, "`, `"));
    case FieldType::kId:
      return "name of letters, digits, `_`, `.`, `-`";
    case FieldType::kLabel:
      return "name";
    case FieldType::kText:
      return "text";
    case FieldType::kPath:
      return "path";
    case FieldType::kSource:
      return "path or URL";
    case FieldType::kSecret:
      return "`${env:NAME}` or `${file:PATH}`";
    case FieldType::kTextList:
      return "list of names";
    case FieldType::kNumberList:
      return config::WantedWords(field).substr(2);
    case FieldType::kPoint:
      return "`[x, y]`";
    case FieldType::kPoints:
      return fmt::format("list of {} or more `[x, y]`", field.min_items);
    case FieldType::kSection:
      return "map";
    case FieldType::kSectionList:
      return "list of maps";
  }
  return "";
}

std::string DefaultCell(const Section& section, const Field& field) {
  if (field.required) return "**required**";
  if (!field.unset_means.empty()) return std::string(field.unset_means);
  const std::string text = DefaultOf(section, field);
  return text.empty() ? "" : fmt::format("`{}`", text);
}

std::string Anchor(std::string_view name) {
  std::string anchor;
  for (const char c : name) {
    if (c == '.') continue;  // as Git forges make anchors of headings
    if (c != '[' && c != ']') anchor += c;
  }
  return anchor;
}

std::string MeaningCell(const Field& field) {
  std::string text(field.description);
  if (field.section != nullptr) {
    text += fmt::format(" See [{0}](#{1}).", field.section->name, Anchor(field.section->name));
  }
  if (!field.example.empty()) text += fmt::format(" Example: `{}`.", field.example);
  return text;
}

}  // namespace

std::string ConfigJsonSchema() {
  Json schema{{"$schema", kSchemaDialect},
              {"title", "Sightline configuration"},
              {"description", "What `sightline run` takes; written by `sightline schema`."}};
  schema.update(SectionSchema(config::FileSection()));
  return JsonText(schema, 2) + "\n";
}

std::string ConfigMarkdown() {
  std::string text;
  for (const Section* section : config::AllSections()) {
    if (!text.empty()) text += '\n';
    text += fmt::format("### {}\n\n{}\n", section->name.empty() ? "the file" : section->name,
                        section->description);
    if (!section->exactly_one_of.empty()) {
      text += fmt::format("\nExactly one of `{}` is needed.\n",
                          fmt::join(section->exactly_one_of, "`, `"));
    }
    text += "\n| key | value | default | meaning |\n|---|---|---|---|\n";
    for (const Field& field : section->fields) {
      text += fmt::format("| `{}` | {} | {} | {} |\n", field.key, TypeCell(field),
                          DefaultCell(*section, field), MeaningCell(field));
    }
  }
  return text;
}

}  // namespace sightline
