#include "store/sqlite_sink.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>

#include "base/check.h"
#include "store/full_disk_test_internal.h"
#include "store/read.h"
#include "store/sqlite_schema.h"
#include "store/store_test_support.h"
#include "store/synthetic_results.h"

namespace sightline {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::unique_ptr<SqliteSink> MustCreate(const SqliteSinkOptions& options) {
  auto sink = SqliteSink::Create(options);
  EXPECT_TRUE(sink.ok()) << sink.status();
  return sink.ok() ? *std::move(sink) : nullptr;
}

// A whole run: frames, tracks, ledger, end.
void StoreRun(ResultSink& sink, const SyntheticResults& source, uint64_t frames) {
  for (uint64_t i = 0; i < frames; ++i) ASSERT_TRUE(sink.Write(source.Frame(i)).ok());
  for (int i = 0; i < source.objects(); ++i) {
    ASSERT_TRUE(sink.WriteTrack(source.Track(i, frames - 1)).ok());
  }
  FrameCounts counts;
  counts.frames_in = frames + 7;
  counts.processed = frames;
  counts.skipped[static_cast<size_t>(SkipReason::kNoMotion)] = 7;
  ASSERT_TRUE(sink.WriteLedger(*source.camera(), counts).ok());
}

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

// ---- files that are not ours, damaged, locked, forbidden ----

TEST(SqliteSinkErrors, NotADatabase) {
  const TemporaryFolder folder;
  WriteFile(folder / "a.db", std::string(5000, 'x'));
  const absl::Status status = SqliteSink::Create({.path = folder / "a.db"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(ErrorText(status), HasSubstr(folder / "a.db"));
  EXPECT_THAT(ErrorText(status), HasSubstr("not a SQLite database"));
  EXPECT_THAT(ErrorText(status), Not(HasSubstr("\n")));
  EXPECT_EQ(ReadFile(folder / "a.db"), std::string(5000, 'x'));
}

TEST(SqliteSinkErrors, AnotherProgramsDatabaseStaysAsItIs) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  {
    auto other = *SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadWriteCreate, 0);
    ASSERT_TRUE(other.Execute("CREATE TABLE detections (x); PRAGMA user_version = 1").ok());
  }
  const std::string before = ReadFile(path);
  const absl::Status status = SqliteSink::Create({.path = path}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(ErrorText(status), HasSubstr("another program"));
  EXPECT_EQ(ReadFile(path), before);
}

TEST(SqliteSinkErrors, ANewerSchemaIsRefused) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  ASSERT_TRUE(MustCreate({.path = path})->Close().ok());
  {
    auto database = *SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadWriteCreate, 0);
    ASSERT_TRUE(database.Execute("PRAGMA user_version = 99").ok());
  }
  const absl::Status status = SqliteSink::Create({.path = path}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(ErrorText(status), HasSubstr("schema version 99"));
  EXPECT_EQ(DatabaseReader::Open(path).status(), status);
}

TEST(SqliteSinkErrors, LockedByAnotherProcess) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const auto sink = MustCreate({.path = path, .busy_timeout_ms = 1});
  auto other = *SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadWriteCreate, 0);
  ASSERT_TRUE(other.Execute("BEGIN IMMEDIATE").ok());
  ASSERT_TRUE(sink->Write(SyntheticResults().Frame(0)).ok());
  const absl::Status status = sink->Flush();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(ErrorText(status), HasSubstr("another process holds its lock"));
  EXPECT_EQ(sink->Write(SyntheticResults().Frame(1)), status) << "errors are sticky";
  EXPECT_EQ(sink->Close(), status);
}

