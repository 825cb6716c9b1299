// A detector: frames in, boxes out. Neural models, HOG, cascades and motion all look like this.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/metrics.h"
#include "base/status.h"
#include "base/uuid.h"
#include "types/detections.h"

namespace sightline {

struct DetectorInfo {
  std::string name;      // as people call it: "people", "yolox_nano"
  std::string describe;  // one line for `explain`: family, input shape, backend, threads
  Hash128 identity;      // of whatever changes its results; part of every id
  std::shared_ptr<const LabelSet> labels;
  bool stateful = false;  // needs every frame of one camera in order: one instance per camera
  int max_batch = 1;      // the most that Detect() takes
  int usual_batch = 0;    // how many at once unless somebody says otherwise; 0 = max_batch
  // How long Detect() may wait for others (servers, other models) beside its own work.
  int64_t may_wait_us = 0;
  // What it measures of itself beside its times, for a model of that name; empty: nothing. Any thread.
  std::function<void(std::string_view model, MetricWriter& writer)> collect_metrics = {};
};

// One frame's part of a Detect call. `status` is the frame's own: one bad frame does not fail the
// others.
struct DetectJob {
  const Frame* frame = nullptr;
  Detections* result = nullptr;  // `items` is cleared and filled; capacity is reused
  absl::Status status;
  // Least confidence of this frame's objects; below 0: the detector's own. For neural models; others
  // take no notice.
  float confidence = -1;
  DropReason failure = DropReason::kInferenceError;  // which step it was, when `status` is an error
};

// How long the parts of a Detect call took.
struct DetectTimes {
  int64_t preprocess_us = 0;
  int64_t inference_us = 0;
  int64_t postprocess_us = 0;
};

// Threads: one thread at a time per instance.
class Detector {
 public:
  virtual ~Detector() = default;
  virtual const DetectorInfo& info() const = 0;
  // jobs.size() <= info().max_batch.
  virtual void Detect(std::span<DetectJob> jobs) = 0;
  // Of the last Detect call; null from detectors whose work has no such parts.
  virtual const DetectTimes* last_times() const { return nullptr; }
};

// Makes further instances of one detector (they share what can be shared).
using DetectorFactory = std::function<absl::StatusOr<std::unique_ptr<Detector>>()>;

}  // namespace sightline
