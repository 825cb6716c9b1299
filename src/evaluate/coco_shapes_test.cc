// Key points and masks in COCO's JSON: what is refused. Their figures: evaluate_golden_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "evaluate/key_points.h"
#include "evaluate/mask_runs.h"

namespace sightline::evaluate {
namespace {

using ::testing::HasSubstr;

TEST(KeyPoints, ErrorsNameThePlace) {
  const auto error = [](const std::string& annotation, const std::string& result) {
    const std::string truth =
        R"({"images":[{"id":1}],"categories":[{"id":1,"name":"p"}],"annotations":[)" + annotation +
        "]}";
    return std::string(
        MessageOf(CompareKeyPointsText(truth, "[" + result + "]", "t.json", "r.json").status()));
  };
  const std::string person =
      R"({"image_id":1,"category_id":1,"bbox":[0,0,9,9],"area":50,"keypoints":[1,1,2,5,5,2]})";
  const auto found = [](const std::string& points) {
    return R"({"image_id":1,"category_id":1,"score":0.5,"keypoints":)" + points + "}";
  };
  EXPECT_EQ(error(person, found("[1,1,1,5,5,1]")), "");
  EXPECT_THAT(error(person, found("[1,1,1]")),
              HasSubstr("results[0] has 1 key points, those before it 2"));
  EXPECT_THAT(error(person, found("[1,1]")), HasSubstr("results[0].keypoints is not"));
  EXPECT_THAT(error(person, found("[1,1,1,5,null,1]")), HasSubstr("keypoints[4] is no number"));
  EXPECT_THAT(error(R"({"image_id":1,"category_id":1})", ""), HasSubstr("no annotation has"));
  EXPECT_THAT(error(person, R"({"image_id":2})"), HasSubstr("no picture of id 2"));
}

TEST(MaskRuns, WhatIsNoMask) {
  const auto whole = MaskOfOutline(std::vector<double>{0, 0, 10, 0, 10, 6, 0, 6}, 10, 6);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(AreaOf(*whole), 60);
  EXPECT_EQ(MaskOverlap(*whole, *whole, false), 1);
  EXPECT_EQ(MaskOverlap(*whole, {10, 6, {60}}, false), 0);
  EXPECT_FALSE(MaskOfOutline(std::vector<double>{0, 0, 1, 1}, 10, 6).ok());
  EXPECT_FALSE(MaskOfOutline(std::vector<double>{0, 0, 1, 1, 1e9, 3}, 10, 6).ok());
  EXPECT_FALSE(MaskOfOutline(std::vector<double>{0, 0, 1, 1, 2, 3}, 0, 6).ok());
  EXPECT_FALSE(MaskOfOutline(std::vector<double>{0, 0, 1, 1, 2, 3}, 1 << 30, 6).ok());
  EXPECT_TRUE(MaskOfRuns(std::vector<int64_t>{58, 2}, 10, 6).ok());
  EXPECT_FALSE(MaskOfRuns(std::vector<int64_t>{58, 3}, 10, 6).ok());
  EXPECT_FALSE(MaskOfRuns(std::vector<int64_t>{58, 1}, 10, 6).ok());
  EXPECT_FALSE(MaskOfRuns(std::vector<int64_t>{-2, 62}, 10, 6).ok());
  for (const char* const text : {"", "o", "oooooooooooooooooooo", "\x01", "zz", "\xff\xff"}) {
    EXPECT_FALSE(MaskOfText(text, 10, 6).ok()) << text;
  }
}

}  // namespace
}  // namespace sightline::evaluate
