// What is measured of one camera, one model, one lane, beside the ledger: written by the threads that
// do the work, read by whoever exports (engine_metrics.h).
//
// Threads: safe. Cost: some ten clock reads and twenty relaxed additions a frame over all of them,
// under 1 us together. Times are of Clock::NowMonotonicUs() unless they say utc.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/metrics.h"
#include "base/mutex.h"
#include "types/camera.h"

namespace sightline {

// Since when a thread has been at one piece of work; idle when 0. A thread that never comes back from
// a write or a model is seen by this.
class BusySince {
 public:
  void Begin(int64_t now_us) { since_us_.store(now_us, std::memory_order_relaxed); }
  void End() { since_us_.store(0, std::memory_order_relaxed); }
  // For how long; 0 when idle.
  int64_t BusyUs(int64_t now_us) const {
    const int64_t since_us = since_us_.load(std::memory_order_relaxed);
    return since_us == 0 ? 0 : std::max<int64_t>(0, now_us - since_us);
  }

 private:
  std::atomic<int64_t> since_us_{0};
};

struct CameraMetrics {
  // CPU time of the reading thread from one frame to the next: demux, decode, the look for motion. Not
  // wall time, most of which is waiting for the camera or for room.
  Histogram read_cpu{kStageBoundsUs};
  Histogram queue_wait{kWaitBoundsUs};  // from being read to the model's beginning
  Histogram track{kStageBoundsUs};      // tracker and rules
  Histogram capture_to_delivery{
      kWaitBoundsUs};                     // live only: from capture to the first lane's write
  Gauge in_window;                        // frames between reader and tracker
  std::atomic<int64_t> last_frame_us{0};  // when the last one was read; 0 before the first
  BusySince tracking;

  std::atomic<CameraState> state{CameraState::kConnecting};
  Counter attempts;  // to connect
  Counter gaps;      // times that it came back
  Counter gap_us;    // without a frame, of the gaps that are over

  std::string reason() const EXCLUDES(mutex) {
    MutexLock lock(mutex);
    return reason_text;
  }
  void SetReason(std::string_view text) EXCLUDES(mutex) {
    MutexLock lock(mutex);
    reason_text = text;
  }
  mutable Mutex mutex;
  std::string reason_text GUARDED_BY(mutex);  // of the last fault, without secrets
};

struct ModelMetrics {
  explicit ModelMetrics(size_t instances) : busy(instances) {}
  // Of a batch. What a detector does not tell apart is inference.
  Histogram preprocess{kStageBoundsUs};
  Histogram inference{kStageBoundsUs};
  Histogram postprocess{kStageBoundsUs};
  Counter batches;
  Counter frames;
  std::vector<BusySince> busy;  // one an instance
};

struct LaneMetrics {
  Histogram wait{kWaitBoundsUs};    // of frame results in the queue
  Histogram write{kStageBoundsUs};  // of a frame's results, all sinks of the lane
  Counter written;                  // frame results
  Counter failed_sinks;
  BusySince busy;
};

}  // namespace sightline
