// A detector as the batcher sees it: a batch of frame slots in, each slot's detections filled.
// Threads: one at a time.
#pragma once

#include <memory>
#include <vector>

#include "infer/batcher.h"
#include "types/detector.h"

namespace sightline {

class DetectorRunner final : public BatchRunner {
 public:
  explicit DetectorRunner(std::unique_ptr<Detector> detector);
  int max_batch() const override { return detector_->info().max_batch; }
  // Jobs are FrameSlots. Detector::Detect does preprocess, inference and postprocess of each.
  void Run(std::span<BatchJob* const> batch) override;

 private:
  std::unique_ptr<Detector> detector_;
  std::vector<DetectJob> jobs_;  // reused
};

}  // namespace sightline
