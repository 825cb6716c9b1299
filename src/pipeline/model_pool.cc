#include "pipeline/model_pool.h"

#include <algorithm>
#include <optional>
#include <utility>

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

}  // namespace

bool SameModel(const ModelConfig& a, const ModelConfig& b) {
  const bool same_content = a.content == b.content || a.content.empty() || b.content.empty();
  return same_content && a.name == b.name && a.origin == b.origin && a.reference == b.reference &&
         a.confidence == b.confidence && a.nms == b.nms && a.labels == b.labels &&
         a.max_batch == b.max_batch && a.max_batch_delay_us == b.max_batch_delay_us &&
         a.instances == b.instances && a.threads == b.threads && a.providers == b.providers &&
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

// The detectors of a model and its parts, which are opened; model->graph is set where there are any.
absl::StatusOr<DetectorFactory> ModelPool::OpenFactory(const ModelConfig& wanted, Model* model) {
  DetectorFactory first;
  std::optional<DetectorInfo> info;
  if (wanted.ensemble.empty()) {
    SL_ASSIGN_OR_RETURN(first, open_(wanted));
    if (!IsGraph(wanted)) return first;
    SL_ASSIGN_OR_RETURN(const std::unique_ptr<Detector> one, first());
    info = one->info();
  }
  SL_ASSIGN_OR_RETURN(model->graph,
                      MakeModelGraph(wanted, info ? &*info : nullptr,
                                     [this](const ModelConfig& part) { return Get(part); }));
  return DetectorFactory(
      [graph = model->graph, first]() -> absl::StatusOr<std::unique_ptr<Detector>> {
        std::unique_ptr<Detector> one;
        if (first) {
          SL_ASSIGN_OR_RETURN(one, first());
        }
        return MakeGraphDetector(graph, std::move(one));
      });
}

absl::StatusOr<std::shared_ptr<Model>> ModelPool::Open(const ModelConfig& wanted) {
  auto model = std::make_shared<Model>();
  const absl::StatusOr<DetectorFactory> factory = OpenFactory(wanted, model.get());
  if (!factory.ok()) return AsFailure(factory.status());
  absl::StatusOr<std::unique_ptr<Detector>> made = (*factory)();
  if (!made.ok()) return AsFailure(made.status());
  model->config = wanted;
  model->info = (*made)->info();
  // A model with threads of its own gets fewer instances, so that all of them fill the cores once.
  const int instances =
      wanted.instances > 0 ? wanted.instances : std::max(1, worker_threads_ / wanted.threads);
  model->instances = model->info.stateful ? 1 : instances;
  model->metrics = std::make_shared<ModelMetrics>(model->instances);
  std::vector<std::unique_ptr<BatchRunner>> runners;
  runners.push_back(std::make_unique<DetectorRunner>(*std::move(made), model->metrics, 0, clock_));
  while (runners.size() < static_cast<size_t>(model->instances)) {
    SL_ASSIGN_OR_RETURN(std::unique_ptr<Detector> next, (*factory)());
    runners.push_back(
        std::make_unique<DetectorRunner>(std::move(next), model->metrics, runners.size(), clock_));
  }
  model->batcher_options = {
      .name = wanted.name,
      .queue_capacity = static_cast<size_t>(std::max(8, 2 * model->instances)),
      .max_batch = model->info.max_batch,
      .max_per_source = 0,
      .max_delay_us = wanted.max_batch_delay_us,
  };
  SL_ASSIGN_OR_RETURN(model->batcher, Batcher::Create(model->batcher_options, std::move(runners)));
  return model;
}

std::vector<std::shared_ptr<Model>> ModelPool::InUse() const {
  std::vector<std::shared_ptr<Model>> models;
  for (const std::weak_ptr<Model>& model : models_) {
    if (std::shared_ptr<Model> there = model.lock()) models.push_back(std::move(there));
  }
  return models;
}

}  // namespace sightline
