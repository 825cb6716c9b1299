#include "evaluate/run_accuracy.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "evaluate/crossing_accuracy.h"
#include "evaluate/run_results.h"

namespace sightline::evaluate {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RunAccuracy : public ::testing::Test {
 protected:
  RunAccuracy() {
    std::string pattern = (fs::temp_directory_path() / "run_accuracy_test.XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    fs::create_directories(folder_ / "truth" / "gt");
    fs::create_directories(folder_ / "out");
    Write("truth/seqinfo.ini",
          "[Sequence]\nframeRate=10\nseqLength=4\nimWidth=100\nimHeight=100\n");
  }
  ~RunAccuracy() override { fs::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
  }
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }

  // A person (id 1) walks, a car (id 2) stands; the person is hidden in frame 3.
  void WriteWalk() const {
    Write("truth/gt/gt.txt",
          "1,1,10,10,10,20,1,1,1\n1,2,50,50,30,20,1,3,1\n2,1,12,10,10,20,1,1,1\n"
          "2,2,50,50,30,20,1,3,1\n3,1,14,10,10,20,1,1,0.02\n3,2,50,50,30,20,1,3,1\n"
          "4,1,16,10,10,20,1,1,1\n4,2,50,50,30,20,1,3,1\n");
  }
  static std::string Frame(int frame, const std::string& objects, const std::string& events = "",
                           int size = 100, const std::string& camera = "door") {
    return fmt::format(
        R"({{"camera":"{}","frame":{},"width":{},"height":{},"detections":[{}],"events":[{}]}})"
        "\n",
        camera, frame, size, size, objects, events);
  }
  static std::string Object(const std::string& name, double x1, double y1, double x2, double y2,
                            const std::string& track) {
    return fmt::format(
        R"({{"class":"{}","confidence":0.9,"box_xyxy_px":[{},{},{},{}],"track_id":{}}})", name, x1,
        y1, x2, y2, track);
  }

  absl::StatusOr<RunOutcome> Compare(const RunComparison& comparison = {}) const {
    SL_ASSIGN_OR_RETURN(const TruthSequence truth, ReadTruthSequence(Path("truth")));
    return CompareRun(truth, Path("out"), comparison);
  }
  std::string ErrorOf(const RunComparison& comparison = {}) const {
    return std::string(MessageOf(Compare(comparison).status()));
  }

  fs::path folder_;
};

TEST_F(RunAccuracy, BoxesAndTracksByClass) {
  WriteWalk();
  std::string lines;
  for (int frame = 0; frame < 4; ++frame) {
    const double x = 10 + 2 * frame;
    // The hidden person is not found, and in one frame neither is the car.
    std::string objects = frame == 2 ? "" : Object("Person", x, 10, x + 10, 30, "1");
    if (!objects.empty() && frame != 1) objects += ",";
    if (frame != 1) objects += Object("car", 50, 50, 80, 70, "2");
    lines += Frame(frame, objects);
  }
  lines += R"({"camera":"door","end_of_stream":true,"frame":4,"detections":[],"events":[]})"
           "\n";
  lines += R"({"camera":"door","state":"ended","previous":"live"})"
           "\n";
  Write("out/detections.jsonl", lines);
  const auto outcome = Compare();
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->camera, "door");
  EXPECT_EQ(outcome->judged_frames, 4);
  EXPECT_NEAR(outcome->boxes.map_50.value(), (1 + 76.0 / 101) / 2, 1e-9);
  ASSERT_EQ(outcome->tracks.size(), 2u);
  EXPECT_DOUBLE_EQ(outcome->tracks[0].second.Mota(), 1) << "the hidden one need not be found";
  EXPECT_DOUBLE_EQ(outcome->tracks[1].second.Mota(), 0.75);
  EXPECT_EQ(outcome->all_tracks.misses, 1);
  const auto strict = Compare({.least_visibility = 0});
  EXPECT_EQ(strict->all_tracks.misses, 2);
  const auto cars = Compare({.classes = {"CAR"}});
  EXPECT_EQ(cars->all_tracks.truth_boxes, 4);
  EXPECT_EQ(cars->strange_classes.at("Person"), 3);
  EXPECT_THAT(ErrorOf({.classes = {"bus"}}), HasSubstr("no class \"bus\", but person"));
}

TEST_F(RunAccuracy, FramesWithoutResultAndOtherSizes) {
  WriteWalk();
  Write("out/detections.jsonl", Frame(1,
                                      Object("person", 24, 20, 44, 60, "1") + "," +
                                          Object("car", 100, 100, 160, 140, "null"),
                                      "", 200) +
                                    Frame(9, Object("person", 0, 0, 9, 9, "1")));
  const auto outcome = Compare();
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->judged_frames, 1);
  EXPECT_EQ(outcome->frames_without_result, 3);
  EXPECT_EQ(outcome->frames_beyond_truth, 1);
  EXPECT_NEAR(outcome->boxes.map.value(), 1, 1e-9);
  EXPECT_EQ(outcome->all_tracks.matches, 1);
  EXPECT_EQ(outcome->all_tracks.misses, 1) << "a box without track is no track";
  const auto all = Compare({.all_frames = true});
  EXPECT_EQ(all->judged_frames, 4);
  EXPECT_EQ(all->all_tracks.misses, 6) << "8 boxes, one hidden, one found";
}

