#include "pipeline/model_pool.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "pipeline/as_failure.h"
#include "pipeline/detector_runner.h"

namespace sightline {

namespace {

bool SameParts(const ModelConfig& a, const ModelConfig& b) {
  return a.ensemble == b.ensemble && a.fusion_iou == b.fusion_iou && a.fallback == b.fallback &&
         a.crops == b.crops &&
         std::equal(a.parts.begin(), a.parts.end(), b.parts.begin(), b.parts.end(),
                    [](const auto& x, const auto& y) {
                      return x.first == y.first && SameModel(*x.second, *y.second);
                    });
}

// The largest batch that the model is opened for.
int OpenedBatch(const ModelConfig& model) {
  return std::max(kMostLiveBatch, model.max_batch.value_or(1));
}

BatcherOptions BatcherOptionsOf(const ModelConfig& wanted, const Model& model) {
  const DetectorInfo& info = model.info;
  const int usual = info.usual_batch > 0 ? info.usual_batch : info.max_batch;
  BatcherOptions options;
  options.name = wanted.name;
  options.max_batch = std::clamp(wanted.max_batch.value_or(usual), 1, std::max(1, info.max_batch));
  for (const int64_t size : wanted.preferred_batches) {
    if (size <= options.max_batch) options.preferred_sizes.push_back(static_cast<int>(size));
  }
  options.max_delay_us = wanted.max_batch_delay_us;
  options.adaptive_delay = wanted.adaptive_batch_delay;
  // A batch for each instance, and one each that waits.
  options.queue_capacity =
      static_cast<size_t>(std::max(8, 2 * model.instances * options.max_batch));
  return options;
}

bool SameBatches(const BatcherOptions& a, const BatcherOptions& b) {
  return a.max_batch == b.max_batch && a.preferred_sizes == b.preferred_sizes &&
         a.max_delay_us == b.max_delay_us && a.adaptive_delay == b.adaptive_delay;
}

// The detectors of a model: instance i runs on device i, in turn.
absl::StatusOr<std::vector<DetectorFactory>> OpenOnDevices(const ModelPool::OpenDetector& open,
                                                           const ModelConfig& wanted) {
  std::vector<DetectorFactory> factories;
  for (size_t i = 0; i < std::max<size_t>(1, wanted.devices.size()); ++i) {
    ModelConfig here = wanted;
    here.max_batch = OpenedBatch(wanted);
    if (!wanted.devices.empty()) {
      const std::string& device = wanted.devices[i];
      const auto provider = [](const std::string& text) { return text.substr(0, text.find(':')); };
      here.devices.clear();
      std::erase_if(here.providers,
                    [&](const std::string& other) { return provider(other) == provider(device); });
      here.providers.insert(here.providers.begin(), device);
    }
    SL_ASSIGN_OR_RETURN(DetectorFactory factory, open(here));
    factories.push_back(std::move(factory));
  }
  return factories;
}

}  // namespace

bool SameModel(const ModelConfig& a, const ModelConfig& b) {
  const bool same_content = a.content == b.content || a.content.empty() || b.content.empty();
  return same_content && a.name == b.name && a.origin == b.origin && a.reference == b.reference &&
         a.confidence == b.confidence && a.nms == b.nms && a.labels == b.labels &&
         OpenedBatch(a) == OpenedBatch(b) && a.instances == b.instances && a.threads == b.threads &&
         a.backend == b.backend && a.providers == b.providers && a.devices == b.devices &&
         a.vision_language == b.vision_language && SameParts(a, b);
}

ModelPool::ModelPool(OpenDetector open, int worker_threads, const Clock& clock)
    : open_(std::move(open)), worker_threads_(worker_threads), clock_(clock) {}

absl::StatusOr<std::shared_ptr<Model>> ModelPool::Get(const ModelConfig& wanted) {
  std::erase_if(models_, [](const std::weak_ptr<Model>& model) { return model.expired(); });
  for (const std::weak_ptr<Model>& model : models_) {
    const std::shared_ptr<Model> there = model.lock();
    if (there && !there->info.stateful && SameModel(there->config, wanted)) return there;
  }
  SL_ASSIGN_OR_RETURN(std::shared_ptr<Model> model, Open(wanted));
  models_.push_back(model);
  return model;
}

absl::StatusOr<std::shared_ptr<Model>> ModelPool::Open(const ModelConfig& wanted) {
  auto model = std::make_shared<Model>();
  std::vector<DetectorFactory> factories;
  if (wanted.ensemble.empty()) {
    absl::StatusOr<std::vector<DetectorFactory>> opened = OpenOnDevices(open_, wanted);
    if (!opened.ok()) return AsFailure(opened.status());
    factories = *std::move(opened);
  }
  // What each instance looks at a picture with first; null for an ensemble.
  const auto make_first = [&](size_t instance) -> absl::StatusOr<std::unique_ptr<Detector>> {
    if (factories.empty()) return std::unique_ptr<Detector>();
    return factories[instance % factories.size()]();
  };
  absl::StatusOr<std::unique_ptr<Detector>> made = make_first(0);
  if (!made.ok()) return AsFailure(made.status());
  if (IsGraph(wanted)) {
    auto graph = MakeModelGraph(wanted, *made != nullptr ? &(*made)->info() : nullptr,
                                [this](const ModelConfig& part) { return Get(part); });
    if (!graph.ok()) return AsFailure(graph.status());
    model->graph = *std::move(graph);
  }
  const auto with_parts = [&](std::unique_ptr<Detector> first) {
    return model->graph ? MakeGraphDetector(model->graph, std::move(first)) : std::move(first);
  };
  made = with_parts(*std::move(made));
  model->config = wanted;
  model->info = (*made)->info();
  // A model with threads of its own gets fewer instances, so that all of them fill the cores once.
  const int usual = wanted.devices.empty()
                        ? std::max(1, worker_threads_ / wanted.threads.value_or(1))
                        : static_cast<int>(wanted.devices.size());
  const int instances = wanted.instances > 0 ? wanted.instances : usual;
  model->instances = model->info.stateful ? 1 : instances;
  model->metrics = std::make_shared<ModelMetrics>(model->instances);
  std::vector<std::unique_ptr<BatchRunner>> runners;
  runners.push_back(std::make_unique<DetectorRunner>(*std::move(made), model->metrics, 0, clock_));
  while (runners.size() < static_cast<size_t>(model->instances)) {
    SL_ASSIGN_OR_RETURN(std::unique_ptr<Detector> next, make_first(runners.size()));
    runners.push_back(std::make_unique<DetectorRunner>(with_parts(std::move(next)), model->metrics,
                                                       runners.size(), clock_));
  }
  SL_ASSIGN_OR_RETURN(model->batcher,
                      Batcher::Create(BatcherOptionsOf(wanted, *model), std::move(runners)));
  return model;
}

void ModelPool::ChangeBatches(const std::vector<ModelConfig>& models) const {
  for (const std::shared_ptr<Model>& model : InUse()) {
    const auto found = std::find_if(models.begin(), models.end(), [&](const ModelConfig& wanted) {
      return SameModel(model->config, wanted);
    });
    if (found == models.end()) continue;
    const BatcherOptions options = BatcherOptionsOf(*found, *model);
    if (SameBatches(options, model->batcher->options())) continue;
    const absl::Status status = model->batcher->Reconfigure(options);
    if (SL_BUG_IF(!status.ok(), "batches of model {}: {}", found->name, MessageOf(status))) {
    }
  }
}

std::vector<std::shared_ptr<Model>> ModelPool::InUse() const {
  std::vector<std::shared_ptr<Model>> models;
  for (const std::weak_ptr<Model>& model : models_) {
    if (std::shared_ptr<Model> there = model.lock()) models.push_back(std::move(there));
  }
  return models;
}

}  // namespace sightline
