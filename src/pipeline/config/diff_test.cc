#include "pipeline/config/diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pipeline/config/parse.h"

namespace sightline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

Config Parsed(const std::string& text, const std::string& password = "a") {
  ParseOptions options;
  options.environment = [password](const std::string&) {
    return std::optional<std::string>(password);
  };
  const ParsedConfig parsed = ParseConfig(text, "test.yaml", options);
  EXPECT_TRUE(parsed.config.has_value()) << parsed.ErrorText();
  return parsed.config.value_or(Config());
}

constexpr char kTwo[] = R"(
cameras:
  - id: gate
    source: rtsp://10.0.0.1/a
    model: people
    coordinates: fraction
    zones: [{name: door, polygon: [[0, 0], [1, 0], [1, 1]]}]
  - {id: yard, source: rtsp://10.0.0.2/a, model: people}
)";

TEST(DiffConfigs, OrderDefaultsAndCommentsAreNoDifference) {
  const Config after = Parsed(R"(
# the same
cameras:
  - {model: people, id: yard, source: rtsp://10.0.0.2/a, select: {every_nth: 1}}
  - id: gate
    model: people
    source: rtsp://10.0.0.1/a
    coordinates: fraction
    zones: [{polygon: [[0, 0], [1, 0], [1, 1]], name: door}]
)");
  EXPECT_THAT(DiffText(DiffConfigs(Parsed(kTwo), after)), "");
}

TEST(DiffConfigs, AModelThatWasReplacedUnderItsNameIsADifference) {
  const std::string text = R"(
models: [{name: street, package: street}, {name: mine, package: other}]
cameras:
  - {id: gate, source: rtsp://10.0.0.1/a, model: street}
  - {id: yard, source: rtsp://10.0.0.2/a, model: added}
)";
  Config before = Parsed(text);
  ASSERT_EQ(before.models.size(), 3u);
  Config after = before;
  for (size_t i = 0; i < 3; ++i) {
    before.models[i].content = std::string(64, 'a');
    after.models[i].content = std::string(64, i == 1 ? 'a' : 'b');
  }
  const ConfigDiff diff = DiffConfigs(before, after);
  EXPECT_EQ(
      DiffText(diff),
      "~ models.street.package: street (content aaaaaaaaaaaa) -> street (content bbbbbbbbbbbb)\n"
      "~ cameras.yard.model: added (content aaaaaaaaaaaa) -> added (content bbbbbbbbbbbb)");
  EXPECT_EQ(diff.changes[1].camera, "yard");
  EXPECT_EQ(diff.changes[1].key, "model");
  // Not looked at: nothing is known against it.
  after.models[0].content.clear();
  before.models[2].content.clear();
  EXPECT_TRUE(DiffConfigs(before, after).empty());
}

TEST(DiffConfigs, CamerasThatComeAndGoAreALineEach) {
  const Config after = Parsed(R"(
cameras:
  - {id: roof, source: rtsp://10.0.0.3/a, model: people}
  - {id: yard, source: rtsp://10.0.0.2/a, model: people}
)");
  const ConfigDiff diff = DiffConfigs(Parsed(kTwo), after);
  EXPECT_THAT(diff.added, ElementsAre("roof"));
  EXPECT_THAT(diff.removed, ElementsAre("gate"));
  EXPECT_THAT(diff.changes, IsEmpty());
  EXPECT_EQ(DiffText(diff), "+ camera roof\n- camera gate");
}

TEST(DiffConfigs, ASettingSaysWhoseItIsAndWhatItWas) {
  Config after = Parsed(kTwo);
  after.cameras[0].zones[0].enter_frames = 3;
  after.outputs.report.enabled = false;
  const ConfigDiff diff = DiffConfigs(Parsed(kTwo), after);
  ASSERT_EQ(diff.changes.size(), 2u);
  EXPECT_EQ(diff.changes[0].camera, "gate");
  EXPECT_EQ(diff.changes[0].key, "zones");
  EXPECT_EQ(diff.changes[1].camera, "");
  EXPECT_EQ(diff.changes[1].key, "outputs");
  EXPECT_EQ(
      DiffText(diff),
      "~ cameras.gate.zones.door.enter_frames: 1 -> 3\n~ outputs.report.enabled: true -> false");
}

TEST(DiffConfigs, AZoneThatComesOrGoesIsItsCamerasChange) {
  Config after = Parsed(kTwo);
  after.cameras[0].zones[0].name = "entry";
  const ConfigDiff diff = DiffConfigs(Parsed(kTwo), after);
  ASSERT_FALSE(diff.changes.empty());
  for (const SettingChange& change : diff.changes) EXPECT_EQ(change.camera, "gate");
  EXPECT_THAT(DiffText(diff), HasSubstr("- cameras.gate.zones.door.name: door"));
  EXPECT_THAT(DiffText(diff), HasSubstr("+ cameras.gate.zones.entry.name: entry"));
}

// That a password is another one shows, the password does not.
TEST(DiffConfigs, SecretsAreComparedButNotShown) {
  const std::string text =
      "cameras: [{id: gate, source: \"rtsp://u:${env:PASSWORD}@10.0.0.1/a\", model: people}]";
  EXPECT_THAT(DiffText(DiffConfigs(Parsed(text, "first1"), Parsed(text, "first1"))), "");
  const std::string shown = DiffText(DiffConfigs(Parsed(text, "first1"), Parsed(text, "other2")));
  EXPECT_THAT(shown, HasSubstr("cameras.gate.source"));
  EXPECT_THAT(shown, HasSubstr("another secret"));
  EXPECT_THAT(shown, Not(HasSubstr("first1")));
  EXPECT_THAT(shown, Not(HasSubstr("other2")));
}

}  // namespace
}  // namespace sightline