TEST(SqliteSinkErrors, FolderMissingAndPathIsAFolder) {
  const TemporaryFolder folder;
  for (const std::string& path : {folder / "none/a.db", folder.path()}) {
    const absl::Status status = SqliteSink::Create({.path = path}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(ErrorText(status), HasSubstr(path));
  }
  EXPECT_EQ(SqliteSink::Create({.path = ""}).status().code(), absl::StatusCode::kInvalidArgument);
}

// Root may write everywhere, so the attempt is made by a child that is nobody.
TEST(SqliteSinkErrors, ReadOnlyFolder) {
  const TemporaryFolder folder;
  ASSERT_EQ(chmod(folder.path().c_str(), 0555), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    constexpr uid_t kNobody = 65534;
    if (geteuid() == 0 && setuid(kNobody) != 0) _exit(2);
    const absl::Status status = SqliteSink::Create({.path = folder / "a.db"}).status();
    _exit(status.code() == absl::StatusCode::kFailedPrecondition &&
                  MessageOf(status).find(folder.path()) != std::string_view::npos
              ? 0
              : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  chmod(folder.path().c_str(), 0755);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(SqliteSinkErrors, DamagedPages) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const auto sink = MustCreate({.path = path});
  StoreRun(*sink, SyntheticResults(), 300);
  ASSERT_TRUE(sink->Close().ok());
  std::string bytes = ReadFile(path);
  for (size_t i = 4096; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31);
  WriteFile(path, bytes);
  auto again = SqliteSink::Create({.path = path});
  absl::Status status = again.status();
  if (again.ok()) {
    for (uint64_t i = 0; i < 300 && status.ok(); ++i) {
      status = (*again)->Write(SyntheticResults().Frame(i));
    }
    if (status.ok()) status = (*again)->Close();
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(ErrorText(status), HasSubstr("damaged"));
}

// Writes until the disk is full; what had been committed must still be there, in whole frames.
void ExpectFullDiskKeepsCommittedRows(const SqliteSinkOptions& options, uint64_t* committed) {
  const SyntheticResults source;
  const auto sink = MustCreate(options);
  ASSERT_NE(sink, nullptr);
  absl::Status status;
  for (uint64_t i = 0; i < 200'000 && status.ok(); ++i) status = sink->Write(source.Frame(i));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(ErrorText(status), HasSubstr(options.path));
  EXPECT_THAT(ErrorText(status), Not(HasSubstr("\n")));
  *committed = sink->stats().frames;
  EXPECT_EQ(sink->Close(), status);
}

TEST(SqliteSinkErrors, SizeLimitReached) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  uint64_t committed = 0;
  ExpectFullDiskKeepsCommittedRows({.path = path, .batch_rows = 100, .max_size_bytes = 1024 * 1024},
                                   &committed);
  EXPECT_GT(committed, 100u);
  const auto reader = *DatabaseReader::Open(path);
  EXPECT_EQ(static_cast<uint64_t>(*reader->CountRows("frames")), committed);
  EXPECT_EQ(static_cast<uint64_t>(*reader->CountRows("detections")), committed * 5);
}

TEST(SqliteSinkErrors, DiskFull) {
  const TemporaryFolder folder;
  const std::string disk = folder / "disk";
  ASSERT_EQ(mkdir(disk.c_str(), 0755), 0);
  if (mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=3m") != 0) {
    GTEST_SKIP() << "only root can mount a small disk; SizeLimitReached stands in";
  }
  uint64_t committed = 0;
  ExpectFullDiskKeepsCommittedRows({.path = disk + "/a.db", .batch_rows = 100}, &committed);
  EXPECT_GT(committed, 100u);
  {
    const auto reader = DatabaseReader::Open(disk + "/a.db");
    EXPECT_TRUE(reader.ok()) << reader.status();
    if (reader.ok()) {
      EXPECT_EQ(static_cast<uint64_t>(*(*reader)->CountRows("frames")), committed);
      EXPECT_EQ(static_cast<uint64_t>(*(*reader)->CountRows("detections")), committed * 5);
    }
  }
  EXPECT_EQ(umount(disk.c_str()), 0);
}

TEST(SqliteSink, WaitsForRoom) {
  const TemporaryFolder folder;
  const SyntheticResults source;
  const auto wait = std::make_shared<OutputWait>();
  const auto undisturbed = MustCreate({.path = folder / "whole.db", .batch_rows = 100});
  StoreRun(*undisturbed, source, 500);
  ASSERT_TRUE(undisturbed->Close().ok());
  const auto sink = MustCreate({.path = folder / "full.db", .batch_rows = 100, .wait = wait});
  WithFullDisk(*wait, [&] { StoreRun(*sink, source, 500); });
  ASSERT_TRUE(sink->Close().ok());
  EXPECT_EQ(DumpOf(folder / "full.db"), DumpOf(folder / "whole.db"));
}

TEST(SqliteSink, WaitsForAnotherProgramsLock) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const auto wait = std::make_shared<OutputWait>();
  const auto sink =
      MustCreate({.path = path, .batch_rows = 100, .busy_timeout_ms = 1, .wait = wait});
  auto other = *SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadWriteCreate, 0);
  ASSERT_TRUE(other.Execute("BEGIN IMMEDIATE").ok());
  std::thread release([&] {
    while (wait->reason().empty()) std::this_thread::yield();
    EXPECT_TRUE(other.Execute("COMMIT").ok());
  });
  StoreRun(*sink, SyntheticResults(), 200);
  release.join();
  ASSERT_TRUE(sink->Close().ok());
  EXPECT_EQ(*(*DatabaseReader::Open(path))->CountRows("frames"), 200);
}

// Whoever ends the run while the disk is full gets an error, and a file with what was committed.
TEST(SqliteSink, WaitsNoLongerThanTheRun) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const SyntheticResults source;
  const auto wait = std::make_shared<OutputWait>();
  ASSERT_TRUE(FullDisk::Prepare());
  const auto sink = MustCreate({.path = path, .batch_rows = 1, .wait = wait});
  ASSERT_TRUE(sink->Write(source.Frame(0)).ok());
  {
    const FullDisk disk;
    std::thread end([&] {
      while (wait->reason().empty()) std::this_thread::yield();
      wait->End();
    });
    EXPECT_EQ(sink->Write(source.Frame(1)).code(), absl::StatusCode::kResourceExhausted);
    end.join();
  }
  EXPECT_EQ(*(*DatabaseReader::Open(path))->CountRows("frames"), 1);
}

// ---- schema versions ----

TEST(SqliteSchema, MigratesStepByStepAndKeepsTheRows) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  const auto sink = MustCreate({.path = path});
  StoreRun(*sink, SyntheticResults(), 10);
  ASSERT_TRUE(sink->Close().ok());
  const auto known = SqliteMigrations();
  std::vector<std::string_view> later(known.begin(), known.end());
  later.insert(later.end(), {"ALTER TABLE frames ADD COLUMN note TEXT;", "CREATE TABLE x (y);"});
  auto database = *SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadWriteCreate, 0);
  ASSERT_TRUE(MigrateSqliteSchema(database, later).ok());
  EXPECT_EQ(*database.QueryInt("PRAGMA user_version"), static_cast<int64_t>(later.size()));
  EXPECT_EQ(*database.QueryInt("SELECT count(*) FROM frames WHERE note IS NULL"), 10);
  EXPECT_TRUE(MigrateSqliteSchema(database, later).ok()) << "nothing left to do";
}

