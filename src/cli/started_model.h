// One model with its batcher and a runner a thread, started as a run would start it, for commands
// that put pictures through it without a pipeline.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "detect/promptable_segmenter.h"
#include "infer/batcher.h"
#include "types/detections.h"

namespace sightline::cli {

struct ModelChoice {
  std::string model;
  std::string backend;     // empty: as tuned, else the default
  double confidence = -1;  // below 0: the model's own
  double nms_iou = -1;
  int threads = 0;  // 0: one a core
  std::vector<Prompt> prompts;
};

struct StartedModel {
  std::shared_ptr<const LabelSet> labels;
  bool stateful = false;             // follows one camera's frames; single pictures tell it nothing
  int in_flight = 0;                 // how many frames keep it busy
  std::unique_ptr<Batcher> batcher;  // takes FrameSlots of a ReorderWindow
};

// Errors: those of the model (not there, not recognised, no backend).
absl::StatusOr<StartedModel> StartModel(const ModelChoice& choice);

}  // namespace sightline::cli
