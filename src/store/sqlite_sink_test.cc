#include "store/sqlite_sink.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cmath>

#include "base/check.h"
#include "store/read.h"
#include "store/sqlite_test_support.h"
#include "store/store_test_support.h"

namespace sightline {
namespace {

using ::testing::HasSubstr;

TEST(SqliteSink, StoresWhatItWasGiven) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const SyntheticResults source("door", 3, 2);
  const auto sink = MustCreate({.path = path});
  StoreRun(*sink, source, 50);
  ASSERT_TRUE(sink->Close().ok());

  const auto reader = *DatabaseReader::Open(path);
  EXPECT_EQ(*reader->CountRows("detections"), 150);
  EXPECT_EQ(*reader->CountRows("frames"), 50);
  EXPECT_EQ(*reader->CountRows("events"), 7);
  EXPECT_EQ(*reader->CountRows("tracks"), 3);
  const std::vector<NamedCount> per_class = {{"class_0", 100}, {"class_1", 50}};
  EXPECT_EQ(*reader->DetectionsPerClass(), per_class);
  EXPECT_EQ(*reader->DetectionsPerClass("door"), per_class);
  EXPECT_TRUE(reader->DetectionsPerClass("window")->empty());

  // One row against its source, column by column.
  const FrameResult frame = source.Frame(49);
  const Detection& detection = frame.detections.items[1];
  auto database = *SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadOnly, 0);
  auto row = *database.Prepare("SELECT * FROM detections WHERE id = ?1");
  row.BindBlob(1, frame.detection_ids[1].bytes.data(), 16);
  ASSERT_EQ(row.Step(), SQLITE_ROW);
  EXPECT_EQ(row.ColumnText(1), "door");
  EXPECT_EQ(row.ColumnInt(2), frame.frame.meta.time.capture_utc_us);
  EXPECT_EQ(row.ColumnInt(3), 1);
  EXPECT_EQ(row.ColumnText(4), "class_1");
  EXPECT_EQ(row.ColumnReal(5), detection.confidence);
  // Exactly the pixels that the detector said, after the way through fractions.
  EXPECT_EQ(static_cast<float>(row.ColumnReal(6) * 768), detection.box_px.x1);
  EXPECT_EQ(static_cast<float>(row.ColumnReal(7) * 576), detection.box_px.y1);
  EXPECT_EQ(static_cast<float>(row.ColumnReal(8) * 768), detection.box_px.x2);
  EXPECT_EQ(static_cast<float>(row.ColumnReal(9) * 576), detection.box_px.y2);
  EXPECT_EQ(row.ColumnInt(10), 2);
  EXPECT_EQ(row.ColumnInt(12), 49 * 40'000);
  EXPECT_EQ(row.ColumnInt(13), 49);
  EXPECT_TRUE(row.ColumnIsNull(14));
  row.Reset();
  row.BindBlob(1, frame.detection_ids[2].bytes.data(), 16);  // the object without a track
  ASSERT_EQ(row.Step(), SQLITE_ROW);
  EXPECT_TRUE(row.ColumnIsNull(10));
}

TEST(SqliteSink, RunningTheSameAgainChangesNothing) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const SyntheticResults source;
  std::string first;
  // Small batches meet the row-by-row way, large ones the bulk way.
  for (const int batch_rows : {4096, 1, 10, 100, 4096}) {
    const auto sink = MustCreate({.path = path, .batch_rows = batch_rows});
    StoreRun(*sink, source, 200);
    ASSERT_TRUE(sink->Close().ok());
    const std::string dump = DumpOf(path);
    if (first.empty()) first = dump;
    EXPECT_EQ(dump, first) << "batch_rows " << batch_rows;
  }
  EXPECT_THAT(first, HasSubstr("detections: X'"));
  EXPECT_THAT(first, HasSubstr("ledger: 'door', 'skipped', 'no_motion', 7"));
}

TEST(SqliteSink, TheOrderOfCamerasDoesNotMatter) {
  const TemporaryFolder folder;
  const SyntheticResults door("door");
  const SyntheticResults yard("yard");
  for (const bool turn : {false, true}) {
    const auto sink = MustCreate({.path = folder / (turn ? "b.db" : "a.db"), .batch_rows = 64});
    StoreRun(*sink, turn ? yard : door, 100);
    StoreRun(*sink, turn ? door : yard, 100);
    ASSERT_TRUE(sink->Close().ok());
  }
  EXPECT_EQ(DumpOf(folder / "a.db"), DumpOf(folder / "b.db"));
}

// Half old, half new rows in one batch: the bulk insert stops in the middle.
TEST(SqliteSink, ReRunGoesOnWhereTheFirstRunEnded) {
  const TemporaryFolder folder;
  const SyntheticResults source;
  for (const uint64_t first_frames : {1u, 7u, 40u, 150u}) {
    const std::string path = folder / fmt::format("{}.db", first_frames);
    const auto interrupted = MustCreate({.path = path});
    StoreRun(*interrupted, source, first_frames);
    ASSERT_TRUE(interrupted->Close().ok());
    const auto again = MustCreate({.path = path});
    StoreRun(*again, source, 200);
    ASSERT_TRUE(again->Close().ok());
    const auto undisturbed = MustCreate({.path = path + ".whole"});
    StoreRun(*undisturbed, source, 200);
    ASSERT_TRUE(undisturbed->Close().ok());
    EXPECT_EQ(DumpOf(path), DumpOf(path + ".whole"));
  }
}

