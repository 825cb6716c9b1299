#include "pipeline/detector_runner.h"

#include <utility>

#include "pipeline/reorder_window.h"

namespace sightline {

DetectorRunner::DetectorRunner(std::unique_ptr<Detector> detector)
    : detector_(std::move(detector)) {}

void DetectorRunner::Run(std::span<BatchJob* const> batch) {
  jobs_.clear();
  for (BatchJob* job : batch) {
    auto* slot = static_cast<FrameSlot*>(job);
    slot->detections.items.clear();
    jobs_.push_back({.frame = &slot->frame, .result = &slot->detections, .status = {}});
  }
  detector_->Detect(jobs_);
  for (size_t i = 0; i < batch.size(); ++i) {
    static_cast<FrameSlot*>(batch[i])->failure = jobs_[i].failure;
    batch[i]->Done(jobs_[i].status);
  }
}

}  // namespace sightline
