#include "store/sqlite_sink.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "base/allocation_scope.h"
#include "base/check.h"
#include "base/log.h"
#include "store/sqlite_database.h"
#include "store/sqlite_schema.h"
#include "store/sqlite_statements.h"
#include "store/sqlite_waiting_rows.h"

namespace sightline {
namespace {

constexpr int kPageCacheKib = 16 * 1024;
constexpr int kCheckpointPages = 4096;  // of 4 KiB: the bound on the write-ahead log

double Finite(float value) {
  if (SL_BUG_IF(!std::isfinite(value), "a value that is not finite reached the SQLite sink")) {
    return 0;
  }
  return value;
}

int64_t AsInt64(uint64_t value) { return static_cast<int64_t>(value); }

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
    for (SqliteStatement* s :
         {&begin, &commit, &rollback, &insert_many, &upsert_detection, &insert_frame, &insert_track,
          &insert_event, &insert_camera_state, &delete_ledger, &insert_ledger}) {
      const SqliteStatement ended = std::move(*s);
    }
  }

  void AddRow() {
    if (++stats.waiting_rows == 1) first_waiting_us = options.clock->NowMonotonicUs();
  }
  bool Due() const {
    return stats.waiting_rows > 0 &&
           (stats.waiting_rows >= static_cast<uint64_t>(options.batch_rows) ||
            options.clock->NowMonotonicUs() - first_waiting_us >= options.batch_ms * int64_t{1000});
  }
  void Add(const FrameResult& result);
  const std::shared_ptr<const LabelSet>& LabelsOf(const CameraInfo* camera);
  void RememberLabels(const FrameResult& result);

  absl::Status Commit();
  absl::Status TryCommit();
  int InsertAll();
  int InsertFrames();
  int InsertDetections();
  // Parameters before + 1 to before + kDetectionColumns.
  void BindDetection(SqliteStatement& s, int before, const WaitingDetection& row,
                     ClassName& class_name);
  int InsertEvents();
  int InsertTracks();
  int InsertCameraStates();
  int InsertLedgers();
  int InsertLedgerRow(std::string_view outcome, std::string_view reason, uint64_t frames);
  void Clear();

  const SqliteSinkOptions options;
  SqliteDatabase database;  // before the statements: they end first
  SqliteStatement begin, commit, rollback;
  SqliteStatement insert_many, upsert_detection, insert_frame, insert_track, insert_event;
  SqliteStatement insert_camera_state, delete_ledger, insert_ledger;

  std::vector<WaitingFrame> frames;
  std::vector<WaitingDetection> detections;
  std::vector<WaitingEvent> events;  // the first events_used; the rest keeps its strings' memory
  size_t events_used = 0;
  std::vector<WaitingTrack> tracks;
  std::vector<CameraStateChange> camera_states;
  std::vector<WaitingLedger> ledgers;
  std::vector<int64_t> track_of_detection;       // scratch
  std::array<ClassName, kBulkRows> class_names;  // text that lives until Step
  // The labels of each camera's last frame: a TrackSummary names its class by number only.
  std::vector<std::pair<std::string, std::shared_ptr<const LabelSet>>> labels_by_camera;

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
  const std::string many = InsertManyDetections();
  const std::pair<SqliteStatement*, std::string_view> all[] = {
      // IMMEDIATE: a deferred transaction that turns into a writer fails at once, without waiting.
      {&begin, "BEGIN IMMEDIATE"},
      {&commit, "COMMIT"},
      {&rollback, "ROLLBACK"},
      {&insert_many, many},
      {&upsert_detection, kUpsertDetection},
      {&insert_frame, kInsertFrame},
      {&insert_track, kInsertTrack},
      {&insert_event, kInsertEvent},
      {&insert_camera_state, kInsertCameraState},
      {&delete_ledger, kDeleteLedger},
      {&insert_ledger, kInsertLedger}};
  for (const auto& [statement, sql] : all) {
    SL_ASSIGN_OR_RETURN(*statement, database.Prepare(sql));
  }
  return absl::OkStatus();
}

void SqliteSink::Impl::RememberLabels(const FrameResult& result) {
  if (result.detections.labels == nullptr) return;
  for (auto& [camera_id, labels] : labels_by_camera) {
    if (camera_id == result.frame.meta.camera->id) {
      if (labels != result.detections.labels) labels = result.detections.labels;
      return;
    }
  }
  labels_by_camera.emplace_back(result.frame.meta.camera->id, result.detections.labels);
}

