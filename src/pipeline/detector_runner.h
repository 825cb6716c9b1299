// A detector as the batcher sees it: a batch of pictures in, the detections of each filled.
// Threads: one at a time.
#pragma once

#include <memory>
#include <vector>

#include "base/time.h"
#include "infer/batcher.h"
#include "pipeline/camera_metrics.h"
#include "types/detector.h"

namespace sightline {

class DetectorRunner final : public BatchRunner {
 public:
  // `instance`: which of the model's busy times it keeps.
  DetectorRunner(std::unique_ptr<Detector> detector, std::shared_ptr<ModelMetrics> metrics,
                 size_t instance, const Clock& clock);
  int max_batch() const override { return detector_->info().max_batch; }
  // Jobs are DetectionJobs. Detector::Detect does preprocess, inference and postprocess of each.
  void Run(std::span<BatchJob* const> batch, std::span<absl::Status> statuses) override;

 private:
  std::unique_ptr<Detector> detector_;
  const std::shared_ptr<ModelMetrics> metrics_;
  BusySince& busy_;
  const Clock& clock_;
  std::vector<DetectJob> jobs_;  // reused
};

}  // namespace sightline
