// Where results go: rows, lines, annotated pictures, reports.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/uuid.h"
#include "types/detections.h"
#include "types/event.h"
#include "types/trace.h"
#include "types/tracks.h"

namespace sightline {

// Everything that was made of one frame, in the camera's order. Immutable once sent.
// detection_ids[i] belongs to detections.items[i].
struct FrameResult {
  Frame frame;  // `pixels` is null when no sink asked for pictures
  Detections detections;
  std::vector<Uuid> detection_ids;
  Tracks tracks;
  std::vector<Event> events;
  // Objects per zone after this frame, in the order of the camera's zones.
  std::vector<int32_t> zone_occupancy;
  FrameTrace trace;  // none unless outputs.trace asks for it
  // Rises when the camera's zones and lines change while it runs.
  uint32_t rules_version = 0;
  // True once per camera, after its last frame: nothing was detected, but tracks that ended with
  // the stream may have left their zones. `frame` is the last frame, without pixels.
  bool end_of_stream = false;
};

// What a finished track was; sinks get it when the tracker gives the track up and at the end.
struct TrackSummary {
  Uuid id;  // deterministic, from camera, epoch, first sighting and the model's identity
  std::shared_ptr<const CameraInfo> camera;
  int64_t track_id = 0;
  int32_t class_id = 0;
  FrameTime first;
  FrameTime last;
  uint64_t first_ordinal = 0;
  uint64_t last_ordinal = 0;
  int32_t hits = 0;
  float max_confidence = 0;
  Box first_box_px;
  Box last_box_px;
};

// Threads: each sink is called by one thread at a time. It may block on its own I/O: the pipeline
// puts a bounded queue in front of it.
// Errors: a sink that fails is closed and the run ends with that error (disk full, ...); what it had
// committed stays.
class ResultSink {
 public:
  virtual ~ResultSink() = default;
  virtual std::string_view name() const = 0;
  virtual bool wants_pixels() const { return false; }
  virtual absl::Status Write(const FrameResult& result) = 0;
  virtual absl::Status WriteTrack(const TrackSummary& track) { return absl::OkStatus(); }
  // A live camera came, went, or tries again.
  virtual absl::Status WriteCameraState(const CameraStateChange& change) {
    return absl::OkStatus();
  }
  // The camera's final or current ledger.
  virtual absl::Status WriteLedger(const CameraInfo& camera, const FrameCounts& counts) {
    return absl::OkStatus();
  }
  // Called when nothing has come for a while, so that a sink which gathers rows into batches keeps its
  // promise of time also while the cameras are quiet. Cheap when nothing is due.
  virtual absl::Status FlushIfDue() { return absl::OkStatus(); }
  // Makes everything written so far durable and visible; called once at the end, also after errors
  // of other sinks and after Ctrl-C.
  virtual absl::Status Close() = 0;
  // Instead of Close() when the run failed before its first frame: what an earlier run has left under
  // the same name stays.
  virtual absl::Status Abandon() { return Close(); }
};

}  // namespace sightline