const std::shared_ptr<const LabelSet>& SqliteSink::Impl::LabelsOf(const CameraInfo* camera) {
  for (const auto& [camera_id, labels] : labels_by_camera) {
    if (camera_id == camera->id) return labels;
  }
  static const std::shared_ptr<const LabelSet> kNone;
  return kNone;
}

void SqliteSink::Impl::Add(const FrameResult& result) {
  const FrameMeta& meta = result.frame.meta;
  const auto& items = result.detections.items;
  const auto frame_index = static_cast<uint32_t>(frames.size());
  frames.push_back({meta.camera, LabelsOf(meta.camera.get()), meta.time, meta.ordinal, meta.width,
                    meta.height, items.size(), result.tracks.items.size(), result.end_of_stream});
  if (!result.end_of_stream) AddRow();

  track_of_detection.assign(items.size(), 0);
  for (const TrackedObject& track : result.tracks.items) {
    if (track.detection >= 0 && static_cast<size_t>(track.detection) < items.size()) {
      track_of_detection[static_cast<size_t>(track.detection)] = track.track_id;
    }
  }
  for (size_t i = 0; i < items.size(); ++i) {
    detections.push_back({result.detection_ids[i], frame_index, items[i].class_id,
                          items[i].confidence, track_of_detection[i], items[i].box_px});
    AddRow();
  }
  for (const Event& event : result.events) {
    if (events_used == events.size()) events.emplace_back();
    events[events_used].event = event;
    events[events_used].frame = frame_index;
    ++events_used;
    AddRow();
  }
}

int SqliteSink::Impl::InsertFrames() {
  for (const WaitingFrame& frame : frames) {
    if (frame.end_of_stream) continue;
    SqliteStatement& s = insert_frame;
    s.BindText(1, frame.camera->id);
    s.BindInt(2, frame.time.capture_utc_us);
    s.BindInt(3, frame.time.epoch);
    s.BindInt(4, AsInt64(frame.ordinal));
    s.BindInt(5, frame.time.pts_us);
    s.BindText(6, ToString(frame.time.clock));
    s.BindInt(7, frame.width);
    s.BindInt(8, frame.height);
    s.BindInt(9, AsInt64(frame.detections));
    s.BindInt(10, AsInt64(frame.tracks));
    if (const int code = s.Step(); code != SQLITE_DONE) return code;
  }
  return SQLITE_DONE;
}

void SqliteSink::Impl::BindDetection(SqliteStatement& s, int before, const WaitingDetection& row,
                                     ClassName& class_name) {
  const WaitingFrame& frame = frames[row.frame];
  s.BindBlob(before + 1, row.id.bytes.data(), row.id.bytes.size());
  s.BindText(before + 2, frame.camera->id);
  s.BindInt(before + 3, frame.time.capture_utc_us);
  s.BindInt(before + 4, row.class_id);
  s.BindText(before + 5, class_name.Of(frame.labels.get(), row.class_id));
  s.BindReal(before + 6, Finite(row.confidence));
  s.BindReal(before + 7, Finite(row.box_px.x1) / frame.width);
  s.BindReal(before + 8, Finite(row.box_px.y1) / frame.height);
  s.BindReal(before + 9, Finite(row.box_px.x2) / frame.width);
  s.BindReal(before + 10, Finite(row.box_px.y2) / frame.height);
  if (row.track_id != 0) {
    s.BindInt(before + 11, row.track_id);
  } else {
    s.BindNull(before + 11);
  }
  s.BindInt(before + 12, frame.time.epoch);
  s.BindInt(before + 13, frame.time.pts_us);
  s.BindInt(before + 14, AsInt64(frame.ordinal));
}

