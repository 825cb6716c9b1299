// docs/output_formats.md is true: its queries run and give rows, its tables name every column there
// is, and its lines of JSON have the fields that are written.
#include <gtest/gtest.h>

#include <cctype>
#include <nlohmann/json.hpp>
#include <set>

#include "store/jsonl_format.h"
#include "store/sqlite_sink.h"
#include "store/store_test_support.h"
#include "store/synthetic_results.h"

namespace sightline {
namespace {

using Json = nlohmann::json;

std::string Document() {
  return ReadFile(std::string(SIGHTLINE_SOURCE_DIR) + "/docs/output_formats.md");
}

std::vector<std::string> Blocks(const std::string& language) {
  std::vector<std::string> blocks;
  const std::string text = Document();
  const std::string start = "```" + language + "\n";
  for (size_t at = text.find(start); at != std::string::npos; at = text.find(start, at + 1)) {
    const size_t from = at + start.size();
    blocks.push_back(text.substr(from, text.find("```", from) - from));
  }
  return blocks;
}

bool HasWord(const std::string& text, const std::string& word) {
  const auto is_letter = [&](size_t i) {
    return i < text.size() && (std::isalnum(static_cast<unsigned char>(text[i])) || text[i] == '_');
  };
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    if (!is_letter(at - 1) && !is_letter(at + word.size())) return true;
  }
  return false;
}

CameraStateChange BackAgain(const SyntheticResults& source) {
  return {.camera = source.camera(),
          .from = CameraState::kConnecting,
          .to = CameraState::kLive,
          .reason = "",
          .utc_us = 1'767'225'605'000'000,
          .epoch = 1,
          .attempts = 3,
          .gap_us = 2'500'000};
}

class OutputFormats : public ::testing::Test {
 protected:
  OutputFormats() {
    const SyntheticResults source("door", 5, 3, /*stages=*/true);
    const auto sink = *SqliteSink::Create({.path = folder_ / "a.db"});
    for (uint64_t i = 0; i < 100; ++i) EXPECT_TRUE(sink->Write(source.Frame(i)).ok());
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(sink->WriteTrack(source.Track(i, 99)).ok());
    EXPECT_TRUE(sink->WriteCameraState(BackAgain(source)).ok());
    FrameCounts counts;
    counts.frames_in = 103;
    counts.processed = 100;
    counts.dropped[0] = 3;
    EXPECT_TRUE(sink->WriteLedger(*source.camera(), counts).ok());
    EXPECT_TRUE(sink->Close().ok());
    reader_ = *DatabaseReader::Open(folder_ / "a.db");
  }
  TemporaryFolder folder_;
  std::unique_ptr<DatabaseReader> reader_;
};

TEST_F(OutputFormats, EveryQueryGivesRows) {
  const std::vector<std::string> queries = Blocks("sql");
  EXPECT_GE(queries.size(), 7u);
  for (const std::string& sql : queries) {
    const auto result = reader_->Query(sql);
    ASSERT_TRUE(result.ok()) << sql << result.status();
    EXPECT_FALSE(result->rows.empty()) << sql;
  }
}

TEST_F(OutputFormats, TheViewsCountRight) {
  const auto rows = [&](const std::string& sql) { return reader_->Query(sql)->rows; };
  using Rows = std::vector<std::vector<std::string>>;
  EXPECT_EQ(rows("SELECT * FROM ledger_balance"), (Rows{{"door", "103", "100", "0", "3", "0"}}));
  EXPECT_EQ(rows("SELECT line, direction, crossings, objects FROM line_counts"),
            (Rows{{"gate", "in", "5", "1"}, {"gate", "out", "5", "1"}}));
  EXPECT_EQ(rows("SELECT zone, entered, exited, mean_dwell_s FROM zone_visits"),
            (Rows{{"hall", "0", "4", "2.5"}}));
  EXPECT_EQ(rows("SELECT minute_text, class, detections, frames, mean_per_frame "
                 "FROM detections_per_minute WHERE class = 'class_0'"),
            (Rows{{"2026-01-01T00:00:00Z", "class_0", "200", "100", "2.0"}}));
  EXPECT_EQ(rows("SELECT count(*), min(timestamp_text) FROM detections_readable"),
            (Rows{{"500", "2026-01-01T00:00:00.000Z"}}));
  EXPECT_EQ(rows("SELECT from_text, to_text, seconds FROM camera_gaps"),
            (Rows{{"2026-01-01T00:00:02.500Z", "2026-01-01T00:00:05.000Z", "2.5"}}));
  EXPECT_EQ(rows("SELECT class, objects, mean_seconds_in_view FROM objects_per_class LIMIT 1"),
            (Rows{{"class_0", "2", "3.96"}}));
  EXPECT_EQ(rows("SELECT count(*), min(timestamp_text) FROM stage_results_readable"),
            (Rows{{"700", "2026-01-01T00:00:00.000Z"}}));
}

TEST_F(OutputFormats, EveryTableColumnAndViewIsDescribed) {
  const std::string text = Document();
  const auto names = reader_->Query(
      "SELECT m.name, m.type, p.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS p "
      "WHERE m.type IN ('table', 'view')");
  ASSERT_TRUE(names.ok()) << names.status();
  for (const auto& row : names->rows) {
    const bool table = row[1] == "table";
    const std::string heading = table ? "### " + row[0] : "| " + row[0] + " |";
    const size_t section = text.find(heading);
    ASSERT_NE(section, std::string::npos) << heading;
    if (!table) continue;
    const std::string body = text.substr(section, text.find("\n### ", section + 1) - section);
    // The eight corners of a track's boxes are named by the first and the last of each.
    if (row[2].ends_with("_px")) continue;
    EXPECT_TRUE(HasWord(body, row[2])) << row[0] << "." << row[2];
  }
}

TEST_F(OutputFormats, TheIndexesAreUsed) {
  for (const char* where : {"camera_id = 'door'", "class_id = 1"}) {
    const auto plan =
        reader_->Query(std::string("EXPLAIN QUERY PLAN SELECT id FROM detections WHERE ") + where +
                       " ORDER BY timestamp DESC LIMIT 5");
    ASSERT_TRUE(plan.ok());
    ASSERT_EQ(plan->rows.size(), 1u) << "one step: no sorting";
    EXPECT_NE(plan->rows[0].back().find("INDEX detections_by_"), std::string::npos);
  }
  const auto plan = reader_->Query(
      "EXPLAIN QUERY PLAN SELECT detection_id FROM stage_results "
      "WHERE stage = 'colour' AND class = 'red' ORDER BY detection_id DESC LIMIT 5");
  ASSERT_TRUE(plan.ok());
  ASSERT_EQ(plan->rows.size(), 1u) << "one step: no sorting";
  EXPECT_NE(plan->rows[0].back().find("INDEX stage_results_by_class"), std::string::npos);
}

std::set<std::string> Fields(const Json& json) {
  std::set<std::string> fields;
  for (const auto& [key, value] : json.items()) fields.insert(key);
  return fields;
}

TEST(OutputFormatsJson, TheExamplesHaveTheFieldsThatAreWritten) {
  const std::vector<std::string> examples = Blocks("json");
  ASSERT_EQ(examples.size(), 3u);
  const Json frame_example = Json::parse(examples[0]);
  const FrameResult result = SyntheticResults("door").Frame(49);
  std::string line;
  AppendFrameLine(result, line);
  const Json frame = Json::parse(line);
  EXPECT_EQ(Fields(frame_example), Fields(frame));
  EXPECT_EQ(Fields(frame_example["detections"][0]), Fields(frame["detections"][0]));
  EXPECT_EQ(Fields(frame_example["events"][0]), Fields(frame["events"][0]));
  line.clear();
  AppendCameraStateLine(BackAgain(SyntheticResults("door")), line);
  EXPECT_EQ(Fields(Json::parse(examples[1])), Fields(Json::parse(line)));
  line.clear();
  AppendDetectLine("a.jpg", result.detections, line);
  const Json detect = Json::parse(line);
  const Json detect_example = Json::parse(examples[2]);
  EXPECT_EQ(Fields(detect_example), Fields(detect));
  EXPECT_EQ(Fields(detect_example["detections"][0]), Fields(detect["detections"][0]));
}

}  // namespace
}  // namespace sightline
