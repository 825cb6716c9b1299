// The statements with which SqliteSink writes. Parameters are numbered as the columns are listed.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace sightline {

// Upserts rather than INSERT OR REPLACE: a replace would delete the row first and with it what
// others have added (clip_s3_key). The WHERE leaves a row that is already right untouched, so a
// re-run writes nothing.
inline constexpr std::string_view kUpsertDetection = R"sql(
INSERT INTO detections (id, camera_id, timestamp, class_id, class, confidence, x1, y1, x2, y2,
                        track_id, epoch, pts_us, frame)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
ON CONFLICT (id) DO UPDATE SET
  camera_id = ?2, timestamp = ?3, class_id = ?4, class = ?5, confidence = ?6, x1 = ?7, y1 = ?8,
  x2 = ?9, y2 = ?10, track_id = ?11, epoch = ?12, pts_us = ?13, frame = ?14
WHERE (camera_id, timestamp, class_id, class, confidence, x1, y1, x2, y2, track_id, epoch, pts_us,
       frame) IS NOT (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14))sql";

inline constexpr int kDetectionColumns = 14;
// Rows of one statement that inserts many: 40 % faster than one by one, because SQLite keeps its
// cursors and appends where it has just been. OR FAIL, because taking back the rows of a statement
// that fails half-way would need a journal of its own; the upsert goes over them again instead.
inline constexpr int kBulkRows = 64;

inline std::string InsertManyDetections() {
  std::string sql =
      "INSERT OR FAIL INTO detections (id, camera_id, timestamp, class_id, class, confidence, x1, "
      "y1, "
      "x2, y2, track_id, epoch, pts_us, frame) VALUES ";
  for (int row = 0; row < kBulkRows; ++row) {
    for (int column = 1; column <= kDetectionColumns; ++column) {
      sql += fmt::format("{}?{}",
                         column > 1 ? ", "
                         : row > 0  ? "), ("
                                    : "(",
                         row * kDetectionColumns + column);
    }
  }
  return sql + ")";
}

inline constexpr std::string_view kInsertFrame = R"sql(
INSERT INTO frames (camera_id, timestamp, epoch, frame, pts_us, clock, width, height, detections,
                    tracks)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT (camera_id, timestamp, epoch, frame) DO UPDATE SET
  pts_us = ?5, clock = ?6, width = ?7, height = ?8, detections = ?9, tracks = ?10
WHERE (pts_us, clock, width, height, detections, tracks) IS NOT (?5, ?6, ?7, ?8, ?9, ?10))sql";

inline constexpr std::string_view kUpsertStageResult = R"sql(
INSERT INTO stage_results (detection_id, stage, part, kind, class_id, class, confidence, score,
                           x1, y1, x2, y2, embedding, details)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
ON CONFLICT (detection_id, stage, part) DO UPDATE SET
  kind = ?4, class_id = ?5, class = ?6, confidence = ?7, score = ?8, x1 = ?9, y1 = ?10, x2 = ?11,
  y2 = ?12, embedding = ?13, details = ?14
WHERE (kind, class_id, class, confidence, score, x1, y1, x2, y2, embedding, details)
      IS NOT (?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14))sql";
// A model that is asked anew, such as one on another machine, may have less to say than last time.
inline constexpr std::string_view kDeleteStageParts =
    "DELETE FROM stage_results WHERE detection_id = ?1 AND stage = ?2 AND part >= ?3";

inline constexpr std::string_view kInsertTrack = R"sql(
INSERT INTO tracks (id, camera_id, track_id, class_id, class, first_timestamp, last_timestamp, epoch,
                    first_pts_us, last_pts_us, first_frame, last_frame, hits, max_confidence,
                    first_x1_px, first_y1_px, first_x2_px, first_y2_px,
                    last_x1_px, last_y1_px, last_x2_px, last_y2_px)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
        ?21, ?22)
ON CONFLICT (id) DO UPDATE SET
  camera_id = ?2, track_id = ?3, class_id = ?4, class = ?5, first_timestamp = ?6,
  last_timestamp = ?7, epoch = ?8, first_pts_us = ?9, last_pts_us = ?10, first_frame = ?11,
  last_frame = ?12, hits = ?13, max_confidence = ?14, first_x1_px = ?15, first_y1_px = ?16,
  first_x2_px = ?17, first_y2_px = ?18, last_x1_px = ?19, last_y1_px = ?20, last_x2_px = ?21,
  last_y2_px = ?22
-- A run that was cut short knows less of a track than the whole one before it.
WHERE last_frame <= ?12)sql";

inline constexpr std::string_view kInsertEvent = R"sql(
INSERT INTO events (id, camera_id, timestamp, kind, rule, direction, forward, dwell_us, track_id,
                    class_id, class, confidence, x1, y1, x2, y2, anchor_x, anchor_y, epoch, pts_us,
                    frame)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
        ?21)
ON CONFLICT (id) DO UPDATE SET
  camera_id = ?2, timestamp = ?3, kind = ?4, rule = ?5, direction = ?6, forward = ?7, dwell_us = ?8,
  track_id = ?9, class_id = ?10, class = ?11, confidence = ?12, x1 = ?13, y1 = ?14, x2 = ?15,
  y2 = ?16, anchor_x = ?17, anchor_y = ?18, epoch = ?19, pts_us = ?20, frame = ?21)sql";

inline constexpr std::string_view kInsertCameraState = R"sql(
INSERT INTO camera_states (camera_id, timestamp, state, previous, reason, epoch, attempts, gap_us)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (camera_id, timestamp, state) DO UPDATE SET
  previous = ?4, reason = ?5, epoch = ?6, attempts = ?7, gap_us = ?8)sql";

inline constexpr std::string_view kDeleteLedger = "DELETE FROM ledger WHERE camera_id = ?1";
inline constexpr std::string_view kInsertLedger =
    "INSERT INTO ledger (camera_id, outcome, reason, frames) VALUES (?1, ?2, ?3, ?4)";

}  // namespace sightline
