#include "pipeline/config/describe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "pipeline/config/parse.h"

namespace sightline {
namespace {

using testing::HasSubstr;
using testing::Not;

ParseOptions WithSecret() {
  ParseOptions options;
  options.environment = [](const std::string&) { return std::optional<std::string>("hunter2"); };
  return options;
}

Config Shop() {
  const ParsedConfig parsed =
      ReadConfig(SIGHTLINE_SOURCE_DIR "/tests/data/config/good/shop.yaml", WithSecret());
  EXPECT_EQ(parsed.ErrorText(), "");
  return parsed.config.value_or(Config());
}

TEST(ConfigYaml, ReadsBackAsTheSame) {
  const std::string yaml = ConfigYaml(Shop());
  const ParsedConfig again = ParseConfig(yaml, "/elsewhere/f.yaml");
  ASSERT_TRUE(again.config.has_value()) << again.ErrorText() << "\n" << yaml;
  EXPECT_EQ(ConfigYaml(*again.config), yaml);
  EXPECT_EQ(IdentityOf(*again.config, again.config->cameras[0]),
            IdentityOf(Shop(), Shop().cameras[0]));
  EXPECT_EQ(again.config->outputs.dir, Shop().outputs.dir);
}

TEST(ConfigYaml, QuotesWhatYamlWouldReadAsSomethingElse) {
  const std::string text =
      "cameras:\n"
      "  - {id: '1', source: 'a: b # c', model: people, coordinates: pixels, lines: [\n"
      "      {name: \"true\", from: [0, 0], to: [9, 9], classes: [no, 'null', \"x\\\"y\"]}]}\n";
  const ParsedConfig parsed = ParseConfig(text, "/f/f.yaml");
  ASSERT_TRUE(parsed.config.has_value()) << parsed.ErrorText();
  const std::string yaml = ConfigYaml(*parsed.config);
  const ParsedConfig again = ParseConfig(yaml, "/f/f.yaml");
  ASSERT_TRUE(again.config.has_value()) << again.ErrorText() << "\n" << yaml;
  const CameraConfig& camera = again.config->cameras[0];
  EXPECT_EQ(camera.id, "1");
  EXPECT_EQ(camera.source.Reveal(), "/f/a: b # c");
  EXPECT_EQ(camera.lines[0].name, "true");
  EXPECT_THAT(camera.lines[0].classes, testing::ElementsAre("no", "null", "x\"y"));
}

TEST(ConfigJson, SaysTheValuesInForceAndNoSecret) {
  const std::string text = ConfigJson(Shop());
  EXPECT_THAT(text, Not(HasSubstr("hunter2")));
  const nlohmann::json json = nlohmann::json::parse(text);
  EXPECT_EQ(json["cameras"][1]["source"], "rtsp://admin:***@10.0.0.7:554/stream1");
  EXPECT_EQ(json["cameras"][0]["tracker"]["track_thresh"], 0.45);
  EXPECT_EQ(json["cameras"][0]["zones"][0]["polygon"][0], nlohmann::json({0.1, 0.5}));
  EXPECT_EQ(json["limits"]["duration"], "10m");
  EXPECT_EQ(json["models"].size(), 1u) << "people is named by a camera, not declared";
}

}  // namespace
}  // namespace sightline