TEST(SqliteSink, ReRunKeepsWhatOthersHaveAdded) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const SyntheticResults source;
  for (const bool again : {false, true}) {
    const auto sink = MustCreate({.path = path});
    ASSERT_TRUE(sink->Write(source.Frame(0)).ok());
    ASSERT_TRUE(sink->Close().ok());
    if (again) break;
    auto database = *SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadWriteCreate, 0);
    ASSERT_TRUE(database.Execute("UPDATE detections SET clip_s3_key = 'clips/1.mp4'").ok());
  }
  const auto reader = *DatabaseReader::Open(path);
  EXPECT_EQ(reader->Query("SELECT DISTINCT clip_s3_key FROM detections")->rows,
            (std::vector<std::vector<std::string>>{{"clips/1.mp4"}}));
}

TEST(SqliteSink, AFrameIsNeverSplitBetweenTransactions) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const SyntheticResults source("door", 5);
  const auto sink = MustCreate({.path = path, .batch_rows = 8});
  const auto reader = *DatabaseReader::Open(path);
  for (uint64_t i = 0; i < 40; ++i) {
    ASSERT_TRUE(sink->Write(source.Frame(i)).ok());
    EXPECT_EQ(*reader->CountRows("detections"), *reader->CountRows("frames") * 5);
  }
  EXPECT_GE(sink->stats().commits, 15u);
  EXPECT_LT(sink->stats().waiting_rows, 8u);
}

TEST(SqliteSink, CommitsWhenTheTimeIsUp) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  ManualClock clock;
  const SyntheticResults source;
  const auto sink = MustCreate({.path = path, .batch_ms = 500, .clock = &clock});
  const auto reader = *DatabaseReader::Open(path);
  ASSERT_TRUE(sink->Write(source.Frame(0)).ok());
  clock.now_us += 499'999;
  ASSERT_TRUE(sink->FlushIfDue().ok());
  EXPECT_EQ(*reader->CountRows("frames"), 0);
  clock.now_us += 1;
  ASSERT_TRUE(sink->FlushIfDue().ok());
  EXPECT_EQ(*reader->CountRows("frames"), 1);
  EXPECT_EQ(sink->stats().waiting_rows, 0u);
}

TEST(SqliteSink, TheEndOfTheStreamAddsEventsButNoFrame) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const SyntheticResults source;
  const auto sink = MustCreate({.path = path});
  const FrameResult last = source.Frame(24);
  ASSERT_TRUE(sink->Write(last).ok());
  FrameResult end;
  end.frame.meta = last.frame.meta;
  end.end_of_stream = true;
  end.events = last.events;
  end.events[0].id.bytes[15] ^= 1;
  ASSERT_TRUE(sink->Write(end).ok());
  ASSERT_TRUE(sink->Close().ok());
  const auto reader = *DatabaseReader::Open(path);
  EXPECT_EQ(reader->Query("SELECT detections FROM frames")->rows[0][0], "5");
  EXPECT_EQ(reader->Query("SELECT count(*), count(DISTINCT class) FROM events")->rows[0],
            (std::vector<std::string>{"2", "1"}));
}

TEST(SqliteSink, AfterCloseThereIsOneFile) {
  const TemporaryFolder folder;
  const auto sink = MustCreate({.path = folder / "a.db"});
  ASSERT_TRUE(sink->Write(SyntheticResults().Frame(0)).ok());
  ASSERT_TRUE(sink->Close().ok());
  EXPECT_TRUE(sink->Close().ok());
  EXPECT_FALSE(std::filesystem::exists(folder / "a.db-wal"));
  EXPECT_TRUE(std::filesystem::exists(folder / "a.db"));
}

TEST(SqliteSink, BrokenNumbersAreCountedAndStoredAsZero) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  FrameResult frame = SyntheticResults("door", 2).Frame(0);
  frame.detections.items[0].confidence = std::nanf("");
  frame.detections.items[1].class_id = -2'000'000'000;
  const uint64_t bugs = BugCount();
  const auto sink = MustCreate({.path = path});
  ASSERT_TRUE(sink->Write(frame).ok());
  ASSERT_TRUE(sink->Close().ok());
  EXPECT_EQ(BugCount(), bugs + 1);
  const auto reader = *DatabaseReader::Open(path);
  EXPECT_EQ(
      reader->Query("SELECT class, confidence FROM detections WHERE class_id = 0")->rows[0][1],
      "0.0");
  EXPECT_EQ(reader->Query("SELECT class FROM detections WHERE class_id < 0")->rows[0][0],
            "class -2000000000");
}

// Two programs may write to one file at once.
TEST(SqliteSink, TwoSinksShareAFile) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const auto a = MustCreate({.path = path, .batch_rows = 20});
  const auto b = MustCreate({.path = path, .batch_rows = 30});
  const SyntheticResults door("door");
  const SyntheticResults yard("yard");
  for (uint64_t i = 0; i < 50; ++i) {
    ASSERT_TRUE(a->Write(door.Frame(i)).ok());
    ASSERT_TRUE(b->Write(yard.Frame(i)).ok());
  }
  ASSERT_TRUE(a->Close().ok());
  ASSERT_TRUE(b->Close().ok());
  EXPECT_EQ(*(*DatabaseReader::Open(path))->CountRows("frames"), 100);
}

}  // namespace
}  // namespace sightline
