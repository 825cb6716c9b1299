// The last stage: a thread that hands results to sinks, behind a bounded queue.
//
// Cheap sinks (rows, lines) share a lane; slow ones (video, report) get their own, so that an encoder
// never holds up the database. Policy: Send() blocks while the queue is full; nothing is dropped here.
// Errors: a sink that fails is closed at once, the others go on, and `on_error` is called (once per
// sink, on the lane's thread) so that the run can end with that error.
// Threads: any may send; sinks are called on the lane's thread alone.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "base/bounded_queue.h"
#include "pipeline/camera_metrics.h"
#include "types/result_sink.h"

namespace sightline {

class DeliverLane {
 public:
  using ErrorCallback = std::function<void(const absl::Status&)>;

  // ResourceExhausted when the system gives no thread.
  static absl::StatusOr<std::unique_ptr<DeliverLane>> Create(
      std::string name, std::vector<std::unique_ptr<ResultSink>> sinks, size_t capacity,
      ErrorCallback on_error);
  ~DeliverLane();  // Finish()es without ledgers

  // `camera` (may be null) gets the time from the frame's capture to the end of its writing.
  void Send(std::shared_ptr<const FrameResult> result, std::shared_ptr<CameraMetrics> camera = nullptr);
  void Send(std::shared_ptr<const TrackSummary> track);
  void Send(std::shared_ptr<const CameraStateChange> change);

  struct CameraLedger {
    std::shared_ptr<const CameraInfo> camera;
    FrameCounts counts;
  };
  // Delivers what is queued, writes the ledgers, closes the sinks and ends the thread. The first
  // error of any sink, ever. Idempotent. With `abandon` sinks are abandoned instead of closed.
  absl::Status Finish(const std::vector<CameraLedger>& ledgers, bool abandon = false);

  const std::string& name() const { return name_; }
  bool wants_pixels() const { return wants_pixels_; }
  std::vector<std::string> sink_names() const { return sink_names_; }
  size_t capacity() const { return queue_.capacity(); }
  QueueStats stats() const { return queue_.Stats(); }
  const LaneMetrics& metrics() const { return metrics_; }

 private:
  DeliverLane(std::string name, std::vector<std::unique_ptr<ResultSink>> sinks, size_t capacity,
              ErrorCallback on_error);
  struct SentResult {
    std::shared_ptr<const FrameResult> result;
    std::shared_ptr<CameraMetrics> camera;
    int64_t sent_us = 0;
  };
  using Item = std::variant<SentResult, std::shared_ptr<const TrackSummary>,
                            std::shared_ptr<const CameraStateChange>>;
  void Loop();
  void Deliver(const Item& item, int64_t begin_us);
  // Runs `call` on every sink that still works.
  void ForEachSink(const std::function<absl::Status(ResultSink&)>& call);

  const std::string name_;
  std::vector<std::unique_ptr<ResultSink>> sinks_;  // the lane's thread; after the join, Finish()
  std::vector<std::string> sink_names_;
  bool wants_pixels_ = false;
  const ErrorCallback on_error_;
  absl::Status first_error_;  // as sinks_
  LaneMetrics metrics_;
  BoundedQueue<Item> queue_;
  std::thread thread_;
};

}  // namespace sightline
