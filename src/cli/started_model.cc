#include "cli/started_model.h"

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "cli/composition.h"
#include "cli/model_settings.h"
#include "cli/run_options.h"
#include "pipeline/detector_runner.h"

namespace sightline::cli {

absl::StatusOr<StartedModel> StartModel(const ModelChoice& choice) {
  RunOptions run;
  run.sources = {"input"};  // the model's part alone matters here; inputs are opened one by one
  run.check_sources = false;
  run.model = choice.model;
  run.backend = choice.backend;
  run.threads = choice.threads;
  run.confidence = choice.confidence;
  SL_ASSIGN_OR_RETURN(Config config, ConfigOf(run));
  ModelConfig& model = config.models[config.cameras[0].model_index];
  if (choice.nms_iou >= 0) model.nms.iou = static_cast<float>(choice.nms_iou);
  if (choice.threads > 0) model.instances = choice.threads;
  SL_ASSIGN_OR_RETURN(const DetectorFactory factory, OpenPromptedDetector(model, choice.prompts));
  StartedModel started;
  std::vector<std::unique_ptr<BatchRunner>> runners;
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const auto wanted = static_cast<size_t>(InstancesOf(model, cores));
  int max_batch = 1;
  do {
    SL_ASSIGN_OR_RETURN(std::unique_ptr<Detector> detector, factory());
    started.labels = detector->info().labels;
    started.stateful = detector->info().stateful;
    max_batch = detector->info().max_batch;
    runners.push_back(std::make_unique<DetectorRunner>(
        std::move(detector), std::make_shared<ModelMetrics>(1), 0, Clock::Real()));
  } while (!started.stateful && runners.size() < wanted);
  started.in_flight = 2 * static_cast<int>(runners.size()) * max_batch + 2;
  BatcherOptions batching;
  batching.name = "detect";
  batching.queue_capacity = std::max<size_t>(32, started.in_flight);
  batching.max_batch = max_batch;
  SL_ASSIGN_OR_RETURN(started.batcher, Batcher::Create(batching, std::move(runners)));
  return started;
}

}  // namespace sightline::cli
