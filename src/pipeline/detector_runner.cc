#include "pipeline/detector_runner.h"

#include <utility>

#include "pipeline/detection_job.h"

namespace sightline {

DetectorRunner::DetectorRunner(std::unique_ptr<Detector> detector,
                               std::shared_ptr<ModelMetrics> metrics, size_t instance,
                               const Clock& clock)
    : detector_(std::move(detector)),
      metrics_(std::move(metrics)),
      busy_(metrics_->busy[instance]),
      clock_(clock) {}

void DetectorRunner::Run(std::span<BatchJob* const> batch, std::span<absl::Status> statuses) {
  const int64_t begin_us = clock_.NowMonotonicUs();
  busy_.Begin(begin_us);
  jobs_.clear();
  for (BatchJob* job : batch) {
    auto* one = static_cast<DetectionJob*>(job);
    one->detections.ClearResults();
    one->model_began_us = begin_us;
    jobs_.push_back({.frame = &one->frame, .result = &one->detections, .status = {}});
  }
  detector_->Detect(jobs_);
  busy_.End();
  metrics_->batches.Add();
  metrics_->frames.Add(batch.size());
  if (const DetectTimes* times = detector_->last_times()) {
    metrics_->preprocess.Observe(times->preprocess_us);
    metrics_->inference.Observe(times->inference_us);
    metrics_->postprocess.Observe(times->postprocess_us);
  } else {
    metrics_->inference.Observe(clock_.NowMonotonicUs() - begin_us);
  }
  for (size_t i = 0; i < batch.size(); ++i) {
    static_cast<DetectionJob*>(batch[i])->failure = jobs_[i].failure;
    statuses[i] = std::move(jobs_[i].status);
  }
}

}  // namespace sightline
