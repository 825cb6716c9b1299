#include "sim/truth_detector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "types/truth.h"

namespace sightline::sim {
namespace {

using ::testing::HasSubstr;

Frame FrameOf(int64_t time_us, int objects) {
  auto truth = std::make_shared<Truth>();
  truth->seed = 3;
  truth->time_us = time_us;
  for (int i = 0; i < objects; ++i) {
    const auto x = static_cast<float>(20 * i);
    truth->objects.push_back({.id = static_cast<uint64_t>(i + 1),
                              .object_class = i % 2 == 0 ? TruthClass::kPerson : TruthClass::kCar,
                              .box_px = {x, 50, x + 10, 80},
                              .visible = i == 0 ? 0.0F : 1.0F});
  }
  Frame frame;
  frame.meta.width = 640;
  frame.meta.height = 360;
  frame.truth = std::move(truth);
  return frame;
}

std::vector<Detection> Find(const std::string& model, const Frame& frame,
                            std::optional<float> confidence = {}) {
  const auto factory = MakeTruthDetectorFactory(model, confidence);
  EXPECT_TRUE(factory.ok()) << factory.status();
  const auto detector = (*factory)();
  Detections found;
  DetectJob job{.frame = &frame, .result = &found};
  (*detector)->Detect({&job, 1});
  EXPECT_TRUE(job.status.ok()) << job.status;
  return found.items;
}

TEST(TruthDetector, SaysWhatIsThere) {
  const std::vector<Detection> found = Find("truth", FrameOf(0, 5));
  ASSERT_EQ(found.size(), 5u) << "hidden ones, too";
  EXPECT_EQ(found[0].class_id, 2) << "car, as in COCO";
  EXPECT_EQ(found[0].box_px, (Box{20, 50, 30, 80}));
  EXPECT_FLOAT_EQ(found[0].confidence, 1.0F);
  EXPECT_FLOAT_EQ(found[4].confidence, 0.7F);
  EXPECT_EQ(Find("truth?visible=0.1", FrameOf(0, 5)).size(), 4u);
  EXPECT_EQ(Find("truth", FrameOf(0, 5), 0.9F).size(), 4u);
}

TEST(TruthDetector, ErrsAsOftenAndAsFarAsItIsTold) {
  size_t found = 0;
  size_t wrong = 0;
  for (int k = 0; k < 500; ++k) {
    found += Find("truth?miss=0.25", FrameOf(k, 20)).size();
    wrong += Find("truth?false=0.5", FrameOf(k, 0)).size();
    for (const Detection& d : Find("truth?noise=2px", FrameOf(k, 20))) {
      EXPECT_LE(std::abs(d.box_px.y2 - 80), 2.0F);
      EXPECT_GE(d.box_px.x1, 0.0F);
    }
  }
  EXPECT_NEAR(static_cast<double>(found), 500 * 20 * 0.75, 200);
  EXPECT_NEAR(static_cast<double>(wrong), 250, 50);
}

TEST(TruthDetector, TheSameFrameHasTheSameErrors) {
  const std::string model = "truth?miss=0.3&noise=2px&false=0.5";
  for (int k = 0; k < 20; ++k) {
    const auto a = Find(model, FrameOf(k, 20));
    const auto b = Find(model, FrameOf(k, 20));
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].box_px, b[i].box_px);
  }
}

TEST(TruthDetector, OtherSourcesHaveNoTruth) {
  const auto detector = (*MakeTruthDetectorFactory("truth", {}))();
  const Frame frame;
  Detections found;
  DetectJob job{.frame = &frame, .result = &found};
  (*detector)->Detect({&job, 1});
  EXPECT_THAT(std::string(MessageOf(job.status)), HasSubstr("sim://"));
}

TEST(TruthDetector, RefusesWhatItDoesNotKnow) {
  const auto refused = [](const char* model) {
    return std::string(MessageOf(MakeTruthDetectorFactory(model, {}).status()));
  };
  EXPECT_THAT(refused("truth?mis=1"), HasSubstr("did you mean \"miss\"?"));
  EXPECT_THAT(refused("truth?miss=2"), HasSubstr("from 0 to 1"));
  EXPECT_THAT(refused("truth?noise=nan"), HasSubstr("from 0 to 50"));
  EXPECT_FALSE(IsTruthModel("truthful"));
  EXPECT_TRUE(IsTruthModel("truth?miss=1"));
}

}  // namespace
}  // namespace sightline::sim
