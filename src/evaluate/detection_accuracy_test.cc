#include "evaluate/detection_accuracy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "evaluate/coco_files.h"

namespace sightline::evaluate {
namespace {

using ::testing::HasSubstr;

TrueBox Truth(double x, int32_t class_id = 1) {
  return {.box_px = {x, 0, 100, 100}, .class_id = class_id};
}
FoundBox Found(double x, double confidence, int32_t class_id = 1) {
  return {.box_px = {x, 0, 100, 100}, .class_id = class_id, .confidence = confidence};
}

TEST(DetectionAccuracy, AllFoundIsOne) {
  DetectionAccuracy accuracy;
  const TrueBox truth[] = {Truth(0), Truth(200), Truth(400, 7)};
  const FoundBox found[] = {Found(0, 0.9), Found(200, 0.4), Found(400, 0.3, 7)};
  ASSERT_TRUE(accuracy.AddPicture(truth, found).ok());
  const DetectionReport report = accuracy.Report();
  EXPECT_NEAR(report.map.value(), 1, 1e-12);
  EXPECT_NEAR(report.map_50.value(), 1, 1e-12);
  EXPECT_NEAR(report.recall_100.value(), 1, 1e-12);
  EXPECT_NEAR(report.recall_1.value(), 0.75, 1e-12);  // one box of class 1, one of class 7
  EXPECT_FALSE(report.map_small) << "nothing is smaller than 32 x 32 px";
  ASSERT_EQ(report.classes.size(), 2u);
  EXPECT_EQ(report.classes[0].truth, 2);
  EXPECT_EQ(report.classes[0].right, 2);
  EXPECT_DOUBLE_EQ(report.classes[0].best_f1, 1);
  EXPECT_DOUBLE_EQ(report.classes[0].best_f1_confidence, 0.4);
}

TEST(DetectionAccuracy, NothingThereIsNoNumber) {
  DetectionAccuracy accuracy;
  EXPECT_FALSE(accuracy.Report().map);
  const FoundBox found[] = {Found(0, 0.9)};
  ASSERT_TRUE(accuracy.AddPicture({}, found).ok());
  const DetectionReport report = accuracy.Report();
  EXPECT_FALSE(report.map) << "no truth, so nothing to be precise about";
  ASSERT_EQ(report.classes.size(), 1u);
  EXPECT_EQ(report.classes[0].found, 1);
  EXPECT_EQ(report.classes[0].right, 0);
}

TEST(DetectionAccuracy, NothingFoundIsZero) {
  DetectionAccuracy accuracy;
  const TrueBox truth[] = {Truth(0)};
  ASSERT_TRUE(accuracy.AddPicture(truth, {}).ok());
  EXPECT_EQ(accuracy.Report().map.value(), 0);
  EXPECT_EQ(accuracy.Report().recall_100.value(), 0);
}

// One object found twice: the second is wrong. Precision 1 to recall 1/2, then 2/3.
TEST(DetectionAccuracy, FoundTwiceIsWrongOnce) {
  DetectionAccuracy accuracy;
  const TrueBox truth[] = {Truth(0), Truth(300)};
  const FoundBox found[] = {Found(0, 0.9), Found(0, 0.8), Found(300, 0.7)};
  ASSERT_TRUE(accuracy.AddPicture(truth, found).ok());
  EXPECT_NEAR(accuracy.Report().map_50.value(), (51 + 50 * 2.0 / 3) / 101, 1e-12);
}

TEST(DetectionAccuracy, IgnoredIsNeitherMissedNorWrong) {
  for (const bool crowd : {false, true}) {
    DetectionAccuracy accuracy;
    TrueBox ignored = Truth(0);
    (crowd ? ignored.crowd : ignored.ignored) = true;
    const TrueBox truth[] = {ignored, Truth(300)};
    // Two boxes on what is ignored: a crowd excuses both, a single object only one.
    const FoundBox found[] = {Found(0, 0.9), Found(10, 0.8), Found(300, 0.7)};
    ASSERT_TRUE(accuracy.AddPicture(truth, found).ok());
    EXPECT_NEAR(accuracy.Report().map_50.value(), crowd ? 1 : 0.5, 1e-9) << crowd;
    EXPECT_EQ(accuracy.Report().classes[0].truth, 1);
    EXPECT_EQ(accuracy.Report().classes[0].found, crowd ? 1 : 2);
  }
}

TEST(DetectionAccuracy, OnlyAHundredBoxesCount) {
  DetectionAccuracy accuracy;
  const TrueBox truth[] = {Truth(0)};
  std::vector<FoundBox> found(100, Found(500, 0.9));
  found.push_back(Found(0, 0.1));
  ASSERT_TRUE(accuracy.AddPicture(truth, found).ok());
  EXPECT_EQ(accuracy.Report().map.value(), 0);
}

TEST(DetectionAccuracy, LimitsAndNumbers) {
  DetectionAccuracy accuracy(2);
  const FoundBox three[] = {Found(0, 0.9), Found(0, 0.8), Found(0, 0.7)};
  EXPECT_EQ(accuracy.AddPicture({}, three).code(), absl::StatusCode::kResourceExhausted);
  const FoundBox bad[] = {Found(0, std::numeric_limits<double>::quiet_NaN())};
  EXPECT_EQ(DetectionAccuracy().AddPicture({}, bad).code(), absl::StatusCode::kInvalidArgument);
  const TrueBox endless[] = {Truth(std::numeric_limits<double>::infinity())};
  EXPECT_EQ(DetectionAccuracy().AddPicture(endless, {}).code(), absl::StatusCode::kInvalidArgument);
}

std::string CocoError(const std::string& truth, const std::string& results) {
  return std::string(MessageOf(CompareCocoText(truth, results, "t.json", "r.json").status()));
}

TEST(CocoFiles, ErrorsNameThePlace) {
  const std::string good =
      R"({"images":[{"id":1}],"categories":[{"id":1,"name":"x"}],"annotations":[]})";
  EXPECT_EQ(CocoError(good, "[]"), "");
  EXPECT_THAT(CocoError("{", "[]"), HasSubstr("t.json: no JSON"));
  EXPECT_THAT(CocoError("[]", "[]"), HasSubstr("no \"images\""));
  EXPECT_THAT(CocoError(good, "{}"), HasSubstr("r.json: results is no list"));
  EXPECT_THAT(CocoError(good, "[1]"), HasSubstr("results[0] is no object"));
  EXPECT_THAT(CocoError(good, R"([{"image_id":1,"category_id":1,"bbox":[1,2,3],"score":1}])"),
              HasSubstr("results[0].bbox is not [x, y, width, height]"));
  EXPECT_THAT(CocoError(good, R"([{"image_id":1,"category_id":1,"bbox":[1,2,3,4]}])"),
              HasSubstr("results[0] has no \"score\""));
  EXPECT_THAT(CocoError(good, R"([{"image_id":2,"category_id":1,"bbox":[1,2,3,4],"score":1}])"),
              HasSubstr("the truth has no picture of id 2"));
  EXPECT_THAT(CocoError(good, R"([{"image_id":1.5,"category_id":1,"bbox":[1,2,3,4],"score":1}])"),
              HasSubstr("image_id is 1.5"));
  EXPECT_THAT(CocoError(good, R"([{"image_id":1e999}])"), HasSubstr("r.json: no JSON"));
  EXPECT_THAT(CocoError(good, std::string(100'000, '[')), HasSubstr("r.json"));
  EXPECT_THAT(CocoError(good, std::string(100, '[') + std::string(100, ']')),
              HasSubstr("nested deeper"));
  EXPECT_THAT(CocoError(R"({"images":[{"id":1},{"id":1}],"categories":[],"annotations":[]})", "[]"),
              HasSubstr("images[1]: a picture of id 1 is there already"));
}

}  // namespace
}  // namespace sightline::evaluate
