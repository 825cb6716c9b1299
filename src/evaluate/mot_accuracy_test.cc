#include "evaluate/mot_accuracy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "evaluate/mot_files.h"

namespace sightline::evaluate {
namespace {

using ::testing::HasSubstr;

PlacedBox At(double x) { return {x, 0, 10, 10}; }

MotReport ReportOf(const std::string& truth, const std::string& found,
                   const MotComparison& comparison = {}) {
  const auto true_rows = ParseMotTable(truth);
  const auto found_rows = ParseMotTable(found);
  EXPECT_TRUE(true_rows.ok()) << true_rows.status();
  EXPECT_TRUE(found_rows.ok()) << found_rows.status();
  const auto outcome = CompareMot(*true_rows, *found_rows, comparison);
  EXPECT_TRUE(outcome.ok()) << outcome.status();
  return outcome->report;
}

TEST(MotAccuracy, PerfectIsOne) {
  const std::string truth =
      "1,1,0,0,10,10,1\n1,2,50,0,10,10,1\n2,1,1,0,10,10,1\n2,2,51,0,10,10,1\n";
  const MotReport report = ReportOf(truth, truth);
  EXPECT_DOUBLE_EQ(report.Mota(), 1);
  EXPECT_DOUBLE_EQ(report.Motp(), 1);
  EXPECT_DOUBLE_EQ(report.Idf1(), 1);
  EXPECT_DOUBLE_EQ(report.HotaMean(), 1);
  EXPECT_EQ(report.mostly_tracked, 2);
  EXPECT_EQ(report.frames, 2);
}

TEST(MotAccuracy, SwappedIdsAreSwitches) {
  MotAccuracy accuracy;
  for (int frame = 0; frame < 10; ++frame) {
    const TruthTrackBox truth[] = {{1, At(0)}, {2, At(100)}};
    const int64_t a = frame < 5 ? 7 : 8;
    const FoundTrackBox found[] = {{a, At(0)}, {15 - a, At(100)}};
    ASSERT_TRUE(accuracy.AddFrame(truth, found).ok());
  }
  const MotReport report = accuracy.Report();
  EXPECT_EQ(report.id_switches, 2);
  EXPECT_DOUBLE_EQ(report.Mota(), 1 - 2.0 / 20);
  EXPECT_DOUBLE_EQ(report.Idf1(), 0.5);
  EXPECT_DOUBLE_EQ(report.DetA(), 1);
  EXPECT_DOUBLE_EQ(report.AssA(), 5.0 / 15);  // each pair shares 5 of the 15 boxes of both
}

TEST(MotAccuracy, WhoWasMatchedStaysMatched) {
  MotAccuracy accuracy;
  const TruthTrackBox truth[] = {{1, At(0)}};
  const FoundTrackBox before[] = {{7, At(2)}};
  const FoundTrackBox both[] = {{7, At(2)}, {8, At(0)}};  // 8 lies better, 7 was there
  ASSERT_TRUE(accuracy.AddFrame(truth, before).ok());
  ASSERT_TRUE(accuracy.AddFrame(truth, both).ok());
  EXPECT_EQ(accuracy.Report().id_switches, 0);
  EXPECT_EQ(accuracy.Report().false_boxes, 1);
}

TEST(MotAccuracy, NothingFoundAndNothingThere) {
  const std::string one = "1,1,0,0,10,10,1\n2,1,0,0,10,10,1\n";
  const MotReport missed = ReportOf(one, "");
  EXPECT_EQ(missed.misses, 2);
  EXPECT_EQ(missed.mostly_lost, 1);
  EXPECT_EQ(missed.Mota(), 0);
  EXPECT_EQ(missed.HotaMean(), 0);
  const MotReport invented = ReportOf("", one);
  EXPECT_EQ(invented.false_boxes, 2);
  EXPECT_EQ(invented.Idf1(), 0);
  const MotReport empty = ReportOf("", "");
  EXPECT_EQ(empty.frames, 0);
  EXPECT_EQ(empty.Mota(), 0);
}

TEST(MotAccuracy, RolesOfTruth) {
  // A rider excuses (class 2), a car does not (class 3), a pedestrian of mark 0 neither.
  const std::string truth =
      "1,1,0,0,10,10,1,1,1\n1,2,100,0,10,10,1,2,1\n1,3,200,0,10,10,1,3,1\n"
      "1,4,300,0,10,10,0,1,1\n";
  const std::string found =
      "1,1,0,0,10,10,1\n1,2,100,0,10,10,1\n1,3,200,0,10,10,1\n1,4,300,0,10,10,1\n";
  const MotReport report = ReportOf(truth, found);
  EXPECT_EQ(report.matches, 1);
  EXPECT_EQ(report.truth_boxes, 1);
  EXPECT_EQ(report.false_boxes, 2);
  const MotReport all = ReportOf(truth, found, {.rules = MotRules::kMot15});
  EXPECT_EQ(all.matches, 3);
  EXPECT_EQ(all.false_boxes, 1);
}

TEST(MotAccuracy, WhoIsHiddenNeedNotBeFound) {
  const std::string truth = "1,1,0,0,10,10,1,1,0.05\n1,2,100,0,10,10,1,1,0.9\n";
  const std::string both = "1,1,0,0,10,10,1\n1,2,100,0,10,10,1\n";
  const std::string one = "1,2,100,0,10,10,1\n";
  for (const std::string& found : {both, one}) {
    const MotReport report = ReportOf(truth, found, {.least_visibility = 0.1});
    EXPECT_EQ(report.matches, 1);
    EXPECT_EQ(report.misses, 0);
    EXPECT_EQ(report.false_boxes, 0);
  }
  EXPECT_EQ(ReportOf(truth, one).misses, 1);
}

TEST(MotAccuracy, LimitsAreStatuses) {
  MotAccuracy accuracy;
  const std::vector<FoundTrackBox> many(1001);
  EXPECT_EQ(accuracy.AddFrame({}, many).code(), absl::StatusCode::kResourceExhausted);
  MotAccuracy small(3);
  const TruthTrackBox truth[] = {{1, At(0)}, {2, At(1)}};
  const FoundTrackBox found[] = {{1, At(0)}, {2, At(1)}};
  EXPECT_EQ(small.AddFrame(truth, found).code(), absl::StatusCode::kResourceExhausted);
  const FoundTrackBox twice[] = {{1, At(0)}, {1, At(5)}};
  EXPECT_EQ(MotAccuracy().AddFrame(truth, twice).code(), absl::StatusCode::kInvalidArgument);
}

std::string TableError(std::string_view text) {
  return std::string(MessageOf(ParseMotTable(text).status()));
}

TEST(MotFiles, BadRowsAreNamedByLine) {
  const std::string good = "1,1,0,0,10,10,1\n";
  EXPECT_EQ(TableError(good), "");
  EXPECT_THAT(TableError(good + "2,1,0,0,10\n"),
              HasSubstr("line 2: 5 columns in \"2,1,0,0,10\", expected frame,id,x,y,width,height"));
  EXPECT_THAT(TableError(good + "\n2,one,0,0,10,10,1\n"), HasSubstr("line 3: id is \"one\""));
  EXPECT_THAT(TableError(good + "2,1.5,0,0,10,10,1\n"), HasSubstr("line 2: id is 1.5"));
  EXPECT_THAT(TableError(good + "0,1,0,0,10,10,1\n"), HasSubstr("line 2: frame is 0"));
  EXPECT_THAT(TableError(good + "2,1,0,0,10,10,1,person\n"),
              HasSubstr("line 2: class is \"person\""));
  EXPECT_THAT(TableError(good + "2,5,0,0,10,10,1\n" + good),
              HasSubstr("line 3: id 1 is in frame 1 already, on line 1"));
  EXPECT_EQ(TableError(good + "2,1,0,0,10,10,1,-1,-1,-1,-1,and more\n"), "");
  EXPECT_EQ(TableError("1,1,0,0,10,10,1,\r\n"), "") << "an empty last column is none";
}

TEST(MotFiles, WrongRulesAreSaid) {
  const auto places = ParseMotTable("1,1,0,0,10,10,1,-4.5,3.2,1\n");  // MOT15 with world places
  const auto found = ParseMotTable("1,1,0,0,10,10,1\n");
  ASSERT_TRUE(places.ok());
  EXPECT_THAT(std::string(MessageOf(CompareMot(*places, *found, {}).status())),
              HasSubstr("--rules mot15"));
  EXPECT_TRUE(CompareMot(*places, *found, {.rules = MotRules::kMot15}).ok());
  const auto truth = ParseMotTable("1,1,0,0,10,10,1,1,1\n");
  const auto cars = ParseMotTable("1,1,0,0,10,10,1,3\n");
  EXPECT_THAT(std::string(MessageOf(CompareMot(*truth, *cars, {}).status())),
              HasSubstr("line 1: class 3"));
}

TEST(MotFiles, AFolderIsASequence) {
  namespace fs = std::filesystem;
  std::string pattern = (fs::temp_directory_path() / "mot_files_test.XXXXXX").string();
  const fs::path folder = mkdtemp(pattern.data());
  fs::create_directories(folder / "gt");
  std::ofstream(folder / "gt" / "gt.txt") << "1,1,0,0,10,10,1\n";
  EXPECT_TRUE(ReadMotTable(MotTruthFile(folder.string())).ok());
  EXPECT_TRUE(ReadMotTable(MotTruthFile((folder / "gt").string())).ok());
  EXPECT_EQ(ReadMotTable((folder / "none.txt").string()).status().code(),
            absl::StatusCode::kNotFound);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace sightline::evaluate
