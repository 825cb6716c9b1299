#include "pipeline/config/schema.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "pipeline/config/fields.h"
#include "pipeline/config/parse.h"

namespace sightline {
namespace {

using config::Field;
using config::FieldType;
using config::Section;
using nlohmann::json;

// Walks to the schema of "cameras[].zones[]".
const json& At(const json& schema, std::vector<std::string> keys) {
  const json* at = &schema;
  for (const std::string& key : keys)
    at = key == "[]" ? &at->at("items") : &at->at("properties").at(key);
  return *at;
}

TEST(ConfigJsonSchema, DescribesWhatTheParserTakes) {
  const json schema = json::parse(ConfigJsonSchema());
  EXPECT_EQ(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
  EXPECT_EQ(schema["required"], json({"cameras"}));
  EXPECT_EQ(schema["additionalProperties"], false);
  const json& camera = At(schema, {"cameras", "[]"});
  EXPECT_EQ(camera["required"], json({"id", "source", "model"}));
  EXPECT_EQ(camera["dependentRequired"]["zones"], json({"coordinates"}));
  EXPECT_EQ(At(camera, {"coordinates"})["enum"], json({"fraction", "pixels"}));
  EXPECT_EQ(At(camera, {"zones", "[]", "polygon"})["minItems"], 3);
  const json& area = At(camera, {"select", "motion", "changed_area"});
  EXPECT_EQ(area["default"], 0.15);
  EXPECT_EQ(area["exclusiveMinimum"], 0);
  EXPECT_EQ(area["maximum"], 1);
  EXPECT_EQ(At(camera, {"select", "motion", "hold"})["default"], "2s");
  EXPECT_EQ(At(schema, {"models", "[]"})["oneOf"].size(), 5u);
  EXPECT_EQ(At(schema, {"outputs", "sqlite", "enabled"})["default"], true);
}

TEST(ConfigTable, IsComplete) {
  for (const Section* section : config::AllSections()) {
    EXPECT_NE(config::DefaultTarget(*section), nullptr) << section->name;
    EXPECT_FALSE(section->description.empty()) << section->name;
    for (const Field& field : section->fields) {
      const std::string name = std::string(section->name) + "." + std::string(field.key);
      EXPECT_FALSE(field.description.empty()) << name;
      EXPECT_EQ(field.description.find('|'), std::string_view::npos) << name << " breaks the table";
      if (field.section != nullptr) {
        EXPECT_NE(field.enter, nullptr) << name;
        EXPECT_NE(field.element, nullptr) << name;
        continue;
      }
      ASSERT_NE(field.set, nullptr) << name;
      ASSERT_NE(field.get, nullptr) << name;
      // What is neither required nor defaulted says what leaving it out means.
      const config::Value value = field.get(config::DefaultTarget(*section));
      const bool unset = std::holds_alternative<std::monostate>(value) ||
                         config::FormatValue(field, value).empty() ||
                         config::FormatValue(field, value) == "[]";
      EXPECT_TRUE(field.required || !unset || !field.unset_means.empty()) << name;
      EXPECT_EQ(field.type == FieldType::kChoice, !field.choices.empty()) << name;
    }
  }
}

// Every default and every example is a value that the parser takes for its key.
TEST(ConfigTable, DefaultsAndExamplesAreValid) {
  const std::string camera = "cameras:\n- id: a\n  source: a\n  model: people\n";
  for (const Section* section : config::AllSections()) {
    if (section->name != "tracker" && section->name != "limits") continue;
    for (const Field& field : section->fields) {
      std::string value = config::FormatValue(field, field.get(config::DefaultTarget(*section)));
      if (value.empty()) value = field.example;
      const std::string text = camera + std::string(section->name) + ":\n  " +
                               std::string(field.key) + ": " + value + "\n";
      EXPECT_EQ(ParseConfig(text, "f.yaml").ErrorText(), "") << text;
    }
  }
}

TEST(ConfigMarkdown, IsWhatTheDocumentHolds) {
  std::ifstream in(SIGHTLINE_SOURCE_DIR "/docs/configuration.md");
  std::stringstream document;
  document << in.rdbuf();
  const std::string keys = "<!-- keys: from here on made by `sightline schema --markdown` -->\n\n" +
                           ConfigMarkdown() + "\n<!-- keys: end -->\n";
  EXPECT_NE(document.str().find(keys), std::string::npos)
      << "docs/configuration.md is out of date; put the output of \"sightline schema --markdown\" "
         "between its two marks";
}

// The examples in the document are configurations that work.
TEST(ConfigMarkdown, ExamplesInTheDocumentAreRead) {
  std::ifstream in(SIGHTLINE_SOURCE_DIR "/docs/configuration.md");
  std::string block;
  bool inside = false;
  int examples = 0;
  for (std::string line; std::getline(in, line);) {
    if (line == "```yaml") {
      inside = true;
      block.clear();
    } else if (line == "```" && inside) {
      inside = false;
      ++examples;
      ParseOptions options;
      options.environment = [](const std::string&) { return std::optional<std::string>("x"); };
      EXPECT_EQ(ParseConfig(block, "docs/configuration.md", options).ErrorText(), "") << block;
    } else if (inside) {
      block += line + "\n";
    }
  }
  EXPECT_GE(examples, 2);
}

}  // namespace
}  // namespace sightline
