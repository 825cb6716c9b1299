// The models of a run, each opened once and shared by the cameras that name it with the same
// settings.
//
// A model lives as long as a camera, or a graph that it is a part of, holds it. A stateful detector remembers one camera's pictures and
// is never shared.
// Threads: one at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "infer/batcher.h"
#include "pipeline/camera_metrics.h"
#include "pipeline/config/config.h"
#include "pipeline/graph/model_graph.h"
#include "types/detector.h"

namespace sightline {

struct Model {
  ModelConfig config;
  DetectorInfo info;
  int instances = 0;
  std::shared_ptr<ModelMetrics> metrics;
  std::shared_ptr<const ModelGraph> graph;  // null unless it has parts
  std::unique_ptr<Batcher> batcher;         // last: its threads use the rest
};

// A model is opened for batches of so many, or more where its settings ask for it: up to here another
// batch.max needs no other model.
inline constexpr int kMostLiveBatch = 32;

class ModelPool {
 public:
  using OpenDetector = std::function<absl::StatusOr<DetectorFactory>(const ModelConfig&)>;

  // At most `worker_threads` instances and threads of instances for each model. `open` is called once
  // for each of its devices, with the device in front of the providers.
  ModelPool(OpenDetector open, int worker_threads, const Clock& clock);

  // Errors: what opening the model has to say, as FailedPrecondition where it would be
  // InvalidArgument: it is the model's fault and not the configuration's.
  absl::StatusOr<std::shared_ptr<Model>> Get(const ModelConfig& wanted);

  // Has the models in use that are these batch as these say.
  void ChangeBatches(const std::vector<ModelConfig>& models) const;

  // Those in use, in the order in which they were opened.
  std::vector<std::shared_ptr<Model>> InUse() const;

 private:
  absl::StatusOr<std::shared_ptr<Model>> Open(const ModelConfig& wanted);

  const OpenDetector open_;
  const int worker_threads_;
  const Clock& clock_;
  std::vector<std::weak_ptr<Model>> models_;
};

// Whether both describe the same model, with the same content where it is known of both; where they
// stand in a file does not matter, nor how its jobs are batched, which can change while it runs.
bool SameModel(const ModelConfig& a, const ModelConfig& b);

}  // namespace sightline