TEST_F(RunAccuracy, CrossingsByLineDirectionAndTime) {
  Write("truth/seqinfo.ini", "frameRate=10\nseqLength=100\n");
  Write("truth/gt/gt.txt", "1,1,10,10,10,20,1,1,1\n");
  Write("truth/crossings.csv",
        "line,frame,time_s,id,class,direction\nline1,20,1.9,1,person,forward\n"
        "line1,60,5.9,1,person,backward\nline1,95,9.4,2,person,forward\n");
  const auto event = [](const char* rule, bool forward) {
    return fmt::format(R"({{"kind":"line_cross","rule":"{}","forward":{},"class":"person"}})", rule,
                       forward);
  };
  Write("out/detections.jsonl",
        Frame(24, "", event("gate", true)) + Frame(59, "", event("gate", true)) + Frame(80, ""));
  auto outcome = Compare();
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  ASSERT_EQ(outcome->crossings.size(), 1u);
  EXPECT_EQ(outcome->crossings[0].rule, "gate") << "the only rule goes with the only line";
  EXPECT_EQ(outcome->crossings[0].truth, 2) << "the run ends before the third";
  EXPECT_EQ(outcome->crossings[0].found, 1);
  EXPECT_EQ(outcome->crossings[0].invented, 1) << "the wrong way";
  outcome = Compare({.crossing_tolerance_s = 0.4});
  EXPECT_EQ(outcome->crossings[0].found, 0);
  outcome = Compare({.all_frames = true});
  EXPECT_EQ(outcome->crossings[0].truth, 3);
  outcome = Compare({.line_names = {{"line1", "other"}}});
  EXPECT_EQ(outcome->crossings[0].found, 0);
  EXPECT_THAT(ErrorOf({.line_names = {{"line2", "gate"}}}), HasSubstr("\"line2\""));
}

TEST(CrossingAccuracy, EachCountsOnce) {
  CrossingAccuracy accuracy;
  for (const int64_t frame : {10, 12, 40}) accuracy.AddTrue("a", "person", true, frame);
  for (const int64_t frame : {11, 41, 42}) accuracy.AddFound("a", "person", true, frame);
  accuracy.AddFound("a", "car", true, 10);
  const auto counts = accuracy.Report(3);
  EXPECT_EQ(counts.at({"a", "person"}).truth, 3);
  EXPECT_EQ(counts.at({"a", "person"}).found, 2);
  EXPECT_EQ(counts.at({"a", "person"}).invented, 1);
  EXPECT_EQ(counts.at({"a", "car"}).invented, 1);
}

TEST_F(RunAccuracy, BadFilesAreNamed) {
  WriteWalk();
  EXPECT_THAT(ErrorOf(), HasSubstr("detections.jsonl: no such file"));
  Write("out/detections.jsonl", "");
  EXPECT_THAT(ErrorOf(), HasSubstr("no frame in it"));
  Write("out/detections.jsonl", Frame(0, "") + "{\"half\":");
  EXPECT_THAT(ErrorOf(), HasSubstr("detections.jsonl: line 2: \"{\"half\":\" is no JSON object"));
  Write("out/detections.jsonl", Frame(0, R"({"class":"person"})"));
  EXPECT_THAT(ErrorOf(), HasSubstr("line 1: a detection without confidence or box"));
  Write("out/detections.jsonl", Frame(1, "") + Frame(0, ""));
  EXPECT_THAT(ErrorOf(), HasSubstr("line 2: frame 0 after frame 1: the file holds more than one"));
  Write("out/detections.jsonl", Frame(0, "") + Frame(0, "", "", 100, "gate"));
  EXPECT_THAT(ErrorOf(), HasSubstr("cameras door and gate; choose one with --camera"));
  EXPECT_TRUE(Compare({.camera = "gate"}).ok());
  EXPECT_THAT(ErrorOf({.camera = "yard"}), HasSubstr("no frame of camera \"yard\", but of door"));
  Write("out/detections.jsonl", std::string(17 << 20, ' ') + "\n");
  EXPECT_THAT(ErrorOf(), HasSubstr("line 1: a line of more than 16 MiB"));
}

TEST_F(RunAccuracy, BadTruthIsNamed) {
  Write("out/detections.jsonl", Frame(0, ""));
  EXPECT_THAT(ErrorOf(), HasSubstr("gt.txt"));
  Write("truth/gt/gt.txt", "1,1,0,0,1,1,1\n1,1,0,0,1,1,1\n");
  EXPECT_THAT(ErrorOf(), HasSubstr("gt.txt: line 2: id 1 is in frame 1 already"));
  Write("truth/gt/gt.txt", "1,1,0,0,1,1,1\n");
  Write("truth/crossings.csv", "line,frame,time_s,id,class,direction\ngate,1,0,1,person,up\n");
  EXPECT_THAT(ErrorOf(), HasSubstr("crossings.csv: line 2: \"gate,1,0,1,person,up\""));
  fs::remove(folder_ / "truth" / "crossings.csv");
  Write("truth/seqinfo.ini", "frameRate=fast\n");
  EXPECT_THAT(ErrorOf(), HasSubstr("seqinfo.ini: line 1: frameRate is \"fast\""));
  Write("truth/seqinfo.ini", "");
  Write("truth/gt/labels.txt", "walker\n");
  EXPECT_TRUE(Compare().ok());
  Write("truth/gt/gt.txt", "1,1,0,0,1,1,1,2\n");
  EXPECT_THAT(ErrorOf(), HasSubstr("gt.txt: line 1: class 2, but labels.txt names 1"));
}

TEST_F(RunAccuracy, OwnClassNames) {
  Write("truth/gt/labels.txt", "cat\ndog\n");
  Write("truth/gt/gt.txt", "1,1,0,0,10,10,1,2,1\n");
  Write("out/detections.jsonl", Frame(0, Object("dog", 0, 0, 10, 10, "5")));
  const auto outcome = Compare();
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_THAT(outcome->classes, ElementsAre("cat", "dog"));
  EXPECT_DOUBLE_EQ(outcome->all_tracks.Mota(), 1);
}

}  // namespace
}  // namespace sightline::evaluate
