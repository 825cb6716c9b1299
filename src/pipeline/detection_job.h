// A picture on its way through a model: what a model's batcher carries and its runner fills.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "infer/batcher.h"
#include "types/camera.h"
#include "types/detections.h"
#include "types/frame.h"

namespace sightline {

// `frame` is set by who submits it, the rest by the runner before Done().
class DetectionJob : public BatchJob {
 public:
  Frame frame;
  Detections detections;                             // capacity is reused from frame to frame
  DropReason failure = DropReason::kInferenceError;  // which step an error of Done() belongs to
  int64_t model_began_us =
      0;  // when the model began with it, by Clock::NowMonotonicUs(); 0: not yet
};

}  // namespace sightline