// A file of the first version, by that version's own statements, is brought up to date when opened.
TEST(SqliteSchema, AnOldFileIsWrittenOn) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  {
    auto database = *SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadWriteCreate, 0);
    ASSERT_TRUE(MigrateSqliteSchema(database, SqliteMigrations().first(1)).ok());
  }
  const auto sink = MustCreate({.path = path});
  StoreRun(*sink, SyntheticResults(), 10);
  const CameraStateChange change{
      .camera = SyntheticResults().camera(), .reason = "reset", .utc_us = 5};
  ASSERT_TRUE(sink->WriteCameraState(change).ok());
  ASSERT_TRUE(sink->WriteCameraState(change).ok()) << "the same again is the same row";
  ASSERT_TRUE(sink->Close().ok());
  const auto reader = *DatabaseReader::Open(path);
  EXPECT_EQ(*reader->CountRows("frames"), 10);
  EXPECT_EQ(*reader->CountRows("camera_states"), 1);
}

TEST(SqliteSchema, AStepThatFailsChangesNothing) {
  const TemporaryFolder folder;
  auto database = *SqliteDatabase::Open(folder / "a.db", SqliteDatabase::Mode::kReadWriteCreate, 0);
  const std::vector<std::string_view> broken = {SqliteMigrations()[0],
                                                "CREATE TABLE y (a); CREATE TABEL z (b);"};
  EXPECT_FALSE(MigrateSqliteSchema(database, broken).ok());
  EXPECT_EQ(*database.QueryInt("PRAGMA user_version"), 1);
  EXPECT_EQ(*database.QueryInt("SELECT count(*) FROM sqlite_master WHERE name = 'y'"), 0);
}

// ---- reading back ----

TEST(DatabaseReader, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  EXPECT_EQ(DatabaseReader::Open(folder / "none.db").status().code(), absl::StatusCode::kNotFound);
  WriteFile(folder / "empty.db", "");
  EXPECT_EQ(DatabaseReader::Open(folder / "empty.db").status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(MustCreate({.path = folder / "a.db"})->Close().ok());
  const auto reader = *DatabaseReader::Open(folder / "a.db");
  EXPECT_EQ(reader->schema_version(), static_cast<int>(SqliteMigrations().size()));
  EXPECT_EQ(reader->CountRows("users; DROP").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(reader->Query("DELETE FROM frames").ok());
  EXPECT_FALSE(reader->Query("SELEC 1").ok());
  EXPECT_FALSE(reader->Query("").ok());
  EXPECT_EQ(reader->Query("SELECT 1 UNION SELECT 2", 1).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace sightline
