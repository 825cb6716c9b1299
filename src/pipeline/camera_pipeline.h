// One camera's way from its source to its results. docs/life_of_a_frame.md walks the same steps.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/object_pool.h"
#include "base/status.h"
#include "events/event_engine.h"
#include "infer/batcher.h"
#include "pipeline/camera_metrics.h"
#include "pipeline/deliver_lane.h"
#include "pipeline/reorder_window.h"
#include "track/tracker.h"
#include "types/frame_source.h"
#include "vision/motion.h"

namespace sightline {

// What a camera is made of; the engine builds these from the configuration.
//
// A live camera's picture size is known with its first frame only. Its tracker and rules are then
// made by `set_up`, which is called once, with that frame, on the camera's own thread.
struct CameraParts {
  std::shared_ptr<const CameraInfo> camera;
  std::shared_ptr<FrameLedger> ledger;     // the source counts into the same one
  std::shared_ptr<CameraMetrics> metrics = std::make_shared<CameraMetrics>();  // so for its state
  std::unique_ptr<FrameSource> source;
  std::unique_ptr<MotionGate> motion;      // null: every selected frame goes to the model
  Batcher* batcher = nullptr;              // the model's, shared between cameras
  std::shared_ptr<const LabelSet> labels;  // the model's
  Hash128 identity;                        // of camera, source and model: part of every id
  size_t frames_in_flight = 8;
  size_t live_waiting = 0;                 // frames before the model, the oldest dropped; 0: a recording
  std::unique_ptr<Tracker> tracker;
  std::unique_ptr<EventEngine> events;
  std::function<absl::Status(const FrameMeta& first, CameraParts* parts)> set_up;
  std::vector<DeliverLane*> lanes;
  bool trace = false;                      // results and log lines about a frame carry its trace context
  uint64_t max_frames = 0;                 // selected frames to read at most; 0 = all
};

// Threads: Run() is called once, on the camera's own thread, and starts a reader thread of its own.
// RequestStop() and the counters may be used from any thread.
class CameraPipeline {
 public:
  explicit CameraPipeline(CameraParts parts);

  // Until the source ends or is stopped; every frame that was read has then been processed or
  // counted as skipped or dropped. The source's error, if it ended with one.
  absl::Status Run();

  // Reads no further frame; those on their way are finished.
  void RequestStop();

  const CameraInfo& camera() const { return *parts_.camera; }
  FrameCounts counts() const { return parts_.ledger->Snapshot(); }
  const SourceInfo& source_info() const { return parts_.source->info(); }
  const FrameSource& source() const { return *parts_.source; }
  const CameraMetrics& metrics() const { return *parts_.metrics; }
  bool is_live() const { return parts_.live_waiting > 0; }
  size_t window_capacity() const { return window_.capacity(); }
  // After Run(): the rules' counts; null when a live camera gave not one frame.
  const EventEngine* events() const { return parts_.events.get(); }

  uint64_t tracks_confirmed() const { return tracks_confirmed_.load(std::memory_order_relaxed); }
  uint64_t events_emitted() const { return events_emitted_.load(std::memory_order_relaxed); }
  int64_t last_pts_us() const { return last_pts_us_.load(std::memory_order_relaxed); }
  // After Run(): confirmed tracks per class id.
  const std::vector<uint64_t>& tracks_per_class() const { return tracks_per_class_; }

  // A change of the camera's connection, to every sink. On the reading thread.
  void Deliver(const CameraStateChange& change);

 private:
  absl::Status ReadAll();
  bool IsWorthIt(const Frame& frame);
  void Submit(Frame&& frame, int64_t read_us);
  bool TrackAndWatch(FrameSlot* slot, FrameResult* result);
  void CountTombstone(const FrameMeta& frame, DropReason reason, const absl::Status& status);
  void Deliver(std::shared_ptr<FrameResult> result);
  void DeliverFinishedTracks();
  void FinishTracks();

  CameraParts parts_;
  ReorderWindow window_;
  // An idle result must not keep a decoder's picture, nor what comes with it.
  struct PooledResult : FrameResult {
    void OnReturn() {
      frame.pixels.reset();
      frame.truth.reset();
    }
  };
  ObjectPool<PooledResult> results_;
  ObjectPool<TrackSummary> summaries_;
  std::vector<TrackSummary> finished_tracks_;
  FrameMeta last_frame_;
  uint64_t tombstones_ = 0;
  bool keep_pixels_ = false;
  absl::Status set_up_status_;
  bool ended_ = false;  // the source came to its end; written by the reader, read after its join
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> tracks_confirmed_{0};
  std::atomic<uint64_t> events_emitted_{0};
  std::atomic<int64_t> last_pts_us_{0};
  std::vector<uint64_t> tracks_per_class_;
};

}  // namespace sightline
