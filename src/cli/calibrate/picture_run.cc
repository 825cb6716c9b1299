#include "cli/calibrate/picture_run.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "base/thread.h"
#include "base/time.h"
#include "detect/neural_detector.h"

namespace sightline::cli {
namespace {

// Shared by the threads of one run.
class Work {
 public:
  Work(const PictureRun& run, std::vector<evaluate::PictureResults>& results)
      : run_(run), results_(results) {}

  void Take(Detector& detector) {
    const auto camera =
        std::make_shared<const CameraInfo>(CameraInfo{.id = "calibrate", .source = "calibrate"});
    Detections found;
    for (size_t i = next_++; i < run_.pictures && !failed_; i = next_++) {
      const absl::Status status = One(detector, camera, i, &found);
      const MutexLock lock(mutex_);
      if (!status.ok()) {
        if (first_.ok()) first_ = status;
        failed_ = true;
      } else if (run_.progress) {
        run_.progress(++done_);
      }
    }
  }

  absl::Status status() {
    const MutexLock lock(mutex_);
    return first_;
  }

 private:
  absl::Status One(Detector& detector, const std::shared_ptr<const CameraInfo>& camera, size_t i,
                   Detections* found) {
    if (run_.stop && run_.stop()) return Cancelled("stopped");
    SL_ASSIGN_OR_RETURN(Frame frame, run_.read(i));
    frame.meta.camera = camera;
    frame.meta.ordinal = i;
    DetectJob job{.frame = &frame, .result = found};
    detector.Detect({&job, 1});
    SL_RETURN_IF_ERROR(job.status);
    if (found->class_map.width > 0) {
      return Unimplemented(
          "this model gives a class for every pixel, which this command does not compare");
    }
    if (found->anomaly.width > 0) {
      return Unimplemented("this model gives anomalies, which this command does not compare");
    }
    evaluate::PictureResults& results = results_[i];
    results.boxes = found->items;
    if (!found->classes.empty()) results.surest_class = found->classes.front();
    results.embedding = found->embedding;
    return absl::OkStatus();
  }

  const PictureRun& run_;
  std::vector<evaluate::PictureResults>& results_;
  std::atomic<size_t> next_{0};
  std::atomic<bool> failed_{false};
  Mutex mutex_;
  size_t done_ GUARDED_BY(mutex_) = 0;
  absl::Status first_ GUARDED_BY(mutex_);
};

absl::StatusOr<std::unique_ptr<InferenceSession>> OpenWithRamp(InferenceBackend& backend,
                                                               const ModelSpec& model) {
  SL_ASSIGN_OR_RETURN(std::unique_ptr<InferenceSession> session,
                      backend.Open({.model_file = model.file, .intra_op_threads = 1}));
  for (size_t input = 0; input < session->inputs().size(); ++input) {
    const TensorInfo& info = session->inputs()[input];
    std::vector<int64_t> shape = info.shape;
    if (info.name == model.input_name && shape.size() == 4) {
      shape = model.input.layout == TensorLayout::kNchw
                  ? std::vector<int64_t>{shape[0], 3, model.input.height, model.input.width}
                  : std::vector<int64_t>{shape[0], model.input.height, model.input.width, 3};
    } else if (info.name == model.input_name && shape.size() == 3) {
      shape = model.input.layout == TensorLayout::kNchw
                  ? std::vector<int64_t>{3, model.input.height, model.input.width}
                  : std::vector<int64_t>{model.input.height, model.input.width, 3};
    }
    for (int64_t& side : shape) side = side < 0 ? 1 : side;
    SL_ASSIGN_OR_RETURN(void* const data, session->InputBuffer(input, shape));
    int64_t elements = 1;
    for (const int64_t side : shape) elements *= side;
    for (int64_t i = 0; i < elements; ++i) {
      if (info.dtype == DataType::kFloat32) static_cast<float*>(data)[i] = 0.25f + (i % 251) * 0.5f;
      if (info.dtype == DataType::kInt64) static_cast<int64_t*>(data)[i] = 640;
    }
  }
  return session;
}

}  // namespace

absl::StatusOr<std::vector<evaluate::PictureResults>> RunOver(const ModelSpec& spec,
                                                              InferenceBackend& backend,
                                                              const PictureRun& run) {
  SL_ASSIGN_OR_RETURN(
      const DetectorFactory factory,
      MakeNeuralDetectorFactory(spec, backend, {.threads = 1, .confidence = run.confidence}));
  std::vector<std::unique_ptr<Detector>> detectors;
  const size_t wanted =
      std::min<size_t>(std::max(1, run.threads), std::max<size_t>(1, run.pictures));
  while (detectors.size() < wanted) {
    SL_ASSIGN_OR_RETURN(std::unique_ptr<Detector> detector, factory());
    detectors.push_back(std::move(detector));
  }
  std::vector<evaluate::PictureResults> results(run.pictures);
  Work work(run, results);
  std::vector<std::thread> threads;
  absl::Status started;
  for (size_t i = 1; i < detectors.size() && started.ok(); ++i) {
    auto thread =
        StartThread("calibrate", [&work, &detector = *detectors[i]] { work.Take(detector); });
    started = thread.status();
    if (thread.ok()) threads.push_back(*std::move(thread));
  }
  work.Take(*detectors[0]);
  for (std::thread& thread : threads) thread.join();
  SL_RETURN_IF_ERROR(started);
  SL_RETURN_IF_ERROR(work.status());
  return results;
}

absl::StatusOr<std::vector<double>> InferenceCpuMs(InferenceBackend& backend,
                                                   const std::vector<ModelSpec>& models,
                                                   int rounds) {
  constexpr int kWarmUp = 3;
  std::vector<std::unique_ptr<InferenceSession>> sessions;
  for (const ModelSpec& model : models) {
    SL_ASSIGN_OR_RETURN(std::unique_ptr<InferenceSession> session, OpenWithRamp(backend, model));
    sessions.push_back(std::move(session));
  }
  std::vector<std::vector<double>> times(models.size());
  for (int round = 0; round < kWarmUp + rounds; ++round) {
    for (size_t i = 0; i < sessions.size(); ++i) {
      const double before_s = ThreadCpuSeconds();
      SL_RETURN_IF_ERROR(sessions[i]->Run().status());
      if (round >= kWarmUp) times[i].push_back((ThreadCpuSeconds() - before_s) * 1e3);
    }
  }
  std::vector<double> medians;
  for (std::vector<double>& of : times) {
    const auto middle = of.begin() + static_cast<std::ptrdiff_t>(of.size() / 2);
    std::nth_element(of.begin(), middle, of.end());
    medians.push_back(*middle);
  }
  return medians;
}

}  // namespace sightline::cli