int SqliteSink::Impl::InsertDetections() {
  // In the order of the keys the B-tree is appended to rather than searched.
  std::sort(detections.begin(), detections.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  size_t done = 0;
  // While the rows are new. The first one that is there already ends this, until the next batch.
  for (; done + kBulkRows <= detections.size(); done += kBulkRows) {
    for (int i = 0; i < kBulkRows; ++i) {
      BindDetection(insert_many, i * kDetectionColumns, detections[done + i], class_names[i]);
    }
    const int code = insert_many.Step();
    if ((code & 0xff) == SQLITE_CONSTRAINT) break;
    if (code != SQLITE_DONE) return code;
  }
  for (; done < detections.size(); ++done) {
    BindDetection(upsert_detection, 0, detections[done], class_names[0]);
    if (const int code = upsert_detection.Step(); code != SQLITE_DONE) return code;
  }
  return SQLITE_DONE;
}

int SqliteSink::Impl::InsertEvents() {
  SqliteStatement& s = insert_event;
  ClassName class_name;
  for (size_t i = 0; i < events_used; ++i) {
    const Event& event = events[i].event;
    const WaitingFrame& frame = frames[events[i].frame];
    s.BindBlob(1, event.id.bytes.data(), event.id.bytes.size());
    s.BindText(2, frame.camera->id);
    s.BindInt(3, frame.time.capture_utc_us);
    s.BindText(4, ToString(event.kind));
    s.BindText(5, event.rule);
    if (event.kind == EventKind::kLineCross) {
      s.BindText(6, event.direction_name);
      s.BindInt(7, event.direction == CrossDirection::kForward ? 1 : 0);
    } else {
      s.BindNull(6);
      s.BindNull(7);
    }
    if (event.kind == EventKind::kZoneExit) {
      s.BindInt(8, event.dwell_us);
    } else {
      s.BindNull(8);
    }
    s.BindInt(9, event.track_id);
    s.BindInt(10, event.class_id);
    s.BindText(11, class_name.Of(frame.labels.get(), event.class_id));
    s.BindReal(12, Finite(event.confidence));
    s.BindReal(13, Finite(event.box_px.x1) / frame.width);
    s.BindReal(14, Finite(event.box_px.y1) / frame.height);
    s.BindReal(15, Finite(event.box_px.x2) / frame.width);
    s.BindReal(16, Finite(event.box_px.y2) / frame.height);
    s.BindReal(17, Finite(event.anchor_px.x) / frame.width);
    s.BindReal(18, Finite(event.anchor_px.y) / frame.height);
    s.BindInt(19, frame.time.epoch);
    s.BindInt(20, frame.time.pts_us);
    s.BindInt(21, AsInt64(frame.ordinal));
    if (const int code = s.Step(); code != SQLITE_DONE) return code;
  }
  return SQLITE_DONE;
}

int SqliteSink::Impl::InsertTracks() {
  SqliteStatement& s = insert_track;
  ClassName class_name;
  for (const WaitingTrack& row : tracks) {
    const TrackSummary& track = row.track;
    s.BindBlob(1, track.id.bytes.data(), track.id.bytes.size());
    s.BindText(2, track.camera->id);
    s.BindInt(3, track.track_id);
    s.BindInt(4, track.class_id);
    s.BindText(5, class_name.Of(row.labels.get(), track.class_id));
    s.BindInt(6, track.first.capture_utc_us);
    s.BindInt(7, track.last.capture_utc_us);
    s.BindInt(8, track.first.epoch);
    s.BindInt(9, track.first.pts_us);
    s.BindInt(10, track.last.pts_us);
    s.BindInt(11, AsInt64(track.first_ordinal));
    s.BindInt(12, AsInt64(track.last_ordinal));
    s.BindInt(13, track.hits);
    s.BindReal(14, Finite(track.max_confidence));
    const float corners[] = {track.first_box_px.x1, track.first_box_px.y1, track.first_box_px.x2,
                             track.first_box_px.y2, track.last_box_px.x1,  track.last_box_px.y1,
                             track.last_box_px.x2,  track.last_box_px.y2};
    for (int i = 0; i < 8; ++i) s.BindReal(15 + i, Finite(corners[i]));
    if (const int code = s.Step(); code != SQLITE_DONE) return code;
  }
  return SQLITE_DONE;
}

int SqliteSink::Impl::InsertLedgerRow(std::string_view outcome, std::string_view reason,
                                      uint64_t frames) {
  insert_ledger.BindText(2, outcome);
  insert_ledger.BindText(3, reason);
  insert_ledger.BindInt(4, AsInt64(frames));
  return insert_ledger.Step();
}

int SqliteSink::Impl::InsertCameraStates() {
  SqliteStatement& s = insert_camera_state;
  for (const CameraStateChange& change : camera_states) {
    s.BindText(1, change.camera->id);
    s.BindInt(2, change.utc_us);
    s.BindText(3, ToString(change.to));
    s.BindText(4, ToString(change.from));
    s.BindText(5, change.reason);
    s.BindInt(6, change.epoch);
    s.BindInt(7, AsInt64(change.attempts));
    s.BindInt(8, change.gap_us);
    if (const int code = s.Step(); code != SQLITE_DONE) return code;
  }
  return SQLITE_DONE;
}

// A camera's rows are replaced as a whole, so that no reason of an interrupted run stays behind.
int SqliteSink::Impl::InsertLedgers() {
  for (const auto& [camera_id, counts] : ledgers) {
    delete_ledger.BindText(1, camera_id);
    if (const int code = delete_ledger.Step(); code != SQLITE_DONE) return code;
    insert_ledger.BindText(1, camera_id);
    int code = InsertLedgerRow("in", "", counts.frames_in);
    if (code == SQLITE_DONE) code = InsertLedgerRow("processed", "", counts.processed);
    for (size_t i = 0; i < counts.skipped.size() && code == SQLITE_DONE; ++i) {
      if (counts.skipped[i] == 0) continue;
      code = InsertLedgerRow("skipped", kSkipReasonNames[i], counts.skipped[i]);
    }
    for (size_t i = 0; i < counts.dropped.size() && code == SQLITE_DONE; ++i) {
      if (counts.dropped[i] == 0) continue;
      code = InsertLedgerRow("dropped", kDropReasonNames[i], counts.dropped[i]);
    }
    if (code != SQLITE_DONE) return code;
  }
  return SQLITE_DONE;
}

int SqliteSink::Impl::InsertAll() {
  int code = InsertFrames();
  if (code == SQLITE_DONE) code = InsertDetections();
  if (code == SQLITE_DONE) code = InsertEvents();
  if (code == SQLITE_DONE) code = InsertTracks();
  if (code == SQLITE_DONE) code = InsertCameraStates();
  if (code == SQLITE_DONE) code = InsertLedgers();
  return code;
}

absl::Status SqliteSink::Impl::Commit() {
  if (stats.waiting_rows == 0) return absl::OkStatus();
  failure = WriteOrWait(options.wait.get(), [this] { return TryCommit(); });
  if (!failure.ok()) return failure;
  ++stats.commits;
  stats.frames += frames.size();
  stats.detections += detections.size();
  stats.events += events_used;
  stats.tracks += tracks.size();
  Clear();
  return absl::OkStatus();
}

// All that waits, or nothing of it.
absl::Status SqliteSink::Impl::TryCommit() {
  constexpr std::string_view kDoing = "writing results to";
  int code = begin.Step();
  if (code != SQLITE_DONE) return database.Error(code, kDoing);
  code = InsertAll();
  if (code == SQLITE_DONE) code = commit.Step();
  if (code == SQLITE_DONE) return absl::OkStatus();
  const absl::Status error = database.Error(code, kDoing);
  rollback.Step();  // fails where SQLite has already rolled back by itself
  return error;
}

void SqliteSink::Impl::Clear() {
  frames.clear();
  detections.clear();
  events_used = 0;
  tracks.clear();
  camera_states.clear();
  ledgers.clear();
  stats.waiting_rows = 0;
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
  impl->detections.reserve(static_cast<size_t>(options.batch_rows));
  impl->frames.reserve(static_cast<size_t>(options.batch_rows));
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
  impl_->RememberLabels(result);
  impl_->Add(result);
  return FlushIfDue();
}

absl::Status SqliteSink::WriteTrack(const TrackSummary& track) {
  if (!impl_->failure.ok()) return impl_->failure;
  if (SL_BUG_IF(impl_->closed || track.camera == nullptr,
                "a track without camera, or after Close")) {
    return MakeError(absl::StatusCode::kInternal, "{}: a track that cannot be stored",
                     impl_->options.path);
  }
  impl_->tracks.push_back({track, impl_->LabelsOf(track.camera.get())});
  impl_->AddRow();
  return FlushIfDue();
}

absl::Status SqliteSink::WriteCameraState(const CameraStateChange& change) {
  if (!impl_->failure.ok()) return impl_->failure;
  if (SL_BUG_IF(impl_->closed || change.camera == nullptr,
                "a change of state without camera, or after Close")) {
    return MakeError(absl::StatusCode::kInternal, "{}: a change of state that cannot be stored",
                     impl_->options.path);
  }
  impl_->camera_states.push_back(change);
  impl_->AddRow();
  return FlushIfDue();
}

absl::Status SqliteSink::WriteLedger(const CameraInfo& camera, const FrameCounts& counts) {
  if (!impl_->failure.ok()) return impl_->failure;
  if (SL_BUG_IF(impl_->closed, "a ledger after Close")) {
    return MakeError(absl::StatusCode::kInternal, "{}: a ledger after the end",
                     impl_->options.path);
  }
  impl_->ledgers.push_back({camera.id, counts});
  impl_->AddRow();
  return FlushIfDue();
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
