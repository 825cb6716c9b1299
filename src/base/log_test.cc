#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/redact.h"

namespace sightline {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class LogTest : public ::testing::Test {
 protected:
  ~LogTest() override { SetUpLog("warning"); }
  template <typename Work>
  std::string Said(Work work) {
    ::testing::internal::CaptureStderr();
    work();
    return ::testing::internal::GetCapturedStderr();
  }
};

TEST_F(LogTest, JsonIsAnObjectALine) {
  SetUpLog("info", LogFormat::kJson);
  const std::string said = Said([] {
    const LogCamera camera("door");
    const LogTrace trace("00-1-2-01");
    Log().warn("odd \"{}\"\n\xff", "name");
  });
  EXPECT_THAT(said, StartsWith("{\"time\":\"20"));
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1);
  const auto line = nlohmann::json::parse(said);
  EXPECT_EQ(line["level"], "warning");
  EXPECT_EQ(line["message"], "odd \"name\"\n\xEF\xBF\xBD");
  EXPECT_EQ(line["camera"], "door");
  EXPECT_EQ(line["traceparent"], "00-1-2-01");
}

TEST_F(LogTest, ScopesAreTheThreadsOwnAndEnd) {
  SetUpLog("info", LogFormat::kJson);
  const std::string said = Said([] {
    const LogCamera outer("door");
    { const LogCamera inner("yard"); }
    std::thread([] { Log().info("elsewhere"); }).join();
    Log().info("here");
    Log().debug("too quiet");
  });
  const size_t cut = said.find('\n') + 1;
  EXPECT_FALSE(nlohmann::json::parse(said.substr(0, cut)).contains("camera"));
  EXPECT_EQ(nlohmann::json::parse(said.substr(cut))["camera"], "door");
}

TEST_F(LogTest, SecretsAreHiddenBeforeTheyAreEscaped) {
  HideSecret("pass\"word", "***");
  SetUpLog("info", LogFormat::kJson);
  EXPECT_EQ(nlohmann::json::parse(Said([] { Log().info("it is pass\"word"); }))["message"],
            "it is ***");
  EXPECT_EQ(nlohmann::json::parse(Said([] { TellUser("error", "pass\"word"); }))["message"], "***");
}

TEST_F(LogTest, TextStaysText) {
  SetUpLog("off");
  const LogCamera camera("door");
  EXPECT_EQ(Said([] { TellUser("info", "hello"); }), "sightline: hello\n");
  SetUpLog("info");
  EXPECT_THAT(Said([] { Log().info("hello"); }), HasSubstr("Z info hello\n"));
}

}  // namespace
}  // namespace sightline
