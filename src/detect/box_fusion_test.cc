// Weighted boxes fusion against its authors' package (tests/golden/nms/fusion.json, made by
// tools/golden/fusion_cases.py).
#include "detect/box_fusion.h"

#include <gtest/gtest.h>

#include <hwy/targets.h>
#include <algorithm>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

namespace sightline {
namespace {

using nlohmann::json;

std::vector<Detection> BoxesOf(const json& list) {
  std::vector<Detection> boxes;
  for (const json& one : list) {
    boxes.push_back({.box_px = {one.at(2), one.at(3), one.at(4), one.at(5)},
                     .confidence = one.at(1),
                     .class_id = one.at(0)});
  }
  return boxes;
}

void ExpectGolden() {
  std::ifstream file(std::string(SIGHTLINE_SOURCE_DIR) + "/tests/golden/nms/fusion.json");
  const json golden = json::parse(file);
  ASSERT_GE(golden.at("cases").size(), 4u);
  for (const json& one : golden.at("cases")) {
    std::vector<std::vector<Detection>> looks;
    for (const json& look : one.at("looks")) looks.push_back(BoxesOf(look));
    const std::vector<Detection> ours = FuseBoxes(looks, one.at("iou").get<float>());
    const std::vector<Detection> theirs = BoxesOf(one.at("fused"));
    ASSERT_EQ(ours.size(), theirs.size());
    ASSERT_GE(ours.size(), 5u);
    for (size_t i = 0; i < ours.size(); ++i) {
      EXPECT_EQ(ours[i].class_id, theirs[i].class_id);
      EXPECT_NEAR(ours[i].confidence, theirs[i].confidence, 1e-5);
      EXPECT_NEAR(ours[i].box_px.x1, theirs[i].box_px.x1, 1e-2);
      EXPECT_NEAR(ours[i].box_px.y1, theirs[i].box_px.y1, 1e-2);
      EXPECT_NEAR(ours[i].box_px.x2, theirs[i].box_px.x2, 1e-2);
      EXPECT_NEAR(ours[i].box_px.y2, theirs[i].box_px.y2, 1e-2);
    }
  }
}

TEST(BoxFusion, AsTheAuthorsPackage) {
  // With the kernels of every instruction set that this machine has.
  int seen = 0;
  const int64_t supported = hwy::SupportedTargets();
  for (int64_t bits = supported; bits != 0; bits &= bits - 1) {
    hwy::SetSupportedTargetsForTest(bits & -bits);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    SCOPED_TRACE(hwy::TargetName(bits & -bits));
    ExpectGolden();
    ++seen;
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  EXPECT_GE(seen, 1);
}

TEST(BoxFusion, NothingAndNonsense) {
  EXPECT_TRUE(FuseBoxes({}).empty());
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::vector<Detection>> looks = {
      {{.box_px = {0, 0, 10, 10}, .confidence = 0.8f, .class_id = 1},
       {.box_px = {0, nan, 10, 10}, .confidence = 0.8f, .class_id = 1},
       {.box_px = {5, 5, 5, 9}, .confidence = 0.8f, .class_id = 1},
       {.box_px = {0, 0, 10, 10}, .confidence = nan, .class_id = 1}},
      {{.box_px = {0, 0, 10, 10}, .confidence = 0, .class_id = 2}}};
  const std::vector<Detection> fused = FuseBoxes(looks);
  ASSERT_EQ(fused.size(), 2u);
  EXPECT_FLOAT_EQ(fused[0].confidence, 0.4f) << "one look of two";
  EXPECT_EQ(fused[1].box_px, (Box{0, 0, 10, 10}));
}

TEST(BoxFusion, OfTooManyTheSurestAreLookedAt) {
  // All apart from each other; the first ones are the least sure.
  constexpr size_t kTooMany = 10;
  std::vector<std::vector<Detection>> looks(1);
  for (size_t i = 0; i < kMaxFusedBoxes + kTooMany; ++i) {
    const auto x = static_cast<float>(i % 200) * 10;
    const auto y = static_cast<float>(i / 200) * 10;
    looks[0].push_back({.box_px = {x, y, x + 5, y + 5},
                        .confidence = 0.1f + 1e-5f * static_cast<float>(i),
                        .class_id = static_cast<int32_t>(i % 3) - 1});
  }
  const std::vector<Detection> fused = FuseBoxes(looks);
  ASSERT_EQ(fused.size(), kMaxFusedBoxes);
  EXPECT_EQ(fused.front().box_px, looks[0].back().box_px);
  EXPECT_EQ(fused.front().class_id, looks[0].back().class_id);
  EXPECT_EQ(fused.back().box_px, looks[0][kTooMany].box_px);
}

TEST(BoxFusion, ClassesKnowNothingOfEachOther) {
  // Every class has the same places, each in another order of confidence.
  constexpr int kPlaces = 7;
  std::vector<std::vector<Detection>> looks(1);
  for (int class_id = 0; class_id < 3; ++class_id) {
    for (int i = 0; i < kPlaces; ++i) {
      const auto x = static_cast<float>(20 * i);
      const int turn = (i * (class_id + 2)) % kPlaces;
      looks[0].push_back({.box_px = {x, 0, x + 10, 10},
                          .confidence = 0.1f + 0.1f * static_cast<float>(turn),
                          .class_id = class_id});
    }
  }
  const std::vector<Detection> fused = FuseBoxes(looks);
  ASSERT_EQ(fused.size(), looks[0].size());
  for (const Detection& one : looks[0]) {
    const auto same = [&](const Detection& other) {
      return other.class_id == one.class_id && other.box_px == one.box_px &&
             other.confidence == one.confidence;
    };
    EXPECT_EQ(std::ranges::count_if(fused, same), 1);
  }
}

TEST(BoxFusion, AmongEqualsTheFirstOneTakesTheBox) {
  // The third overlaps both alike; twenty more stand around, so that every vector is looked at.
  std::vector<Detection> look = {{.box_px = {0, 0, 10, 10}, .confidence = 0.9f},
                                 {.box_px = {4, 0, 14, 10}, .confidence = 0.8f},
                                 {.box_px = {2, 0, 12, 10}, .confidence = 0.1f}};
  for (int i = 0; i < 20; ++i) {
    const float x = 100 + 20 * static_cast<float>(i);
    look.push_back({.box_px = {x, 0, x + 10, 10}, .confidence = 0.5f});
  }
  const std::vector<std::vector<Detection>> looks = {look};
  const std::vector<Detection> fused = FuseBoxes(looks, 0.5f);
  ASSERT_EQ(fused.size(), 22u);
  const auto at_start = [](const Detection& d) { return d.box_px.x1 < 50; };
  ASSERT_EQ(std::ranges::count_if(fused, at_start), 2);
  const auto second = std::ranges::find(fused, Box{4, 0, 14, 10}, &Detection::box_px);
  EXPECT_NE(second, fused.end()) << "the second one stayed as it was";
}

}  // namespace
}  // namespace sightline
