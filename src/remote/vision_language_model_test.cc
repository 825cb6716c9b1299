// Detectors against tests/servers/chat_server.py, a real endpoint on this machine that answers well
// and badly.
#include "remote/vision_language_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "remote/test_clock.h"
#include "remote/vision_language_test_support.h"

namespace sightline {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(VisionLanguage, AsksAndUnderstands) {
  VisionLanguageOptions options = Options("say/%7B%22answer%22:%22Cat%22%7D");
  options.api_key = "key-of-the-test";
  const Found found = Detect(options, MakeFrame(80, 60, 7));
  ASSERT_TRUE(found.status.ok()) << found.status;
  ASSERT_EQ(found.detections.classes.size(), 1u);
  EXPECT_EQ(found.detections.classes[0].class_id, 1);
  // {"answer":"Cat"} in tokens of four: `":"C` and `at"}`.
  EXPECT_NEAR(found.detections.classes[0].confidence, 0.81, 1e-6);
  EXPECT_EQ(found.detections.labels->NameOf(1), "cat");
  EXPECT_EQ(found.detections.frame.ordinal, 7u);
  EXPECT_TRUE(found.detections.items.empty());
  const json log = Log();
  ASSERT_EQ(log.size(), 1u);
  EXPECT_EQ(log[0].at("headers").at("authorization"), "Bearer key-of-the-test");
  EXPECT_EQ(log[0].at("headers").at("content-type"), "application/json");
  EXPECT_EQ(log[0].at("request").at("model"), "small-vl");
  const json& parts = log[0].at("request").at("messages").at(0).at("content");
  EXPECT_THAT(parts.at(0).at("text").get<std::string>(), HasSubstr("[\"dog\",\"cat\"]"));
  EXPECT_EQ(parts.at(1).at("image_url").at("size"), json({80, 60}));
  EXPECT_EQ(counters_->requests.value(), 1u);
  EXPECT_EQ(counters_->prompt_tokens.value(), 100u);
  EXPECT_EQ(counters_->answer_tokens.value(), 10u);
  ExpectLedgerAddsUp();
}

TEST_F(VisionLanguage, PicturesAreScaledToFit) {
  VisionLanguageOptions options = Options("say/cat");
  options.max_picture_side_px = 200;
  const std::unique_ptr<Detector> detector = Make(Open(options));
  const std::vector<Frame> frames = {MakeFrame(1000, 500), MakeFrame(100, 150), MakeFrame(8, 16),
                                     MakeFrame(1, 1)};
  for (const Frame& frame : frames) {
    EXPECT_TRUE(DetectAll(detector.get(), {frame}).at(0).status.ok());
  }
  std::vector<json> sizes;
  for (const json& one : Log()) {
    sizes.push_back(one.at("request").at("messages").at(0).at("content").at(1).at("image_url"));
  }
  EXPECT_THAT(sizes, testing::ElementsAre(json{{"size", {200, 100}}}, json{{"size", {100, 150}}},
                                          json{{"size", {32, 64}}}, json{{"size", {64, 64}}}));
}

TEST_F(VisionLanguage, APictureWithoutPixelsIsNotSent) {
  const Found found = Detect(Options("say/cat"), Frame{});
  EXPECT_FALSE(found.status.ok());
  EXPECT_EQ(found.failure, DropReason::kPreprocessError);
  EXPECT_TRUE(Log().empty());
  ExpectLedgerAddsUp();
}

TEST_F(VisionLanguage, BoxesAreInPixelsOfTheFrame) {
  VisionLanguageOptions options =
      Options("say/%7B%22objects%22:[%7B%22label%22:%22dog%22,%22box%22:[100,200,300,1000]%7D]%7D");
  options.answer = AnswerKind::kBoxes;
  options.max_picture_side_px = 64;
  const Found found = Detect(options, MakeFrame(640, 480));
  ASSERT_TRUE(found.status.ok()) << found.status;
  ASSERT_EQ(found.detections.items.size(), 1u);
  EXPECT_EQ(found.detections.items[0].box_px, (Box{64, 96, 192, 480}));
  EXPECT_EQ(found.detections.items[0].class_id, 0);
  EXPECT_TRUE(found.detections.classes.empty());
}

TEST_F(VisionLanguage, WhatFitsNoLabelIsAnError) {
  for (const std::string scenario :
       {"say/a%20dog", "say/none", "raw/cat", "raw/%7B%7D", "deep", "raw/%1B%5B31m", "endless"}) {
    const Found found = Detect(scenario);
    EXPECT_TRUE(absl::IsDataLoss(found.status)) << scenario << ": " << found.status;
    EXPECT_EQ(found.failure, DropReason::kPostprocessError);
    EXPECT_TRUE(found.detections.classes.empty());
    EXPECT_LT(MessageOf(found.status).size(), 400u);
    EXPECT_THAT(std::string(MessageOf(found.status)), Not(HasSubstr("\x1b")));
  }
  EXPECT_EQ(counters_->requests.value(), 7u) << "such answers are not asked for again";
  ExpectLedgerAddsUp();
}

TEST_F(VisionLanguage, KnownPicturesAreNotAskedAboutAgain) {
  TestClock clock;
  VisionLanguageOptions options = Options("say/cat");
  options.clock = &clock;
  const DetectorFactory factory = Open(options);
  for (int i = 0; i < 6; ++i) {
    const Found found = DetectAll(Make(factory).get(), {MakeFrame(80, 60, i % 2)}).at(0);
    ASSERT_TRUE(found.status.ok()) << found.status;
    EXPECT_EQ(found.detections.classes.at(0).class_id, 1);
    EXPECT_EQ(found.detections.frame.ordinal, static_cast<uint64_t>(i % 2));
  }
  EXPECT_EQ(Log().size(), 2u);
  EXPECT_EQ(counters_->cache_hits.value(), 4u);
  clock.Advance(options.cache_ttl_us);
  EXPECT_TRUE(DetectAll(Make(factory).get(), {MakeFrame(80, 60, 0)}).at(0).status.ok());
  EXPECT_EQ(Log().size(), 3u);
  ExpectLedgerAddsUp();
}

TEST_F(VisionLanguage, SeveralPicturesAtOnce) {
  VisionLanguageOptions options = Options("gate");
  options.max_at_once = 3;
  const std::unique_ptr<Detector> detector = Make(Open(options));
  ASSERT_EQ(detector->info().max_batch, 3);
  std::vector<Found> found;
  std::thread asking([&] {
    found = DetectAll(detector.get(), {MakeFrame(80, 60, 1), Frame{}, MakeFrame(80, 60, 2)});
  });
  while (Log().size() < 2) std::this_thread::yield();  // both are asked before one is answered
  EXPECT_TRUE(client_->Fetch({.url = server_.Url("/open")}).ok());
  asking.join();
  ASSERT_EQ(found.size(), 3u);
  EXPECT_TRUE(found[0].status.ok()) << found[0].status;
  EXPECT_FALSE(found[1].status.ok());
  EXPECT_TRUE(found[2].status.ok()) << found[2].status;
  EXPECT_EQ(found[2].detections.frame.ordinal, 2u);
  ExpectLedgerAddsUp();
}

TEST_F(VisionLanguage, NoMoreThanMaxAtOnceAndNoMoreWaitThanMay) {
  VisionLanguageOptions options = Options("gate");
  options.max_at_once = 2;
  options.max_waiting = 1;
  const DetectorFactory factory = Open(options);
  std::vector<std::thread> asking;
  std::atomic<int> answered{0};
  std::atomic<int> turned_away{0};
  for (int i = 0; i < 5; ++i) {
    asking.emplace_back([&, i] {
      const Found found = DetectAll(Make(factory).get(), {MakeFrame(80, 60, i)}).at(0);
      if (found.status.ok()) ++answered;
      if (absl::IsUnavailable(found.status)) ++turned_away;
    });
  }
  // Two are being asked about, one waits, two are turned away.
  while (counters_->refused_waiting.value() < 2 || Log().size() < 2) std::this_thread::yield();
  EXPECT_EQ(Log().size(), 2u);
  EXPECT_TRUE(client_->Fetch({.url = server_.Url("/open")}).ok());
  for (std::thread& thread : asking) thread.join();
  EXPECT_EQ(answered, 3);
  EXPECT_EQ(turned_away, 2);
  ExpectLedgerAddsUp();
}

}  // namespace
}  // namespace sightline
