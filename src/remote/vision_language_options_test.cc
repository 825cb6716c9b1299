// What OpenVisionLanguageModel() refuses, and what a detector's identity is made of; nothing is sent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "remote/vision_language_model.h"

namespace sightline {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(VisionLanguageOptions, WhatIsImpossibleIsRefused) {
  const VisionLanguageOptions good{.endpoint = "https://h/v1", .model = "m", .labels = {"a", "b"}};
  ASSERT_TRUE(OpenVisionLanguageModel(good).ok());
  const auto refused = [&](const std::function<void(VisionLanguageOptions*)>& change) {
    VisionLanguageOptions options = good;
    change(&options);
    const absl::Status status = OpenVisionLanguageModel(options).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(MessageOf(status));
  };
  for (const std::string endpoint : {"", "host", "ftp://h/v1", "https://h/v1?key=1", "https://h/#",
                                     "https://h /v1", "file:///etc/passwd"}) {
    refused([&](VisionLanguageOptions* o) { o->endpoint = endpoint; });
  }
  refused([](VisionLanguageOptions* o) { o->model = ""; });
  EXPECT_THAT(refused([](VisionLanguageOptions* o) { o->api_key = "hidden\nkey"; }),
              Not(HasSubstr("hidden")));
  refused([](VisionLanguageOptions* o) { o->question = "a\x01"; });
  refused([](VisionLanguageOptions* o) { o->labels = {}; });
  refused([](VisionLanguageOptions* o) { o->labels = {"a", "A"}; });
  refused([](VisionLanguageOptions* o) { o->labels = {"a", " b"}; });
  refused([](VisionLanguageOptions* o) { o->labels = {"a", ""}; });
  refused([](VisionLanguageOptions* o) { o->labels = std::vector<std::string>(1001, "x"); });
  refused([](VisionLanguageOptions* o) { o->labels = {"None"}, o->may_find_none = true; });
  refused([](VisionLanguageOptions* o) { o->max_at_once = 0; });
  refused([](VisionLanguageOptions* o) { o->max_at_once = 65; });
  refused([](VisionLanguageOptions* o) { o->max_waiting = -1; });
  refused([](VisionLanguageOptions* o) { o->timeout_us = 0; });
  refused([](VisionLanguageOptions* o) { o->jpeg_quality = 101; });
  refused([](VisionLanguageOptions* o) { o->max_picture_side_px = 63; });
  refused([](VisionLanguageOptions* o) { o->retry.max_attempts = 0; });
  refused([](VisionLanguageOptions* o) { o->budget.tokens_per_day = -1; });
  refused([](VisionLanguageOptions* o) { o->cache_entries = SIZE_MAX; });
}

TEST(VisionLanguageOptions, WhatChangesResultsChangesTheIdentity) {
  const VisionLanguageOptions good{.endpoint = "https://h/v1", .model = "m", .labels = {"a", "b"}};
  const auto identity = [&](const std::function<void(VisionLanguageOptions*)>& change) {
    VisionLanguageOptions options = good;
    change(&options);
    return (*(*OpenVisionLanguageModel(options))())->info().identity;
  };
  const Hash128 plain = identity([](VisionLanguageOptions*) {});
  EXPECT_EQ(plain, identity([](VisionLanguageOptions* o) { o->timeout_us = 5'000'000; }));
  EXPECT_EQ(plain, identity([](VisionLanguageOptions* o) { o->api_key = "another"; }));
  EXPECT_NE(plain, identity([](VisionLanguageOptions* o) { o->model = "n"; }));
  EXPECT_NE(plain, identity([](VisionLanguageOptions* o) { o->endpoint = "https://i/v1"; }));
  EXPECT_NE(plain, identity([](VisionLanguageOptions* o) { o->question = "?"; }));
  EXPECT_NE(plain, identity([](VisionLanguageOptions* o) { o->labels = {"b", "a"}; }));
  EXPECT_NE(plain, identity([](VisionLanguageOptions* o) { o->may_find_none = true; }));
  EXPECT_NE(plain, identity([](VisionLanguageOptions* o) { o->max_picture_side_px = 500; }));
}

}  // namespace
}  // namespace sightline
