// What further models said of objects, as rows of SQLite.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "store/sqlite_test_support.h"
#include "store/store_test_support.h"

namespace sightline {
namespace {

using Json = nlohmann::json;
using Rows = std::vector<std::vector<std::string>>;

Rows RowsOf(const std::string& path, std::string_view sql) {
  const auto reader = DatabaseReader::Open(path);
  EXPECT_TRUE(reader.ok()) << reader.status();
  if (!reader.ok()) return {};
  const auto result = (*reader)->Query(sql);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? result->rows : Rows();
}

void StoreFrame(const std::string& path, const FrameResult& frame) {
  const auto sink = MustCreate({.path = path});
  ASSERT_TRUE(sink->Write(frame).ok());
  ASSERT_TRUE(sink->Close().ok());
}

TEST(SqliteStages, StoresWhatWasSaid) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const FrameResult frame = SyntheticResults("door", 4, 2, /*stages=*/true).Frame(3);
  const auto sink = MustCreate({.path = path});
  ASSERT_TRUE(sink->Write(frame).ok());
  ASSERT_TRUE(sink->Flush().ok());
  EXPECT_EQ(sink->stats().stage_results, 5u);
  ASSERT_TRUE(sink->Close().ok());

  auto database = *SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadOnly, 0);
  auto row = *database.Prepare("SELECT * FROM stage_results WHERE detection_id = ?1 ORDER BY part");
  const auto find = [&](size_t object) {
    row.Reset();
    row.BindBlob(1, frame.detection_ids[object].bytes.data(), 16);
    return row.Step();
  };
  enum {
    kStage = 1,
    kPart,
    kKind,
    kClassId,
    kClass,
    kConfidence,
    kScore,
    kX1,
    kEmbedding = 12,
    kDetails
  };
  ASSERT_EQ(find(0), SQLITE_ROW);
  EXPECT_EQ(row.ColumnText(kStage), "colour");
  EXPECT_EQ(row.ColumnInt(kPart), 0);
  EXPECT_EQ(row.ColumnText(kKind), "class");
  EXPECT_EQ(row.ColumnInt(kClassId), 1);
  EXPECT_EQ(row.ColumnText(kClass), "blue");
  EXPECT_EQ(row.ColumnReal(kConfidence), 0.75);
  for (int column = kScore; column <= kDetails; ++column) EXPECT_TRUE(row.ColumnIsNull(column));
  ASSERT_EQ(row.Step(), SQLITE_ROW);
  EXPECT_EQ(row.ColumnInt(kPart), 1);
  EXPECT_EQ(row.ColumnText(kClass), "red");
  EXPECT_EQ(row.Step(), SQLITE_DONE);

  ASSERT_EQ(find(1), SQLITE_ROW);
  EXPECT_EQ(row.ColumnText(kStage), "face");
  EXPECT_EQ(row.ColumnText(kKind), "box");
  const Box& box = frame.detections.stages[1].result.items[0].box_px;
  EXPECT_EQ(static_cast<float>(row.ColumnReal(kX1) * 768), box.x1);
  EXPECT_EQ(static_cast<float>(row.ColumnReal(kX1 + 3) * 576), box.y2);
  EXPECT_EQ(Json::parse(row.ColumnText(kDetails)),
            Json::parse(R"({"keypoints_px": [[12.5, 10, 1], [20.25, 10, 0.5]]})"));

  ASSERT_EQ(find(2), SQLITE_ROW);
  EXPECT_EQ(row.ColumnText(kKind), "embedding");
  EXPECT_TRUE(row.ColumnIsNull(kClassId));
  const std::string bytes = row.ColumnText(kEmbedding);
  ASSERT_EQ(bytes.size(), 8u);
  float values[2];
  std::memcpy(values, bytes.data(), 8);
  EXPECT_EQ(values[0], 0.6f);
  EXPECT_EQ(values[1], 0.8f);

  ASSERT_EQ(find(3), SQLITE_ROW);
  EXPECT_EQ(row.ColumnText(kStage), "face");
  EXPECT_EQ(row.ColumnText(kKind), "nothing");
  EXPECT_EQ(row.Step(), SQLITE_DONE);
}

