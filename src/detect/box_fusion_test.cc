// Weighted boxes fusion against its authors' package (tests/golden/nms/fusion.json, made by
// tools/golden/fusion_cases.py).
#include "detect/box_fusion.h"

#include <gtest/gtest.h>

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

TEST(BoxFusion, AsTheAuthorsPackage) {
  std::ifstream file(std::string(SIGHTLINE_SOURCE_DIR) + "/tests/golden/nms/fusion.json");
  const json golden = json::parse(file);
  ASSERT_GE(golden.at("cases").size(), 3u);
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

}  // namespace
}  // namespace sightline
