// Figures against those of TrackEval, pycocotools and scikit-learn (tests/golden/evaluate, made by
// tools/golden/eval_*.py): counts equal, shares to 1e-9.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "evaluate/coco_files.h"
#include "evaluate/coco_masks.h"
#include "evaluate/key_points.h"
#include "evaluate/label_files.h"
#include "evaluate/labelled_pictures.h"
#include "evaluate/mot_files.h"
#include "evaluate/semantic_accuracy.h"

namespace sightline::evaluate {
namespace {

using nlohmann::json;

// What is demanded is 1e-3; the sums are taken in another order, and nothing else differs.
constexpr double kTolerance = 1e-9;

std::string Golden(const std::string& name) {
  return std::string(SIGHTLINE_SOURCE_DIR) + "/tests/golden/" + name;
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

json ReadIndex(const std::string& name) {
  const json index = json::parse(ReadText(Golden("evaluate/" + name)), nullptr, false);
  EXPECT_FALSE(index.is_discarded());
  EXPECT_FALSE(index.at("made").empty());
  EXPECT_FALSE(index.at("recorded").empty());
  return index;
}

// The data root, or empty: then the test skips.
std::string DataRoot() {
  const char* const root = std::getenv("SIGHTLINE_TEST_DATA");
  return root == nullptr ? "" : root;
}

void ExpectFigures(const MotReport& report, const json& expected) {
  EXPECT_EQ(report.matches, expected.at("matches"));
  EXPECT_EQ(report.misses, expected.at("misses"));
  EXPECT_EQ(report.false_boxes, expected.at("false"));
  EXPECT_EQ(report.id_switches, expected.at("id_switches"));
  EXPECT_EQ(report.fragments, expected.at("fragments"));
  EXPECT_EQ(report.mostly_tracked, expected.at("mostly_tracked"));
  EXPECT_EQ(report.partly_tracked, expected.at("partly_tracked"));
  EXPECT_EQ(report.mostly_lost, expected.at("mostly_lost"));
  EXPECT_EQ(report.id_matches, expected.at("id_matches"));
  EXPECT_NEAR(report.Mota(), expected.at("mota"), kTolerance);
  EXPECT_NEAR(report.Motp(), expected.at("motp"), kTolerance);
  EXPECT_NEAR(report.Idf1(), expected.at("idf1"), kTolerance);
  EXPECT_NEAR(report.IdPrecision(), expected.at("id_precision"), kTolerance);
  EXPECT_NEAR(report.IdRecall(), expected.at("id_recall"), kTolerance);
  EXPECT_NEAR(report.HotaMean(), expected.at("hota"), kTolerance);
  EXPECT_NEAR(report.DetA(), expected.at("det_a"), kTolerance);
  EXPECT_NEAR(report.AssA(), expected.at("ass_a"), kTolerance);
  EXPECT_NEAR(report.LocA(), expected.at("loc_a"), kTolerance);
}

MotRules RulesOf(const json& entry) {
  const std::string name = entry.at("rules");
  return name == "MOT15" ? MotRules::kMot15 : name == "MOT20" ? MotRules::kMot20 : MotRules::kMot17;
}

MotReport Compare(const std::vector<MotTableRow>& truth, const std::vector<MotTableRow>& found,
                  const json& entry) {
  const auto outcome = CompareMot(truth, found, {.rules = RulesOf(entry)});
  EXPECT_TRUE(outcome.ok()) << outcome.status();
  return outcome.ok() ? outcome->report : MotReport();
}

std::vector<MotTableRow> Read(const std::string& path) {
  auto rows = ReadMotTable(path);
  EXPECT_TRUE(rows.ok()) << rows.status();
  return rows.ok() ? *std::move(rows) : std::vector<MotTableRow>();
}

TEST(EvaluateGolden, MadeSequencesAsTrackEval) {
  const json index = ReadIndex("mot.json");
  std::map<std::string, MotReport> reports;
  for (const json& entry : index.at("made")) {
    SCOPED_TRACE(entry.at("name").get<std::string>());
    const auto truth = Read(Golden("evaluate/" + entry.at("truth").get<std::string>()));
    const auto found = Read(Golden("evaluate/" + entry.at("results").get<std::string>()));
    ASSERT_GE(truth.size(), 100u);
    const MotReport report = Compare(truth, found, entry);
    ExpectFigures(report, entry);
    reports[entry.at("name")] = report;
    // What the rules are is seen from the truth, too; MOT20 has to be said.
    const auto automatic = CompareMot(truth, found, {});
    ASSERT_TRUE(automatic.ok());
    EXPECT_EQ(automatic->rules,
              RulesOf(entry) == MotRules::kMot15 ? MotRules::kMot15 : MotRules::kMot17);
  }
  for (const json& entry : index.at("combined")) {
    std::vector<MotReport> parts;
    for (const json& name : entry.at("names")) parts.push_back(reports.at(name));
    ExpectFigures(Combine(parts), entry);
  }
}

// The detections' rows with the ids that the reference tracker gave them.
std::vector<MotTableRow> WithIds(const std::vector<MotTableRow>& detections,
                                 const std::string& ids_text) {
  std::map<int64_t, std::vector<const MotTableRow*>> frames;
  for (const MotTableRow& row : detections) frames[row.frame].push_back(&row);
  std::vector<MotTableRow> found;
  std::istringstream lines(ids_text);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    int64_t frame = 0;
    words >> frame;
    std::string word;
    while (words >> word) {
      int64_t id = 0;
      unsigned row = 0;
      EXPECT_EQ(std::sscanf(word.c_str(), "%ld:%u", &id, &row), 2);
      MotTableRow taken = *frames.at(frame).at(row);
      taken.id = id;
      taken.class_id = MotTableRow::kNoClass;
      found.push_back(taken);
    }
  }
  return found;
}

// Detections have no ids, so the check of ids is passed by.
std::vector<MotTableRow> ReadDetections(const std::string& path) {
  std::string text;
  std::ifstream file(path);
  std::string line;
  for (int id = 1; std::getline(file, line); ++id) {
    const size_t first = line.find(',');
    const size_t second = line.find(',', first + 1);
    if (second == std::string::npos) continue;
    text += line.substr(0, first + 1) + std::to_string(id) + line.substr(second) + "\n";
  }
  auto rows = ParseMotTable(text);
  EXPECT_TRUE(rows.ok()) << rows.status();
  return rows.ok() ? *std::move(rows) : std::vector<MotTableRow>();
}

TEST(EvaluateGolden, RecordedSequencesAsTrackEval) {
  const std::string root = DataRoot();
  if (root.empty()) GTEST_SKIP() << "SIGHTLINE_TEST_DATA is not set: no recorded sequences";
  const json index = ReadIndex("mot.json");
  for (const json& entry : index.at("recorded")) {
    SCOPED_TRACE(entry.dump());
    const std::string truth = root + "/" + entry.at("truth").get<std::string>();
    if (!std::filesystem::exists(truth)) GTEST_SKIP() << "no file " << truth;
    const auto found =
        entry.contains("ids")
            ? WithIds(ReadDetections(root + "/" + entry.at("det").get<std::string>()),
                      ReadText(Golden("bytetrack/" + entry.at("ids").get<std::string>())))
            : Read(root + "/" + entry.at("results").get<std::string>());
    const MotReport report = Compare(Read(truth), found, entry);
    ExpectFigures(report, entry);
    std::printf("%-16s MOTA %.6f IDF1 %.6f HOTA %.6f id switches %ld\n",
                entry.at("name").get<std::string>().c_str(), report.Mota(), report.Idf1(),
                report.HotaMean(), static_cast<long>(report.id_switches));
  }
}

void ExpectFigures(const DetectionReport& report, const json& expected) {
  const std::pair<const char*, Share> figures[] = {{"map", report.map},
                                                   {"map_50", report.map_50},
                                                   {"map_75", report.map_75},
                                                   {"map_small", report.map_small},
                                                   {"map_medium", report.map_medium},
                                                   {"map_large", report.map_large},
                                                   {"recall_1", report.recall_1},
                                                   {"recall_10", report.recall_10},
                                                   {"recall_100", report.recall_100},
                                                   {"recall_small", report.recall_small},
                                                   {"recall_medium", report.recall_medium},
                                                   {"recall_large", report.recall_large}};
  for (const auto& [name, value] : figures) {
    EXPECT_NEAR(value.value_or(-1), expected.at(name), kTolerance) << name;
  }
  std::map<int32_t, ClassAccuracy> with_truth;
  for (const ClassAccuracy& one : report.classes) {
    if (one.ap) with_truth[one.class_id] = one;
  }
  ASSERT_EQ(with_truth.size(), expected.at("classes").size());
  for (const json& one : expected.at("classes")) {
    const ClassAccuracy& ours = with_truth.at(one.at("class_id"));
    EXPECT_NEAR(*ours.ap, one.at("ap"), kTolerance) << one;
    EXPECT_NEAR(*ours.ap_50, one.at("ap_50"), kTolerance) << one;
    EXPECT_NEAR(*ours.ap_75, one.at("ap_75"), kTolerance) << one;
    EXPECT_NEAR(*ours.recall_50, one.at("recall_50"), kTolerance) << one;
  }
}

TEST(EvaluateGolden, MadeBoxesAsPycocotools) {
  const json index = ReadIndex("coco.json");
  for (const json& entry : index.at("made")) {
    SCOPED_TRACE(entry.at("name").get<std::string>());
    const auto outcome = CompareCoco(Golden("evaluate/" + entry.at("truth").get<std::string>()),
                                     Golden("evaluate/" + entry.at("results").get<std::string>()));
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    ExpectFigures(outcome->report, entry);
  }
}

TEST(EvaluateGolden, RecordedBoxesAsPycocotools) {
  const std::string root = DataRoot();
  if (root.empty()) GTEST_SKIP() << "SIGHTLINE_TEST_DATA is not set: no recorded boxes";
  const json index = ReadIndex("coco.json");
  for (const json& entry : index.at("recorded")) {
    const std::string truth = root + "/" + entry.at("truth").get<std::string>();
    if (!std::filesystem::exists(truth)) GTEST_SKIP() << "no file " << truth;
    const auto outcome = CompareCoco(truth, root + "/" + entry.at("results").get<std::string>());
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    ExpectFigures(outcome->report, entry);
  }
}

void ExpectMeans(const DetectionReport& report, const json& expected) {
  const std::pair<const char*, Share> figures[] = {{"map", report.map},
                                                   {"map_50", report.map_50},
                                                   {"map_75", report.map_75},
                                                   {"map_small", report.map_small},
                                                   {"map_medium", report.map_medium},
                                                   {"map_large", report.map_large},
                                                   {"recall_1", report.recall_1},
                                                   {"recall_10", report.recall_10},
                                                   {"recall_20", report.recall_100},
                                                   {"recall_100", report.recall_100},
                                                   {"recall_50", report.recall_50},
                                                   {"recall_75", report.recall_75},
                                                   {"recall_small", report.recall_small},
                                                   {"recall_medium", report.recall_medium},
                                                   {"recall_large", report.recall_large}};
  for (const auto& [name, value] : figures) {
    if (!expected.contains(name)) continue;
    EXPECT_NEAR(value.value_or(-1), expected.at(name), kTolerance) << name;
  }
}

// Writes the files of a folder that is stored as texts.
void WriteFolder(const std::filesystem::path& root, const json& files) {
  for (const auto& [name, text] : files.items()) {
    std::filesystem::create_directories((root / name).parent_path());
    std::ofstream(root / name) << text.get<std::string>();
  }
}

TEST(EvaluateGolden, FoldersAsPycocotools) {
  const json golden = json::parse(ReadText(Golden("evaluate/folders.json")));
  const std::filesystem::path root = std::filesystem::path(::testing::TempDir()) / "golden_folders";
  std::filesystem::remove_all(root);
  for (const char* const part : {"yolo", "voc", "found"}) WriteFolder(root / part, golden.at(part));
  for (const auto& [name, size] : golden.at("sizes").items()) {
    WriteFolder(root / "yolo/images/val", {{name + ".jpg", ""}});
  }
  const PictureAccess access = {
      .is_picture = [](const std::string& path) { return path.ends_with(".jpg"); },
      .size_of = [&](const std::string& path) -> absl::StatusOr<PictureSize> {
        const json& size = golden.at("sizes").at(PictureStem(path));
        return PictureSize{size.at(0), size.at(1)};
      }};
  for (const char* const format : {"yolo", "voc"}) {
    SCOPED_TRACE(format);
    const auto truth = ReadLabelledPictures((root / format).string(), {}, access);
    ASSERT_TRUE(truth.ok()) << truth.status();
    const auto read = ReadFoundBoxes(*truth, (root / "found").string());
    ASSERT_TRUE(read.ok()) << read.status();
    const auto report = CompareBoxes(*truth, read->found);
    ASSERT_TRUE(report.ok()) << report.status();
    ExpectMeans(*report, golden.at("figures").at(format));
  }
  std::filesystem::remove_all(root);
}

TEST(EvaluateGolden, KeyPointsAsPycocotools) {
  const json golden = json::parse(ReadText(Golden("evaluate/keypoints.json")));
  const auto outcome =
      CompareKeyPoints(Golden("evaluate/" + golden.at("truth").get<std::string>()),
                       Golden("evaluate/" + golden.at("results").get<std::string>()));
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->points, 17u);
  ExpectMeans(outcome->report, golden);
}

// The areas of the truth are left out of it here, so that they come from our own masks.
TEST(EvaluateGolden, MasksAsPycocotools) {
  const json golden = json::parse(ReadText(Golden("evaluate/masks.json")));
  const auto outcome = CompareMasks(Golden("evaluate/" + golden.at("truth").get<std::string>()),
                                    Golden("evaluate/" + golden.at("results").get<std::string>()));
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  ExpectMeans(outcome->report, golden);
  json truth = json::parse(ReadText(Golden("evaluate/" + golden.at("truth").get<std::string>())));
  for (json& annotation : truth.at("annotations")) annotation.erase("area");
  const auto again = CompareMasksText(
      truth.dump(), ReadText(Golden("evaluate/" + golden.at("results").get<std::string>())), "t",
      "r");
  ASSERT_TRUE(again.ok()) << again.status();
  ExpectMeans(again->report, golden);
}

TEST(EvaluateGolden, LabelsAsScikitLearn) {
  const json golden = json::parse(ReadText(Golden("evaluate/labels.json"))).at("labels");
  const auto truth = ReadLabelTruth(Golden("evaluate/animals.truth.csv"), nullptr);
  ASSERT_TRUE(truth.ok()) << truth.status();
  const auto outcome = CompareLabels(*truth, Golden("evaluate/animals.result.csv"), 3);
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  const LabelReport& report = outcome->report;
  EXPECT_NEAR(*report.top_1, golden.at("top_1"), kTolerance);
  EXPECT_NEAR(*report.top_k, golden.at("top_3"), kTolerance);
  EXPECT_NEAR(*report.mean_recall, golden.at("balanced_accuracy"), kTolerance);
  // The seventh class has no picture: to the truth it is a class that it lacks.
  ASSERT_EQ(truth->class_names.size(), 6u);
  const auto expect = [](const Share& ours, const json& theirs) {
    EXPECT_NEAR(ours.value_or(-1), theirs.is_null() ? -1 : theirs.get<double>(), kTolerance);
  };
  for (const LabelClassAccuracy& one : report.classes) {
    SCOPED_TRACE(one.class_id);
    expect(one.precision, golden.at("precision").at(one.class_id));
    expect(one.recall, golden.at("recall").at(one.class_id));
    expect(one.f1, golden.at("f1").at(one.class_id));
  }
  for (int32_t is = 0; is < 6; ++is) {
    for (int32_t said = 0; said < 7; ++said) {
      const auto found =
          report.confusion.find({is, said < 6 ? said : LabelAccuracy::kStrangeLabel});
      EXPECT_EQ(found == report.confusion.end() ? 0 : found->second,
                golden.at("confusion").at(is).at(said));
    }
  }
}

TEST(EvaluateGolden, SegmentsAsScikitLearn) {
  const json golden = json::parse(ReadText(Golden("evaluate/labels.json"))).at("segments");
  SemanticAccuracy accuracy;
  for (const json& one : golden.at("maps")) {
    const LabelMap truth{one.at("width"), one.at("height"), one.at("truth")};
    const LabelMap found{one.at("width"), one.at("height"), one.at("found")};
    ASSERT_TRUE(accuracy.AddPicture(truth, found).ok());
  }
  const SemanticReport report = accuracy.Report();
  EXPECT_EQ(report.pixels, golden.at("pixels"));
  EXPECT_NEAR(*report.mean_iou, golden.at("mean_iou"), kTolerance);
  EXPECT_NEAR(*report.pixel_accuracy, golden.at("pixel_accuracy"), kTolerance);
  EXPECT_NEAR(*report.mean_accuracy, golden.at("mean_accuracy"), kTolerance);
  ASSERT_EQ(report.classes.size(), golden.at("classes").size());
  for (size_t i = 0; i < report.classes.size(); ++i) {
    EXPECT_EQ(report.classes[i].class_id, golden.at("classes").at(i));
    EXPECT_NEAR(*report.classes[i].iou, golden.at("iou").at(i), kTolerance);
  }
}

}  // namespace
}  // namespace sightline::evaluate
