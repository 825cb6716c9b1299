// Results as rows of a SQLite database: the embedded default, readable while it is being written.
// Tables and columns: docs/output_formats.md.
//
// What is promised:
//   Whole frames.   All rows of one frame are in one transaction; readers and crashes see all or
//                   none.
//   Effectively once. Ids are deterministic and every insert is an upsert of the same content, so
//                   running the same recording into the same file again, also after kill -9 at any
//                   moment, ends with exactly the rows of one undisturbed run. No column holds the
//                   wall clock or anything else of the run itself.
//   Durability.     Committed rows survive the death of the process (kill -9) at either setting.
//                   kProcess: after a power loss or a crash of the system the database opens and is
//                   consistent, but the commits since the last checkpoint may be missing.
//                   kPowerLoss: every commit is on the disk (fsync) before it counts.
//                   After Close() everything is on the disk at either setting.
//   Group commit.   Rows wait in memory until batch_rows are there or batch_ms have passed since
//                   the first of them, whichever comes first. The database's lock is held for the
//                   moment of the commit only, so several processes may write to one file.
//   Waiting.        With `wait`, a full disk and another program's lock are no errors: the batch is kept
//                   and committed when it can be.
//
// Errors are sticky: after the first, every call returns it. One line each, with the path and what
// to do; see sqlite_database.h. What was committed before stays. A pair of detections with one id
// within a frame, or values that are not finite, are our own bugs: logged and counted (SL_BUG_IF),
// never a NULL in the table.
//
// Threads: one at a time (ResultSink). Memory: one batch of rows (at most batch_rows, and 8 MiB of
// embeddings and details of stages, plus one frame's) and SQLite's page cache of 16 MiB; nothing is
// allocated by us per frame after warm-up.
// Disk: the write-ahead log is bounded to some 16 MiB unless a reader keeps a snapshot open.
// Cost: some 3 us CPU per detection with two busy cores, half of it for the two indexes
// (benchmarks/sqlite_bench.cc).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/output_wait.h"
#include "base/status.h"
#include "base/time.h"
#include "types/result_sink.h"

namespace sightline {

enum class SqliteDurability : uint8_t {
  kProcess,   // PRAGMA synchronous=NORMAL
  kPowerLoss  // PRAGMA synchronous=FULL
};

struct SqliteSinkOptions {
  std::string path;
  SqliteDurability durability = SqliteDurability::kProcess;
  int batch_rows = 4096;       // measured: beyond some 2000 rows nothing is gained
  int batch_ms = 500;          // chosen: what a live viewer does not notice
  int busy_timeout_ms = 5000;  // wait for another process's lock, then Unavailable
  int64_t max_size_bytes = 0;  // the database's size limit; 0 = SQLite's own (many TB)
  const Clock* clock = &Clock::Real();
  std::shared_ptr<OutputWait> wait = nullptr;  // null: an error at once; not with max_size_bytes
};

// What a sink has stored so far.
struct SqliteSinkStats {
  uint64_t commits = 0;
  uint64_t frames = 0;      // committed
  uint64_t detections = 0;  // committed, an overwritten row counts too
  uint64_t stage_results = 0;
  uint64_t events = 0;
  uint64_t tracks = 0;
  uint64_t waiting_rows = 0;  // not yet committed
};

class SqliteSink final : public ResultSink {
 public:
  // Makes the file when it is not there, or brings its schema to the newest version.
  //   InvalidArgument     not a SQLite file, or another program's database
  //   FailedPrecondition  written by a newer Sightline; no folder; no permission
  //   Unavailable         locked by another process for longer than busy_timeout_ms
  //   DataLoss            damaged
  static absl::StatusOr<std::unique_ptr<SqliteSink>> Create(const SqliteSinkOptions& options);
  ~SqliteSink() override;  // without Close(), what waits is lost as in a crash

  std::string_view name() const override { return "sqlite"; }
  absl::Status Write(const FrameResult& result) override;
  absl::Status WriteTrack(const TrackSummary& track) override;
  absl::Status WriteCameraState(const CameraStateChange& change) override;
  absl::Status WriteLedger(const CameraInfo& camera, const FrameCounts& counts) override;
  absl::Status FlushIfDue() override;
  absl::Status Close() override;

  // Commits what waits.
  absl::Status Flush();
  SqliteSinkStats stats() const;

 private:
  struct Impl;
  explicit SqliteSink(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sightline
