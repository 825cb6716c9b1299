#include "store/sqlite_sink.h"

#include <sqlite3.h>

#include <algorithm>
#include <utility>

#include "base/allocation_scope.h"
#include "base/check.h"
#include "base/log.h"
#include "store/sqlite_batch.h"
#include "store/sqlite_database.h"
#include "store/sqlite_schema.h"

namespace sightline {
namespace {

constexpr int kPageCacheKib = 16 * 1024;
constexpr size_t kMostWaitingBytes = 8 << 20;  // of embeddings and details; chosen
constexpr int kCheckpointPages = 4096;         // of 4 KiB: the bound on the write-ahead log

absl::Status CheckOptions(const SqliteSinkOptions& options) {
  if (options.path.empty()) return InvalidArgument("the SQLite output needs a path");
  if (options.batch_rows < 1 || options.batch_ms < 0 || options.busy_timeout_ms < 0 ||
      options.max_size_bytes < 0) {
    return InvalidArgument(
        "{}: batch_rows must be at least 1; batch_ms, busy_timeout_ms and max_size_bytes must not "
        "be negative",
        options.path);
  }
  return absl::OkStatus();
}

}  // namespace

struct SqliteSink::Impl {
  Impl(const SqliteSinkOptions& o, SqliteDatabase d) : options(o), database(std::move(d)) {}

  absl::Status Configure();
  absl::Status PrepareStatements();

  void EndStatements() {
    batch.EndStatements();
    for (SqliteStatement* s : {&begin, &commit, &rollback}) {
      const SqliteStatement ended = std::move(*s);
    }
  }

  // After rows have come to the batch.
  absl::Status Added() {
    if (stats.waiting_rows == 0) first_waiting_us = options.clock->NowMonotonicUs();
    stats.waiting_rows = batch.rows();
    return Due() ? Commit() : absl::OkStatus();
  }
  bool Due() const {
    return stats.waiting_rows > 0 &&
           (stats.waiting_rows >= static_cast<uint64_t>(options.batch_rows) ||
            batch.bytes() >= kMostWaitingBytes ||
            options.clock->NowMonotonicUs() - first_waiting_us >= options.batch_ms * int64_t{1000});
  }

  absl::Status Commit();
  absl::Status TryCommit();

  const SqliteSinkOptions options;
  SqliteDatabase database;  // before the statements: they end first
  SqliteStatement begin, commit, rollback;
  SqliteBatch batch;