TEST(SqliteStages, StoresMasksAndMaps) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  FrameResult frame = SyntheticResults("door", 1).Frame(0);
  StageResult& said = frame.detections.stages.emplace_back();
  said.stage = std::make_shared<const std::string>("look");
  Detection piece;
  piece.box_px = {1, 2, 3, 4};
  piece.detail = 0;
  said.result.items = {piece};
  said.result.masks = {{{1, 2, 3, 4}, 2, 2, {1, 3}}};
  said.result.class_map = {{0, 0, 8, 8}, 2, 1, {4, 4}};
  said.result.anomaly = {3.5f, {0, 0, 8, 8}, 1, 1, {3.5f}};
  StoreFrame(path, frame);
  const Rows rows = RowsOf(path, "SELECT kind, class, score, details FROM stage_results");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0][0], "box");
  EXPECT_EQ(rows[0][1], "class 0") << "a model without labels";
  EXPECT_EQ(Json::parse(rows[0][3])["mask"]["runs"], Json({1, 3}));
  EXPECT_EQ(rows[1][0], "class_map");
  EXPECT_EQ(Json::parse(rows[1][3])["runs"], Json({4, 2}));
  EXPECT_EQ(rows[2][0], "anomaly");
  EXPECT_EQ(rows[2][2], "3.5");
  EXPECT_EQ(Json::parse(rows[2][3])["values"], Json({3.5}));
}

TEST(SqliteStages, RunningTheSameAgainChangesNothing) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const SyntheticResults source("door", 5, 3, /*stages=*/true);
  std::string first;
  for (const int batch_rows : {4096, 1, 10, 100, 4096}) {
    const auto sink = MustCreate({.path = path, .batch_rows = batch_rows});
    StoreRun(*sink, source, 100);
    ASSERT_TRUE(sink->Close().ok());
    const std::string dump = DumpOf(path);
    if (first.empty()) first = dump;
    EXPECT_EQ(dump, first) << "batch_rows " << batch_rows;
  }
  EXPECT_EQ(*(*DatabaseReader::Open(path))->CountRows("stage_results"), 700);
}

// A model elsewhere may answer otherwise when it is asked again.
TEST(SqliteStages, ALaterAnswerTakesThePlaceOfTheEarlier) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  FrameResult frame = SyntheticResults("door", 2, 2, /*stages=*/true).Frame(0);
  StoreFrame(path, frame);
  frame.detections.stages[0].result.classes = {{0, 0.5f}};
  StoreFrame(path, frame);
  EXPECT_EQ(RowsOf(path, "SELECT stage, part, class FROM stage_results ORDER BY stage, part"),
            (Rows{{"colour", "0", "red"}, {"face", "0", "red"}}));
  // Without an answer what was said stays.
  frame.detections.stages.clear();
  StoreFrame(path, frame);
  EXPECT_EQ(RowsOf(path, "SELECT count(*) FROM stage_results"), (Rows{{"2"}}));
}

// Two parts of a graph may have stages of one name.
TEST(SqliteStages, NothingIsLostToAStageOfTheSameName) {
  const TemporaryFolder folder;
  FrameResult frame = SyntheticResults("door", 1, 2, /*stages=*/true).Frame(0);
  frame.detections.stages.push_back(frame.detections.stages[0]);
  StoreFrame(folder / "a.db", frame);
  EXPECT_EQ(RowsOf(folder / "a.db", "SELECT part, class FROM stage_results ORDER BY part"),
            (Rows{{"0", "blue"}, {"1", "red"}, {"2", "blue"}, {"3", "red"}}));
}

TEST(SqliteStages, CommitsBeforeTheBytesAreMany) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const SyntheticResults source("door", 1);
  const auto sink = MustCreate({.path = path, .batch_rows = 1'000'000, .batch_ms = 1'000'000'000});
  for (uint64_t i = 0; i < 10; ++i) {
    FrameResult frame = source.Frame(i);
    StageResult& said = frame.detections.stages.emplace_back();
    said.stage = std::make_shared<const std::string>("print");
    said.result.embedding.assign(size_t{1} << 20, 0.001f);  // 4 MiB
    ASSERT_TRUE(sink->Write(frame).ok());
  }
  EXPECT_EQ(sink->stats().commits, 5u);
  ASSERT_TRUE(sink->Close().ok());
  EXPECT_EQ(RowsOf(path, "SELECT count(*), sum(length(embedding)) FROM stage_results"),
            (Rows{{"10", "41943040"}}));
}

}  // namespace
}  // namespace sightline
