// Files of whole pictures' classes and label maps: what is read, and what is refused.
#include "evaluate/label_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "evaluate/semantic_accuracy.h"

namespace sightline::evaluate {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class LabelFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ =
        fs::path(::testing::TempDir()) /
        (std::string("labels_") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  std::string Put(const std::string& name, const std::string& text) const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name, std::ios::binary) << text;
    return (root_ / name).string();
  }
  static bool IsPicture(const std::string& path) { return path.ends_with(".jpg"); }
  std::string ResultError(const LabelTruth& truth, const std::string& text) const {
    return std::string(MessageOf(CompareLabels(truth, Put("r.csv", text), 2).status()));
  }

  fs::path root_;
};

TEST_F(LabelFilesTest, FoldersOfClasses) {
  Put("val/dog/1.jpg", "");
  Put("val/cat/1.jpg", "");
  Put("val/cat/deeper/2.jpg", "");
  Put("val/readme.txt", "");
  const auto truth = ReadLabelTruth((root_ / "val").string(), IsPicture);
  ASSERT_TRUE(truth.ok()) << truth.status();
  EXPECT_EQ(truth->class_names.at(0), "cat");
  ASSERT_EQ(truth->pictures.size(), 3u);
  // Names, numbers, several labels in a row, CSV and JSON lines.
  const std::string csv =
      "filename,label,score\r\ncat/1.jpg,cat,0.9\n/data/val/dog/1.jpg,cat,0.6,\"dog\",0.4\n"
      "{\"image\":\"2.jpg\",\"labels\":[1,\"cat\"],\"scores\":[0.2,0.7]}\n";
  const auto outcome = CompareLabels(*truth, Put("r.csv", csv), 2);
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_NEAR(*outcome->report.top_1, 2.0 / 3, 1e-12);
  EXPECT_NEAR(*outcome->report.top_k, 1, 1e-12);
  EXPECT_THAT(ResultError(*truth, "1.jpg,cat,1\n"), HasSubstr("r.csv:1: several pictures"));
  EXPECT_THAT(ResultError(*truth, "2.jpg,cat,1\n3.jpg,cat,1\n"),
              HasSubstr("r.csv:2: the truth has no"));
  EXPECT_THAT(ResultError(*truth, "2.jpg,cat,nan\n"), HasSubstr("r.csv:1: the score \"nan\""));
  EXPECT_THAT(ResultError(*truth, "2.jpg,cat\n"), HasSubstr("image,label,score is expected"));
  EXPECT_THAT(ResultError(*truth, "2.jpg,2,1\n"), HasSubstr("class 2 is none of 0 to 1"));
  EXPECT_THAT(ResultError(*truth, "\"2.jpg,cat,1\n"), HasSubstr("quote"));
  EXPECT_THAT(ResultError(*truth, "{\"image\":3}\n"), HasSubstr("no \"image\""));
  EXPECT_THAT(ResultError(*truth, "{\"image\":\"2.jpg\",\"label\":\"cat\"}\n"), HasSubstr("score"));
  EXPECT_THAT(ResultError(*truth, "{\"image\":\n"), HasSubstr("no JSON"));
  fs::create_directories(root_ / "empty");
  EXPECT_THAT(MessageOf(ReadLabelTruth((root_ / "empty").string(), IsPicture).status()),
              HasSubstr("one folder for every class"));
}

TEST_F(LabelFilesTest, MissingAndStrangeLabelsAreWrong) {
  const auto truth = ReadLabelTruth(Put("t.csv", "a.jpg,10\nb.jpg,9\nc.jpg,9\n"), IsPicture);
  ASSERT_TRUE(truth.ok()) << truth.status();
  EXPECT_EQ(truth->class_names.at(0), "9") << "numbers go by their value";
  const auto outcome = CompareLabels(*truth, Put("r.csv", "a.jpg,10,0.5\nb.jpg,horse,0.5\n"), 5);
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_NEAR(*outcome->report.top_1, 1.0 / 3, 1e-12);
  EXPECT_EQ(outcome->report.without_label, 1);
  EXPECT_EQ(outcome->strange_labels, 1);
  EXPECT_FALSE(outcome->report.classes[0].precision) << "nobody said 9";
  EXPECT_THAT(MessageOf(ReadLabelTruth(Put("t.csv", "a.jpg,1\na.jpg,2\n"), IsPicture).status()),
              HasSubstr("t.csv:2: the picture \"a.jpg\" is there already"));
  EXPECT_THAT(MessageOf(ReadLabelTruth(Put("t.csv", ""), IsPicture).status()),
              HasSubstr("no picture"));
}

TEST(LabelAccuracy, OfEqualScoresTheFirstCounts) {
  LabelAccuracy accuracy(1);
  const ScoredLabel labels[] = {{.class_id = 4, .score = 0.5}, {.class_id = 2, .score = 0.5}};
  ASSERT_TRUE(accuracy.AddPicture(4, labels).ok());
  ASSERT_TRUE(accuracy.AddPicture(2, labels).ok());
  EXPECT_EQ(*accuracy.Report().top_1, 0.5);
  EXPECT_EQ(*accuracy.Report().top_k, 0.5);
}

TEST_F(LabelFilesTest, LabelMaps) {
  const auto read = [](const std::string& path) -> absl::StatusOr<LabelMap> {
    if (path.ends_with("wide.png")) return LabelMap{2, 1, {0, 1}};
    if (path.ends_with("high.png")) return LabelMap{1, 1, {3000}};
    return LabelMap{1, 1, {1}};
  };
  const auto compare = [&](const std::string& truth, const std::string& found) {
    return std::string(MessageOf(
        CompareLabelMaps((root_ / truth).string(), (root_ / found).string(), 255, read).status()));
  };
  Put("t/a.png", "");
  Put("f/a.png", "");
  EXPECT_EQ(compare("t", "f"), "");
  Put("f/b.png", "");
  EXPECT_THAT(compare("t", "f"), HasSubstr("the truth has no picture \"b\""));
  Put("t/b.png", "");
  Put("t/wide.png", "");
  EXPECT_THAT(compare("t", "f"), HasSubstr("no result for"));
  Put("t2/high.png", "");
  Put("f2/high.png", "");
  EXPECT_THAT(compare("t2", "f2"), HasSubstr("class 3000 at (0, 0)"));
  EXPECT_THAT(compare("t", "none"), HasSubstr("none"));
  fs::create_directories(root_ / "empty");
  EXPECT_THAT(compare("empty", "f"), HasSubstr("no label map"));
  SemanticAccuracy accuracy;
  EXPECT_THAT(std::string(MessageOf(accuracy.AddPicture({1, 1, {0}}, {1, 2, {0, 0}}))),
              HasSubstr("1 x 1 px, the result 1 x 2"));
  // The ignored value where the truth counts is wrong; where it does not, all is right.
  ASSERT_TRUE(accuracy.AddPicture({4, 1, {0, 0, 255, 255}}, {4, 1, {0, 255, 0, 7}}).ok());
  EXPECT_EQ(*accuracy.Report().mean_iou, 0.5);
  EXPECT_EQ(accuracy.Report().ignored, 2);
  EXPECT_EQ(accuracy.Report().classes.size(), 1u);
}

}  // namespace
}  // namespace sightline::evaluate
