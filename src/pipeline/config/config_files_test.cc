// The configurations under tests/data/config: every good one is read without a word, every bad one
// gives exactly the errors in its .expect file. An expectation is "line:column: part of the
// message", or "line:" alone where yaml-cpp's own words are not ours to fix.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "pipeline/config/parse.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;

std::string Slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<std::string> SplitLines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> Configurations(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry :
       fs::directory_iterator(fs::path(SIGHTLINE_SOURCE_DIR) / "tests/data/config" / folder)) {
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

fs::path PathOf(const std::string& folder, const std::string& name, const std::string& extension) {
  return fs::path(SIGHTLINE_SOURCE_DIR) / "tests/data/config" / folder / (name + extension);
}

ParseOptions TestOptions() {
  ParseOptions options;
  options.environment = [](const std::string& name) -> std::optional<std::string> {
    if (name == "YARD_PASSWORD") return "s3cr/t";
    if (name == "X") return "x";
    return std::nullopt;
  };
  options.known_packages = {"yolox", "yolox_nano"};
  return options;
}

class GoodConfig : public testing::TestWithParam<std::string> {};

TEST_P(GoodConfig, IsRead) {
  const ParsedConfig parsed =
      ReadConfig(PathOf("good", GetParam(), ".yaml").string(), TestOptions());
  EXPECT_EQ(parsed.ErrorText(), "");
  EXPECT_EQ(parsed.WarningText(), "");
  ASSERT_TRUE(parsed.config.has_value());
  EXPECT_FALSE(parsed.config->cameras.empty());
  for (const CameraConfig& camera : parsed.config->cameras) {
    EXPECT_LT(camera.model_index, parsed.config->models.size());
  }
}

INSTANTIATE_TEST_SUITE_P(Files, GoodConfig, testing::ValuesIn(Configurations("good")),
                         [](const auto& info) { return info.param; });

class BadConfig : public testing::TestWithParam<std::string> {};

TEST_P(BadConfig, GivesTheErrorsExpected) {
  const ParsedConfig parsed =
      ParseConfig(Slurp(PathOf("bad", GetParam(), ".yaml")), "f.yaml", TestOptions());
  EXPECT_FALSE(parsed.config.has_value());
  const std::vector<std::string> errors = SplitLines(parsed.ErrorText());
  const std::vector<std::string> expected = SplitLines(Slurp(PathOf("bad", GetParam(), ".expect")));
  ASSERT_FALSE(expected.empty());
  EXPECT_EQ(errors.size(), expected.size()) << parsed.ErrorText();
  for (size_t i = 0; i < std::min(errors.size(), expected.size()); ++i) {
    const size_t space = expected[i].find(": ");
    if (space == std::string::npos) {
      EXPECT_THAT(errors[i], testing::HasSubstr(expected[i]));
      continue;
    }
    EXPECT_THAT(errors[i], testing::StartsWith("f.yaml:" + expected[i].substr(0, space) + ": "));
    EXPECT_THAT(errors[i], testing::HasSubstr(expected[i].substr(space + 2)));
  }
  EXPECT_THAT(parsed.ErrorText(), testing::Not(testing::HasSubstr("hunter2")));
}

INSTANTIATE_TEST_SUITE_P(Files, BadConfig, testing::ValuesIn(Configurations("bad")),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace sightline
