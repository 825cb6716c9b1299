#include "store/sqlite_batch.h"

#include <sqlite3.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "store/jsonl_details.h"
#include "store/sqlite_statements.h"

namespace sightline {
namespace {

double Finite(float value) {
  if (SL_BUG_IF(!std::isfinite(value), "a value that is not finite reached the SQLite sink")) {
    return 0;
  }
  return value;
}

int64_t AsInt64(uint64_t value) { return static_cast<int64_t>(value); }

}  // namespace

absl::Status SqliteBatch::Prepare(SqliteDatabase& database, size_t rows) {
  const std::string many = InsertManyDetections();
  const std::pair<SqliteStatement*, std::string_view> all[] = {
      {&insert_many_, many},
      {&upsert_detection_, kUpsertDetection},
      {&upsert_stage_result_, kUpsertStageResult},
      {&delete_stage_parts_, kDeleteStageParts},
      {&insert_frame_, kInsertFrame},
      {&insert_track_, kInsertTrack},
      {&insert_event_, kInsertEvent},
      {&insert_camera_state_, kInsertCameraState},
      {&delete_ledger_, kDeleteLedger},
      {&insert_ledger_, kInsertLedger}};
  for (const auto& [statement, sql] : all) {
    SL_ASSIGN_OR_RETURN(*statement, database.Prepare(sql));
  }
  detections_.reserve(rows);
  frames_.reserve(rows);
  return absl::OkStatus();
}

void SqliteBatch::EndStatements() {
  for (SqliteStatement* s : {&insert_many_, &upsert_detection_, &upsert_stage_result_,
                             &delete_stage_parts_, &insert_frame_, &insert_track_, &insert_event_,
                             &insert_camera_state_, &delete_ledger_, &insert_ledger_}) {
    const SqliteStatement ended = std::move(*s);
  }
}

void SqliteBatch::Clear() {
  frames_.clear();
  detections_.clear();
  stage_rows_.clear();
  bytes_.clear();
  events_used_ = 0;
  tracks_.clear();
  camera_states_.clear();
  ledgers_.clear();
  rows_ = 0;
}

void SqliteBatch::AddTrack(const TrackSummary& track) {
  tracks_.push_back({track, LabelsOf(track.camera.get())});
  ++rows_;
}

void SqliteBatch::AddCameraState(const CameraStateChange& change) {
  camera_states_.push_back(change);
  ++rows_;
}

void SqliteBatch::AddLedger(const std::string& camera_id, const FrameCounts& counts) {
  ledgers_.push_back({camera_id, counts});
  ++rows_;
}

void SqliteBatch::RememberLabels(const FrameResult& result) {
  if (result.detections.labels == nullptr) return;
  for (auto& [camera_id, labels] : labels_by_camera_) {
    if (camera_id == result.frame.meta.camera->id) {
      if (labels != result.detections.labels) labels = result.detections.labels;
      return;
    }
  }
  labels_by_camera_.emplace_back(result.frame.meta.camera->id, result.detections.labels);
}

const std::shared_ptr<const LabelSet>& SqliteBatch::LabelsOf(const CameraInfo* camera) {
  for (const auto& [camera_id, labels] : labels_by_camera_) {
    if (camera_id == camera->id) return labels;
  }
  static const std::shared_ptr<const LabelSet> kNone;
  return kNone;
}

void SqliteBatch::AddFrame(const FrameResult& result) {
  RememberLabels(result);
  const FrameMeta& meta = result.frame.meta;
  const auto& items = result.detections.items;
  const auto frame_index = static_cast<uint32_t>(frames_.size());
  frames_.push_back({meta.camera, LabelsOf(meta.camera.get()), meta.time, meta.ordinal, meta.width,
                     meta.height, items.size(), result.tracks.items.size(), result.end_of_stream});
  if (!result.end_of_stream) ++rows_;

  track_of_detection_.assign(items.size(), 0);
  for (const TrackedObject& track : result.tracks.items) {
    if (track.detection >= 0 && static_cast<size_t>(track.detection) < items.size()) {
      track_of_detection_[static_cast<size_t>(track.detection)] = track.track_id;
    }
  }
  for (size_t i = 0; i < items.size(); ++i) {
    detections_.push_back({result.detection_ids[i], frame_index, items[i].class_id,
                           items[i].confidence, track_of_detection_[i], items[i].box_px});
    ++rows_;
  }
  AddStages(result, frame_index);
  for (const Event& event : result.events) {
    if (events_used_ == events_.size()) events_.emplace_back();
    events_[events_used_].event = event;
    events_[events_used_].frame = frame_index;
    ++events_used_;
    ++rows_;
  }
}

WaitingStageRow& SqliteBatch::AddStageRow(const FrameResult& result, const StageResult& said,
                                          uint32_t frame_index, int32_t part,
                                          std::string_view kind) {
  WaitingStageRow& row = stage_rows_.emplace_back();
  row.detection_id = result.detection_ids[static_cast<size_t>(said.item)];
  row.stage = said.stage;
  row.labels = said.result.labels;
  row.frame = frame_index;
  row.part = part;
  row.kind = kind;
  row.details_begin = row.details_end = bytes_.size();
  ++rows_;
  return row;
}

void SqliteBatch::AddStages(const FrameResult& result, uint32_t frame_index) {
  const size_t first_row = stage_rows_.size();
  for (const StageResult& said : result.detections.stages) {
    if (said.item < 0 || static_cast<size_t>(said.item) >= result.detection_ids.size()) continue;
    // Behind what the frame has of this stage and object already: two parts of a graph may have
    // stages of one name.
    const Uuid& detection_id = result.detection_ids[static_cast<size_t>(said.item)];
    int32_t part = 0;
    for (size_t i = first_row; i < stage_rows_.size(); ++i) {
      const WaitingStageRow& other = stage_rows_[i];
      part += other.detection_id == detection_id && *other.stage == *said.stage;
    }
    const auto add = [&](std::string_view kind) -> WaitingStageRow& {
      return AddStageRow(result, said, frame_index, part++, kind);
    };
    const Detections& its = said.result;
    const size_t rows_before = rows_;
    for (size_t i = 0; i < its.items.size(); ++i) {
      WaitingStageRow& row = add("box");
      row.has_class = row.has_box = true;
      row.class_id = its.items[i].class_id;
      row.confidence = its.items[i].confidence;
      row.box_px = its.items[i].box_px;
      AppendDetails(its, i, bytes_);
      row.details_end = bytes_.size();
      if (row.details_end > row.details_begin) {  // members behind a comma become an object
        bytes_[row.details_begin] = '{';
        bytes_ += '}';
        ++row.details_end;
      }
    }
    for (const ClassScore& one : its.classes) {
      WaitingStageRow& row = add("class");
      row.has_class = true;
      row.class_id = one.class_id;
      row.confidence = one.confidence;
    }
    if (!its.embedding.empty()) {
      WaitingStageRow& row = add("embedding");
      row.embedding_begin = bytes_.size();
      static_assert(std::endian::native == std::endian::little);
      bytes_.append(reinterpret_cast<const char*>(its.embedding.data()),
                    its.embedding.size() * sizeof(float));
      row.embedding_end = bytes_.size();
    }
    if (its.class_map.width > 0) {
      WaitingStageRow& row = add("class_map");
      AppendClassMap(its.class_map, bytes_);
      row.details_end = bytes_.size();
    }
    if (its.anomaly.width > 0) {
      WaitingStageRow& row = add("anomaly");
      row.has_score = true;
      row.score = its.anomaly.score;
      AppendAnomaly(its.anomaly, bytes_);
      row.details_end = bytes_.size();
    }
    if (rows_ == rows_before) add("nothing");
  }
}

int SqliteBatch::InsertFrames() {
  for (const WaitingFrame& frame : frames_) {
    if (frame.end_of_stream) continue;
    SqliteStatement& s = insert_frame_;
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

void SqliteBatch::BindDetection(SqliteStatement& s, int before, const WaitingDetection& row,
                                ClassName& class_name) {
  const WaitingFrame& frame = frames_[row.frame];
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

int SqliteBatch::InsertDetections() {
  // In the order of the keys the B-tree is appended to rather than searched.
  std::sort(detections_.begin(), detections_.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  size_t done = 0;
  // While the rows are new. The first one that is there already ends this, until the next batch.
  for (; done + kBulkRows <= detections_.size(); done += kBulkRows) {
    for (int i = 0; i < kBulkRows; ++i) {
      BindDetection(insert_many_, i * kDetectionColumns, detections_[done + i], class_names_[i]);
    }
    const int code = insert_many_.Step();
    if ((code & 0xff) == SQLITE_CONSTRAINT) break;
    if (code != SQLITE_DONE) return code;
  }
  for (; done < detections_.size(); ++done) {
    BindDetection(upsert_detection_, 0, detections_[done], class_names_[0]);
    if (const int code = upsert_detection_.Step(); code != SQLITE_DONE) return code;
  }
  return SQLITE_DONE;
}

int SqliteBatch::InsertStageRows() {
  std::sort(stage_rows_.begin(), stage_rows_.end(), [](const auto& a, const auto& b) {
    if (a.detection_id != b.detection_id) return a.detection_id < b.detection_id;
    if (*a.stage != *b.stage) return *a.stage < *b.stage;
    return a.part != b.part ? a.part < b.part : a.frame < b.frame;
  });
  SqliteStatement& s = upsert_stage_result_;
  ClassName class_name;
  for (size_t i = 0; i < stage_rows_.size(); ++i) {
    const WaitingStageRow& row = stage_rows_[i];
    const WaitingFrame& frame = frames_[row.frame];
    s.BindBlob(1, row.detection_id.bytes.data(), row.detection_id.bytes.size());
    s.BindText(2, *row.stage);
    s.BindInt(3, row.part);
    s.BindText(4, row.kind);
    for (int parameter = 5; parameter <= 14; ++parameter) s.BindNull(parameter);
    if (row.has_class) {
      s.BindInt(5, row.class_id);
      s.BindText(6, class_name.Of(row.labels.get(), row.class_id));
      s.BindReal(7, Finite(row.confidence));
    }
    if (row.has_score) s.BindReal(8, Finite(row.score));
    if (row.has_box) {
      s.BindReal(9, Finite(row.box_px.x1) / frame.width);
      s.BindReal(10, Finite(row.box_px.y1) / frame.height);
      s.BindReal(11, Finite(row.box_px.x2) / frame.width);
      s.BindReal(12, Finite(row.box_px.y2) / frame.height);
    }
    const auto bytes = [this](size_t begin, size_t end) {
      return std::string_view(bytes_).substr(begin, end - begin);
    };
    if (row.embedding_end > row.embedding_begin) {
      const std::string_view embedding = bytes(row.embedding_begin, row.embedding_end);
      s.BindBlob(13, embedding.data(), embedding.size());
    }
    if (row.details_end > row.details_begin) {
      s.BindText(14, bytes(row.details_begin, row.details_end));
    }
    if (const int code = s.Step(); code != SQLITE_DONE) return code;

    const bool last = i + 1 == stage_rows_.size() ||
                      stage_rows_[i + 1].detection_id != row.detection_id ||
                      *stage_rows_[i + 1].stage != *row.stage;
    if (!last) continue;
    delete_stage_parts_.BindBlob(1, row.detection_id.bytes.data(), row.detection_id.bytes.size());
    delete_stage_parts_.BindText(2, *row.stage);
    delete_stage_parts_.BindInt(3, row.part + 1);
    if (const int code = delete_stage_parts_.Step(); code != SQLITE_DONE) return code;
  }
  return SQLITE_DONE;
}

int SqliteBatch::InsertEvents() {
  SqliteStatement& s = insert_event_;
  ClassName class_name;
  for (size_t i = 0; i < events_used_; ++i) {
    const Event& event = events_[i].event;
    const WaitingFrame& frame = frames_[events_[i].frame];
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

int SqliteBatch::InsertTracks() {
  SqliteStatement& s = insert_track_;
  ClassName class_name;
  for (const WaitingTrack& row : tracks_) {
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

int SqliteBatch::InsertLedgerRow(std::string_view outcome, std::string_view reason,
                                 uint64_t frames) {
  insert_ledger_.BindText(2, outcome);
  insert_ledger_.BindText(3, reason);
  insert_ledger_.BindInt(4, AsInt64(frames));
  return insert_ledger_.Step();
}

int SqliteBatch::InsertCameraStates() {
  SqliteStatement& s = insert_camera_state_;
  for (const CameraStateChange& change : camera_states_) {
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
int SqliteBatch::InsertLedgers() {
  for (const auto& [camera_id, counts] : ledgers_) {
    delete_ledger_.BindText(1, camera_id);
    if (const int code = delete_ledger_.Step(); code != SQLITE_DONE) return code;
    insert_ledger_.BindText(1, camera_id);
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

int SqliteBatch::InsertAll() {
  int code = InsertFrames();
  if (code == SQLITE_DONE) code = InsertDetections();
  if (code == SQLITE_DONE) code = InsertStageRows();
  if (code == SQLITE_DONE) code = InsertEvents();
  if (code == SQLITE_DONE) code = InsertTracks();
  if (code == SQLITE_DONE) code = InsertCameraStates();
  if (code == SQLITE_DONE) code = InsertLedgers();
  return code;
}

}  // namespace sightline
