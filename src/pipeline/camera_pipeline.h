// One camera's way from its source to its results. docs/life_of_a_frame.md walks the same steps.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/object_pool.h"
#include "base/status.h"
#include "base/time.h"
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
  std::shared_ptr<FrameLedger> ledger;  // the source counts into the same one
  std::shared_ptr<CameraMetrics> metrics = std::make_shared<CameraMetrics>();  // so for its state
  std::unique_ptr<FrameSource> source;
  std::unique_ptr<MotionGate> motion;      // null: every selected frame goes to the model
  Batcher* batcher = nullptr;              // the model's, shared between cameras
  std::shared_ptr<const LabelSet> labels;  // the model's
  Hash128 identity;                        // of camera, source and model: part of every id
  size_t frames_in_flight = 8;
  int priority = kUsualPriority;  // before the model, to begin with
  size_t live_waiting = 0;        // frames before the model, the oldest dropped; 0: a recording
  std::unique_ptr<Tracker> tracker;
  Hash128 tracker_identity;  // TrackerOptions::identity of `tracker`
  std::unique_ptr<EventEngine> events;
  std::function<absl::Status(const FrameMeta& first, CameraParts* parts)> set_up;
  uint32_t rules_version = 0;           // FrameResult::rules_version to begin with
  const Clock* clock = &Clock::Real();  // for what is measured
  bool trace = false;       // results and log lines about a frame carry its trace context
  uint64_t max_frames = 0;  // selected frames to read at most; 0 = all
};

// Where a camera's results go.
struct Outlets {
  std::vector<std::shared_ptr<DeliverLane>> lanes;
  bool wants_pixels = false;  // any of their sinks
};

// Life: Start(), then Go() or the destructor; RequestStop() where it should end before its source
// does; Join(). Threads: two of its own, one that reads and one that tracks and delivers.
// RequestStop(), SetOutlets(), SetRules() and the counters may be used from any thread.
class CameraPipeline {
 public:
  // Puts new rules, and perhaps another tracker, into the parts, for frames like `next`; appends what
  // ends with the old ones. Called on the camera's thread between two frames.
  using RulesChange =
      std::function<absl::Status(const FrameMeta& next, CameraParts* parts,
                                 std::vector<Event>* events, std::vector<TrackSummary>* finished)>;

  explicit CameraPipeline(CameraParts parts);
  ~CameraPipeline();  // stops and joins
  CameraPipeline(const CameraPipeline&) = delete;
  CameraPipeline& operator=(const CameraPipeline&) = delete;

  // Starts the threads, which wait for Go(): whatever can fail has been done by then.
  // `on_end` is called last of all on the camera's thread, if it ever went. ResourceExhausted.
  absl::Status Start(std::function<void()> on_end);
  void Go();
  // Ends the threads if they still wait for Go().
  void Abandon();

  // Reads no further frame; those on their way are finished.
  void RequestStop();

  // Waits until the source ended or was stopped; every frame that was read has then been processed
  // or counted as skipped or dropped. The source's error, if it ended with one.
  absl::Status Join();

  // From the next result on.
  void SetOutlets(std::shared_ptr<const Outlets> outlets) EXCLUDES(mutex_);
  std::shared_ptr<const Outlets> outlets() const EXCLUDES(mutex_);
  // Before the next frame. When `change` fails, the camera goes on as it was, with a warning.
  void SetRules(RulesChange change) EXCLUDES(mutex_);
  // Of the frames that are read from now on.
  void SetPriority(int priority) { priority_.store(priority, std::memory_order_relaxed); }

  const CameraInfo& camera() const { return *parts_.camera; }
  FrameCounts counts() const { return parts_.ledger->Snapshot(); }
  const SourceInfo& source_info() const { return parts_.source->info(); }
  const FrameSource& source() const { return *parts_.source; }
  const CameraMetrics& metrics() const { return *parts_.metrics; }
  bool is_live() const { return parts_.live_waiting > 0; }
  size_t window_capacity() const { return window_.capacity(); }
  size_t live_waiting() const { return parts_.live_waiting; }
  // Of the last frame that was processed; 0 before the first.
  int width() const { return width_.load(std::memory_order_relaxed); }
  int height() const { return height_.load(std::memory_order_relaxed); }
  // After Join(): the rules' counts; null when a live camera gave not one frame.
  const EventEngine* events() const { return parts_.events.get(); }

  uint64_t tracks_confirmed() const { return tracks_confirmed_.load(std::memory_order_relaxed); }
  uint64_t events_emitted() const { return events_emitted_.load(std::memory_order_relaxed); }
  int64_t last_pts_us() const { return last_pts_us_.load(std::memory_order_relaxed); }
  // After Join(): confirmed tracks per class id.
  const std::vector<uint64_t>& tracks_per_class() const { return tracks_per_class_; }

  // A change of the camera's connection, to every sink. On the reading thread, or when that is joined.
  void Deliver(const CameraStateChange& change);
  // What the camera counted earlier in the run, in another ledger: is added to what is delivered. Before
  // it is given outlets.
  void CountFrom(const FrameCounts& earlier) { earlier_ = earlier; }
  // The counts so far, to every sink. Any thread.
  void DeliverLedger();
  // The same, but sinks that are behind are passed over: never waits.
  void OfferLedger();

 private:
  enum class Gate : uint8_t { kClosed, kOpen, kAbandoned };
  bool PassGate() EXCLUDES(mutex_);
  void OpenGate(Gate to) EXCLUDES(mutex_);
  absl::Status Run();
  absl::Status ReadAll();
  void TellEnd();
  void ChangeRules(const FrameMeta& next, FrameResult* result);
  bool IsWorthIt(const Frame& frame);
  void Submit(Frame&& frame, int64_t read_us);
  void TakeWaitingEvents(FrameResult* result);
  bool TrackAndWatch(FrameSlot* slot, FrameResult* result);
  void CountTombstone(const FrameMeta& frame, DropReason reason, const absl::Status& status);
  void Deliver(std::shared_ptr<FrameResult> result);
  DeliverLane::CameraLedger Ledger() const;
  void DeliverFinishedTracks(const Outlets& to);
  void FinishTracks();

  CameraParts parts_;
  FrameCounts earlier_;
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
  std::vector<TrackSummary> finished_tracks_;  // not delivered yet
  std::vector<Event> waiting_events_;          // as well
  FrameMeta last_frame_;
  uint64_t tombstones_ = 0;
  absl::Status set_up_status_;
  bool ended_ = false;  // the source came to its end; written by the reader, read after its join
  uint64_t earlier_tracks_ = 0;  // confirmed by trackers that were replaced
  std::thread reader_;
  std::thread thread_;
  absl::Status source_status_;  // written by the reader, read after its join
  absl::Status status_;         // written by the camera's thread, read after its join
  std::function<void()> on_end_;

  mutable Mutex mutex_;
  CondVar gate_moved_;
  Gate gate_ GUARDED_BY(mutex_) = Gate::kClosed;
  std::shared_ptr<const Outlets> outlets_ GUARDED_BY(mutex_);
  RulesChange rules_change_ GUARDED_BY(mutex_);
  std::atomic<bool> rules_due_{false};

  std::atomic<int> priority_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> width_{0};
  std::atomic<int> height_{0};
  std::atomic<uint64_t> tracks_confirmed_{0};
  std::atomic<uint64_t> events_emitted_{0};
  std::atomic<int64_t> last_pts_us_{0};
  std::vector<uint64_t> tracks_per_class_;
};

}  // namespace sightline
