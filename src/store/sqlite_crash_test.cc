// kill -9 in the middle of writing, at many moments: SQLite's own system calls are replaced in a
// child process by ones that write half of what they should and then kill the process. The moment
// is counted in writes, so every run of this test dies at the same places.
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <random>

#include "store/full_disk_test_internal.h"
#include "store/sqlite_schema.h"
#include "store/sqlite_sink.h"
#include "store/store_test_support.h"
#include "store/synthetic_results.h"

namespace sightline {
namespace {

constexpr uint64_t kFrames = 400;
constexpr int kMoments = 20;

int writes_left = 0;  // of the child, until its end; -1: never
int write_count = 0;

ssize_t DyingWrite(int fd, const void* data, size_t size, off_t offset) {
  ++write_count;
  if (writes_left == 0) {
    // Torn in the middle, as when the process dies between two pages of one write.
    if (pwrite(fd, data, size / 2, offset) < 0) _exit(3);
    kill(getpid(), SIGKILL);
  }
  if (writes_left > 0) --writes_left;
  return pwrite(fd, data, size, offset);
}

int full_after = 0;

ssize_t FullDiskWrite(int fd, const void* data, size_t size, off_t offset) {
  if (full_after-- > 0) return pwrite(fd, data, size, offset);
  errno = ENOSPC;
  return -1;
}

absl::Status StoreRun(const std::string& path) {
  SL_ASSIGN_OR_RETURN(const auto sink, SqliteSink::Create({.path = path, .batch_rows = 50}));
  const SyntheticResults door("door", 5, 3, /*stages=*/true);
  const SyntheticResults yard("yard", 2, 3, /*stages=*/true);
  for (uint64_t i = 0; i < kFrames; ++i) {
    SL_RETURN_IF_ERROR(sink->Write(door.Frame(i)));
    SL_RETURN_IF_ERROR(sink->Write(yard.Frame(i)));
    if (i % 100 == 99)
      SL_RETURN_IF_ERROR(sink->WriteTrack(door.Track(static_cast<int>(i / 100), i)));
  }
  FrameCounts counts;
  counts.frames_in = counts.processed = kFrames;
  SL_RETURN_IF_ERROR(sink->WriteLedger(*door.camera(), counts));
  return sink->Close();
}

// Frames whose number of detections is not what their row says, either way.
int64_t SplitFrames(const std::string& path) {
  const auto reader = DatabaseReader::Open(path);
  EXPECT_TRUE(reader.ok()) << reader.status();
  const auto rows = (*reader)->Query(R"sql(
    SELECT count(*) FROM frames AS f
    WHERE f.detections != (SELECT count(*) FROM detections AS d
                           WHERE d.camera_id = f.camera_id AND d.timestamp = f.timestamp))sql");
  EXPECT_TRUE(rows.ok()) << rows.status();
  const auto orphans = (*reader)->Query(R"sql(
    SELECT count(*) FROM detections AS d
    WHERE NOT EXISTS (SELECT * FROM frames AS f
                      WHERE d.camera_id = f.camera_id AND d.timestamp = f.timestamp))sql");
  const int64_t split = std::stoll(rows->rows[0][0]) + std::stoll(orphans->rows[0][0]);
  // It may have died on the way from one version of the tables to the next.
  if ((*reader)->schema_version() < static_cast<int>(SqliteMigrations().size())) return split;
  // Something is said of every object.
  const auto stages = (*reader)->Query(R"sql(
    SELECT (SELECT count(*) FROM detections WHERE id NOT IN (SELECT detection_id FROM stage_results))
         + (SELECT count(*) FROM stage_results WHERE detection_id NOT IN (SELECT id FROM detections))
    )sql");
  EXPECT_TRUE(stages.ok()) << stages.status();
  return split + std::stoll(stages->rows[0][0]);
}

TEST(SqliteCrash, KillAtAnyWriteThenReRunGivesTheSameRows) {
  const TemporaryFolder folder;
  ASSERT_TRUE(ReplaceSqliteWrites(&DyingWrite));
  writes_left = -1;
  ASSERT_TRUE(StoreRun(folder / "whole.db").ok());
  RestoreSqliteWrites();
  const int all_writes = write_count;
  ASSERT_GT(all_writes, 100);
  const std::string expected = DumpOf(folder / "whole.db");

  std::mt19937 random(20'260'131);
  for (int moment = 0; moment < kMoments; ++moment) {
    const int dies_at = std::uniform_int_distribution<int>(1, all_writes - 1)(random);
    SCOPED_TRACE(fmt::format("dies at write {} of {}", dies_at, all_writes));
    const std::string path = folder / fmt::format("{}.db", moment);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      writes_left = dies_at;
      ReplaceSqliteWrites(&DyingWrite);
      _exit(StoreRun(path).ok() ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        << "it died with work in flight";

    // A kill while the tables are made leaves an empty file, which a reader says so.
    if (DatabaseReader::Open(path).ok()) {
      EXPECT_EQ(SplitFrames(path), 0);
    }
    ASSERT_TRUE(StoreRun(path).ok());
    EXPECT_EQ(DumpOf(path), expected);
  }
}

// A process that is killed between commits loses what waits and nothing else.
TEST(SqliteCrash, CommittedRowsSurviveTheProcess) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.db";
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto sink = *SqliteSink::Create({.path = path, .batch_rows = 50});
    const SyntheticResults source("door", 5, 3, /*stages=*/true);
    for (uint64_t i = 0; sink->stats().commits < 12 || sink->stats().waiting_rows < 20; ++i) {
      if (!sink->Write(source.Frame(i)).ok()) _exit(1);
    }
    const uint64_t committed = sink->stats().frames;
    if (write(pipe_ends[1], &committed, sizeof committed) < 0) _exit(1);
    kill(getpid(), SIGKILL);
  }
  uint64_t committed = 0;
  ASSERT_EQ(read(pipe_ends[0], &committed, sizeof committed), ssize_t{sizeof committed});
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_GT(committed, 30u);
  EXPECT_EQ(static_cast<uint64_t>(*(*DatabaseReader::Open(path))->CountRows("frames")), committed);
  EXPECT_EQ(SplitFrames(path), 0);
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}

// The disk fills up at every possible write: an error each time, never a split frame.
TEST(SqliteCrash, DiskFullAtAnyWrite) {
  const TemporaryFolder folder;
  for (int moment = 0; moment < 30; ++moment) {
    SCOPED_TRACE(moment);
    const std::string path = folder / fmt::format("{}.db", moment);
    full_after = moment * 9;
    ASSERT_TRUE(ReplaceSqliteWrites(&FullDiskWrite));
    const absl::Status status = StoreRun(path);
    RestoreSqliteWrites();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    if (DatabaseReader::Open(path).ok()) {
      EXPECT_EQ(SplitFrames(path), 0);
    }
    // Space again: the re-run mends it.
    if (moment % 10 == 5) {
      ASSERT_TRUE(StoreRun(path).ok());
      EXPECT_EQ(SplitFrames(path), 0);
    }
  }
}

}  // namespace
}  // namespace sightline
