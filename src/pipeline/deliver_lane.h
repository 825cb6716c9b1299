// The last stage: a thread that hands results to sinks, behind a bounded queue.
//
// Cheap sinks (rows, lines) share a lane; slow ones (video, report) get their own, so that an encoder
// never holds up the database. Sinks come and go while results flow: a change takes its place in the
// queue like a result, so that every result meets either the sinks before it or those after it.
// Policy: Send() blocks while the queue is full; nothing is dropped here. Changes of cameras' states have a
// place of their own and never block, since who reads a camera sends them: the lane takes them before its
// next entry. There is room for kMostStates; beyond that the oldest gives way, which is counted and said.
// Errors: a sink that fails is closed at once, the others go on, and `on_error` is called (once per
// sink, on the lane's thread) so that the run can end with that error.
// Threads: any may send; sinks are called on the lane's thread alone.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "base/bounded_queue.h"
#include "base/mutex.h"
#include "base/output_wait.h"
#include "base/time.h"
#include "pipeline/camera_metrics.h"
#include "types/result_sink.h"

namespace sightline {

// A sink in a lane.
struct LaneSink {
  std::string key;     // which one it is, for its removal; unique in its lane
  std::string camera;  // the id of the only camera that it is for; empty: for all
  std::unique_ptr<ResultSink> sink;
};

class DeliverLane {
 public:
  static constexpr size_t kMostStates = 1000;  // chosen: a bad night of a hundred cameras
  using ErrorCallback = std::function<void(const absl::Status&)>;
  struct Options {
    std::string name;
    size_t capacity = 0;
    ErrorCallback on_error;
    const Clock* clock = &Clock::Real();
    // Which its sinks use, so that it is known of the lane whether it waits.
    std::shared_ptr<OutputWait> wait = std::make_shared<OutputWait>();
  };

  // ResourceExhausted when the system gives no thread.
  static absl::StatusOr<std::unique_ptr<DeliverLane>> Create(Options options);
  ~DeliverLane();  // Finish()es

  // Nothing is delivered after Finish().
  // `camera` (may be null) gets the time from the frame's capture to the end of its writing.
  void Send(std::shared_ptr<const FrameResult> result,
            std::shared_ptr<CameraMetrics> camera = nullptr);
  void Send(std::shared_ptr<const TrackSummary> track);
  void Send(std::shared_ptr<const CameraStateChange> change) EXCLUDES(mutex_);
  struct CameraLedger {
    std::shared_ptr<const CameraInfo> camera;
    FrameCounts counts;
  };
  // The ledger of a camera so far.
  void Send(const CameraLedger& ledger);
  // The same, but left out when the queue is full: for those who must not wait and will come again.
  void Offer(const CameraLedger& ledger);
  // Closes the sinks with these keys and goes on with `added` as well, between two results. Waits
  // until that is done: another sink may then open what the old ones have closed.
  void Change(const std::vector<std::string>& removed, std::vector<LaneSink> added);

  // Sinks that cannot write for now fail instead of waiting, from now on. Any thread.
  void EndWaiting() { options_.wait->End(); }

  // Delivers what is queued, without waiting for a full disk, closes the sinks and ends the thread. The
  // first error of any sink, ever. Idempotent. With `abandon` sinks are abandoned instead of closed.
  absl::Status Finish(bool abandon = false);

  const std::string& name() const { return options_.name; }
  size_t capacity() const { return queue_.capacity(); }
  QueueStats stats() const EXCLUDES(mutex_);
  const LaneMetrics& metrics() const { return metrics_; }
  const std::shared_ptr<OutputWait>& wait() const { return options_.wait; }
  // Of the sinks in it that work.
  std::vector<std::string> sink_names() const EXCLUDES(mutex_);

 private:
  explicit DeliverLane(Options options);
  struct SinkChange {
    std::vector<std::string> removed;
    std::vector<LaneSink> added;
    Mutex mutex;
    CondVar carried;
    bool done GUARDED_BY(mutex) = false;
  };
  struct SentResult {
    std::shared_ptr<const FrameResult> result;
    std::shared_ptr<CameraMetrics> camera;
    int64_t sent_us = 0;
  };
  using Item = std::variant<SentResult, std::shared_ptr<const TrackSummary>,
                            std::shared_ptr<const CameraLedger>, std::shared_ptr<SinkChange>>;
  void Loop();
  void Deliver(const Item& item);
  void Deliver(const SentResult& sent);
  void DeliverStates() EXCLUDES(mutex_);
  void TellNames() EXCLUDES(mutex_);
  void Carry(SinkChange& change);
  // Runs `call` on every sink that still works and is for that camera; null: for any.
  void ForEachSink(const CameraInfo* camera, const std::function<absl::Status(ResultSink&)>& call);
  void CallSink(LaneSink& sink, const std::function<absl::Status(ResultSink&)>& call);

  const Options options_;
  std::vector<LaneSink> sinks_;  // the lane's thread; after the join, Finish()
  absl::Status first_error_;     // as sinks_
  LaneMetrics metrics_;
  mutable Mutex mutex_;
  std::vector<std::string> sink_names_ GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<const CameraStateChange>> states_ GUARDED_BY(mutex_);
  uint64_t states_dropped_ GUARDED_BY(mutex_) = 0;
  BoundedQueue<Item> queue_;
  std::thread thread_;
};

}  // namespace sightline
