// The last stage: a thread that hands results to sinks, behind a bounded queue.
//
// Cheap sinks (rows, lines) share a lane; slow ones (video, report) get their own, so that an encoder
// never holds up the database. Sinks come and go while results flow: a change takes its place in the
// queue like a result, so that every result meets either the sinks before it or those after it.
// Policy: Send() blocks while the queue is full; nothing is dropped here.
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
  using ErrorCallback = std::function<void(const absl::Status&)>;

  // ResourceExhausted when the system gives no thread.
  static absl::StatusOr<std::unique_ptr<DeliverLane>> Create(std::string name, size_t capacity,
                                                             ErrorCallback on_error);
  ~DeliverLane();  // Finish()es

  // Nothing is delivered after Finish().
  // `camera` (may be null) gets the time from the frame's capture to the end of its writing.
  void Send(std::shared_ptr<const FrameResult> result, std::shared_ptr<CameraMetrics> camera = nullptr);
  void Send(std::shared_ptr<const TrackSummary> track);
  void Send(std::shared_ptr<const CameraStateChange> change);
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

  // Delivers what is queued, closes the sinks and ends the thread. The first error of any sink, ever.
  // Idempotent. With `abandon` sinks are abandoned instead of closed.
  absl::Status Finish(bool abandon = false);

  const std::string& name() const { return name_; }
  size_t capacity() const { return queue_.capacity(); }
  QueueStats stats() const { return queue_.Stats(); }
  const LaneMetrics& metrics() const { return metrics_; }
  // Of the sinks in it that work.
  std::vector<std::string> sink_names() const EXCLUDES(mutex_);

 private:
  DeliverLane(std::string name, size_t capacity, ErrorCallback on_error);
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
                            std::shared_ptr<const CameraStateChange>,
                            std::shared_ptr<const CameraLedger>, std::shared_ptr<SinkChange>>;
  void Loop();
  void Deliver(const Item& item);
  void Deliver(const SentResult& sent);
  void TellNames() EXCLUDES(mutex_);
  void Carry(SinkChange& change);
  // Runs `call` on every sink that still works and is for that camera; null: for any.
  void ForEachSink(const CameraInfo* camera,
                   const std::function<absl::Status(ResultSink&)>& call);
  void CallSink(LaneSink& sink, const std::function<absl::Status(ResultSink&)>& call);

  const std::string name_;
  const ErrorCallback on_error_;
  std::vector<LaneSink> sinks_;  // the lane's thread; after the join, Finish()
  absl::Status first_error_;     // as sinks_
  LaneMetrics metrics_;
  mutable Mutex mutex_;
  std::vector<std::string> sink_names_ GUARDED_BY(mutex_);
  BoundedQueue<Item> queue_;
  std::thread thread_;
};

}  // namespace sightline
