// The rows that wait for one transaction of the SQLite sink, and the statements that write them.
// Internal to it.
//
// Threads: one at a time. Memory: rows() and bytes(), which the sink bounds; nothing is allocated per
// frame after warm-up.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "store/sqlite_database.h"
#include "store/sqlite_statements.h"
#include "store/sqlite_waiting_rows.h"
#include "types/result_sink.h"

namespace sightline {

class SqliteBatch {
 public:
  // With room for `rows`. The statements are the database's: EndStatements() before it is closed.
  absl::Status Prepare(SqliteDatabase& database, size_t rows);
  void EndStatements();

  // What is added must be as SqliteSink checks it.
  void AddFrame(const FrameResult& result);
  void AddTrack(const TrackSummary& track);
  void AddCameraState(const CameraStateChange& change);
  void AddLedger(const std::string& camera_id, const FrameCounts& counts);

  // All rows into the open transaction: SQLITE_DONE, or SQLite's error.
  int InsertAll();
  void Clear();

  size_t rows() const { return rows_; }
  size_t frames() const { return frames_.size(); }
  size_t detections() const { return detections_.size(); }
  size_t events() const { return events_used_; }
  size_t tracks() const { return tracks_.size(); }
  size_t stage_results() const { return stage_rows_.size(); }
  // Of embeddings and details of stages.
  size_t bytes() const { return bytes_.size(); }

 private:
  const std::shared_ptr<const LabelSet>& LabelsOf(const CameraInfo* camera);
  void RememberLabels(const FrameResult& result);
  void AddStages(const FrameResult& result, uint32_t frame_index);
  WaitingStageRow& AddStageRow(const FrameResult& result, const StageResult& said,
                               uint32_t frame_index, int32_t part, std::string_view kind);
  int InsertFrames();
  int InsertDetections();
  // Parameters before + 1 to before + kDetectionColumns.
  void BindDetection(SqliteStatement& s, int before, const WaitingDetection& row,
                     ClassName& class_name);
  int InsertStageRows();
  int InsertEvents();
  int InsertTracks();
  int InsertCameraStates();
  int InsertLedgers();
  int InsertLedgerRow(std::string_view outcome, std::string_view reason, uint64_t frames);

  SqliteStatement insert_many_, upsert_detection_, insert_frame_, insert_track_, insert_event_;
  SqliteStatement upsert_stage_result_, delete_stage_parts_;
  SqliteStatement insert_camera_state_, delete_ledger_, insert_ledger_;

  size_t rows_ = 0;
  std::vector<WaitingFrame> frames_;
  std::vector<WaitingDetection> detections_;
  std::vector<WaitingStageRow> stage_rows_;
  std::string bytes_;                 // of stage_rows_
  std::vector<WaitingEvent> events_;  // the first events_used_; the rest keeps its strings' memory
  size_t events_used_ = 0;
  std::vector<WaitingTrack> tracks_;
  std::vector<CameraStateChange> camera_states_;
  std::vector<WaitingLedger> ledgers_;
  std::vector<int64_t> track_of_detection_;       // scratch
  std::array<ClassName, kBulkRows> class_names_;  // text that lives until Step
  // The labels of each camera's last frame: a TrackSummary names its class by number only.
  std::vector<std::pair<std::string, std::shared_ptr<const LabelSet>>> labels_by_camera_;
};

}  // namespace sightline