  int64_t first_waiting_us = 0;
  SqliteSinkStats stats;
  absl::Status failure;
  bool closed = false;
};

absl::Status SqliteSink::Impl::Configure() {
  // Look first and change nothing: the file may be another program's.
  SL_RETURN_IF_ERROR(CheckSqliteSchema(database, SqliteMigrations()).status());
  SL_ASSIGN_OR_RETURN(const std::string journal, database.QueryText("PRAGMA journal_mode = WAL"));
  if (journal != "wal") {
    Log().warn("{}: this file system has no write-ahead log; writing blocks readers (journal {})",
               database.path(), journal);
  }
  SL_RETURN_IF_ERROR(database.Execute(fmt::format(
      "PRAGMA synchronous = {}; PRAGMA cache_size = -{}; PRAGMA wal_autocheckpoint = {}; "
      "PRAGMA journal_size_limit = {};",
      options.durability == SqliteDurability::kPowerLoss ? "FULL" : "NORMAL", kPageCacheKib,
      kCheckpointPages, int64_t{kCheckpointPages} * 4096)));
  SL_RETURN_IF_ERROR(MigrateSqliteSchema(database, SqliteMigrations()));
  if (options.max_size_bytes > 0) {
    SL_ASSIGN_OR_RETURN(const int64_t page_bytes, database.QueryInt("PRAGMA page_size"));
    const int64_t pages = std::max<int64_t>(1, options.max_size_bytes / page_bytes);
    SL_RETURN_IF_ERROR(
        database.QueryInt(fmt::format("PRAGMA max_page_count = {}", pages)).status());
  }
  return absl::OkStatus();
}

absl::Status SqliteSink::Impl::PrepareStatements() {
  // IMMEDIATE: a deferred transaction that turns into a writer fails at once, without waiting.
  SL_ASSIGN_OR_RETURN(begin, database.Prepare("BEGIN IMMEDIATE"));
  SL_ASSIGN_OR_RETURN(commit, database.Prepare("COMMIT"));
  SL_ASSIGN_OR_RETURN(rollback, database.Prepare("ROLLBACK"));
  return batch.Prepare(database, static_cast<size_t>(options.batch_rows));
}

absl::Status SqliteSink::Impl::Commit() {
  if (stats.waiting_rows == 0) return absl::OkStatus();
  failure = WriteOrWait(options.wait.get(), [this] { return TryCommit(); });
  if (!failure.ok()) return failure;
  ++stats.commits;
  stats.frames += batch.frames();
  stats.detections += batch.detections();
  stats.stage_results += batch.stage_results();
  stats.events += batch.events();
  stats.tracks += batch.tracks();
  batch.Clear();
  stats.waiting_rows = 0;
  return absl::OkStatus();
}

// All that waits, or nothing of it.
absl::Status SqliteSink::Impl::TryCommit() {
  constexpr std::string_view kDoing = "writing results to";
  int code = begin.Step();
  if (code != SQLITE_DONE) return database.Error(code, kDoing);
  code = batch.InsertAll();
  if (code == SQLITE_DONE) code = commit.Step();
  if (code == SQLITE_DONE) return absl::OkStatus();
  const absl::Status error = database.Error(code, kDoing);
  rollback.Step();  // fails where SQLite has already rolled back by itself
  return error;
}

SqliteSink::SqliteSink(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SqliteSink::~SqliteSink() = default;

absl::StatusOr<std::unique_ptr<SqliteSink>> SqliteSink::Create(const SqliteSinkOptions& options) {
  SL_RETURN_IF_ERROR(CheckOptions(options));
  SL_ASSIGN_OR_RETURN(SqliteDatabase database,
                      SqliteDatabase::Open(options.path, SqliteDatabase::Mode::kReadWriteCreate,
                                           options.busy_timeout_ms));
  auto impl = std::make_unique<Impl>(options, std::move(database));
  SL_RETURN_IF_ERROR(impl->Configure());
  SL_RETURN_IF_ERROR(impl->PrepareStatements());
  return std::unique_ptr<SqliteSink>(new SqliteSink(std::move(impl)));
}

absl::Status SqliteSink::Write(const FrameResult& result) {
  if (!impl_->failure.ok()) return impl_->failure;
  const FrameMeta& meta = result.frame.meta;
  if (SL_BUG_IF(impl_->closed || meta.camera == nullptr || meta.width <= 0 || meta.height <= 0 ||
                    result.detection_ids.size() != result.detections.items.size(),
                "a frame without camera, size or ids, or after Close, reached the SQLite sink")) {
    return MakeError(absl::StatusCode::kInternal, "{}: a frame that cannot be stored",
                     impl_->options.path);
  }
  impl_->batch.AddFrame(result);
  return impl_->Added();
}

absl::Status SqliteSink::WriteTrack(const TrackSummary& track) {
  if (!impl_->failure.ok()) return impl_->failure;
  if (SL_BUG_IF(impl_->closed || track.camera == nullptr,
                "a track without camera, or after Close")) {
    return MakeError(absl::StatusCode::kInternal, "{}: a track that cannot be stored",
                     impl_->options.path);
  }
  impl_->batch.AddTrack(track);
  return impl_->Added();
}

absl::Status SqliteSink::WriteCameraState(const CameraStateChange& change) {
  if (!impl_->failure.ok()) return impl_->failure;
  if (SL_BUG_IF(impl_->closed || change.camera == nullptr,
                "a change of state without camera, or after Close")) {
    return MakeError(absl::StatusCode::kInternal, "{}: a change of state that cannot be stored",
                     impl_->options.path);
  }
  impl_->batch.AddCameraState(change);
  return impl_->Added();
}

absl::Status SqliteSink::WriteLedger(const CameraInfo& camera, const FrameCounts& counts) {
  if (!impl_->failure.ok()) return impl_->failure;
  if (SL_BUG_IF(impl_->closed, "a ledger after Close")) {
    return MakeError(absl::StatusCode::kInternal, "{}: a ledger after the end",
                     impl_->options.path);
  }
  impl_->batch.AddLedger(camera.id, counts);
  return impl_->Added();
}

absl::Status SqliteSink::FlushIfDue() {
  if (!impl_->failure.ok()) return impl_->failure;
  return impl_->Due() ? impl_->Commit() : absl::OkStatus();
}

absl::Status SqliteSink::Flush() {
  if (!impl_->failure.ok()) return impl_->failure;
  return impl_->Commit();
}

absl::Status SqliteSink::Close() {
  if (impl_->closed || !impl_->failure.ok()) return impl_->failure;
  SL_RETURN_IF_ERROR(impl_->Commit());
  impl_->closed = true;
  // The checkpoint syncs the log before and the database after it has copied, so from here on the
  // rows survive a power loss. A reader with an open snapshot may keep it from finishing; the log
  // is on the disk even then.
  const int code = sqlite3_wal_checkpoint_v2(impl_->database.handle(), nullptr,
                                             SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY && (code & 0xff) != SQLITE_LOCKED) {
    const absl::Status error = impl_->database.Error(code, "moving the log into");
    if (absl::IsResourceExhausted(error)) {  // the rows are safe in the log, and read from there
      Log().warn("{}", MessageOf(error));
    } else {
      impl_->failure = error;
    }
  }
  // Ends the connection: the last one out removes the log, and the database is one file.
  impl_->EndStatements();
  { const SqliteDatabase ended = std::move(impl_->database); }
  return impl_->failure;
}

SqliteSinkStats SqliteSink::stats() const { return impl_->stats; }

}  // namespace sightline
