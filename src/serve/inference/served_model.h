// One version of a model, loaded and ready: its sessions behind a batcher, what it wants and gives, and
// what it has done.
//
// Threads: safe. A ServedModel must not be destroyed on one of its batcher's threads: whoever takes it
// out of use calls Stop() first.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "infer/backend.h"
#include "infer/batcher.h"
#include "infer/model_format.h"
#include "serve/inference/infer_call.h"
#include "serve/inference/infer_message.h"
#include "serve/inference/model_statistics.h"
#include "types/detections.h"

namespace sightline::serve {

// How a model is run. All defaults are chosen.
struct ModelSettings {
  int instances = 0;  // sessions, each on a thread; 0 = one a core, or two on a GPU
  int threads = 1;    // of one session
  // Rows of one run. Below 0: as many as kUsualMaxBatch where rows turn out to be independent of each
  // other (row_probe.h), else 0. 0: the first dimension is none of rows.
  int max_batch = -1;
  std::vector<int> preferred_batches = {};
  int64_t max_delay_us = 5000;  // at most, and only where it pays (infer/batch_policy.h)
  size_t queue = 256;           // requests that wait; more are refused
  int priority = kUsualPriority;
  int64_t timeout_us = 0;  // of requests that say nothing; 0 = none
  std::vector<std::string> providers = {};
};
inline constexpr int kUsualMaxBatch = 32;
inline constexpr int kAnyBatch = 0;  // for backends: what comes in a run is not known

struct ModelVersionOptions {
  std::string name;
  std::string version;  // "1"
  std::string file;
  std::shared_ptr<const LabelSet> labels = {};  // may be null
  ModelSettings settings = {};
  const Clock* clock = &Clock::Real();  // outlives the model
};

class ServedModel {
 public:
  // Opens the sessions and runs each once on zeros. Errors are those of the backend, and
  // InvalidArgument for settings that the model cannot have.
  // Cost: loading the model, and some inferences.
  static absl::StatusOr<std::shared_ptr<ServedModel>> Open(const ModelVersionOptions& options,
                                                           InferenceBackend& backend);

  const std::string& name() const { return options_.name; }
  const std::string& version() const { return options_.version; }
  std::string_view backend() const { return backend_; }  // "onnxruntime"
  ModelFormat format() const { return format_; }
  // As the file declares them, the dimension of rows included.
  std::span<const TensorInfo> inputs() const { return inputs_; }
  std::span<const TensorInfo> outputs() const { return outputs_; }
  // Rows of one run; 0: the first dimension is none of rows.
  int max_batch() const { return max_batch_; }
  const ModelSettings& settings() const { return options_.settings; }
  int instances() const { return instances_; }
  const LabelSet* labels() const { return options_.labels.get(); }

  // Takes the request; the answer comes by `call->done`. When it is refused `call` is left as it was:
  // InvalidArgument for what does not fit the model; ResourceExhausted when too many wait; Unavailable
  // after Stop().
  static absl::Status Submit(std::shared_ptr<ServedModel> model, std::unique_ptr<InferCall>& call);

  // Answers what waits, then refuses. Idempotent; not on a thread of its own.
  void Stop() { batcher_->Stop(/*discard=*/false); }
  // The same, but what waits is answered Cancelled.
  void Discard() { batcher_->Stop(/*discard=*/true); }

  ModelStatistics& statistics() { return statistics_; }
  const ModelStatistics& statistics() const { return statistics_; }
  BatcherCounts batcher_counts() const { return batcher_->Counts(); }
  const Clock& clock() const { return *options_.clock; }

 private:
  explicit ServedModel(const ModelVersionOptions& options) : options_(options) {}
  absl::Status Prepare(InferCall& call) const;
  absl::Status PrepareInput(size_t port, const InferInput& input, InferCall& call) const;
  absl::Status PrepareOutputs(InferCall& call) const;

  const ModelVersionOptions options_;
  std::string backend_;
  ModelFormat format_ = ModelFormat::kOnnx;
  std::vector<TensorInfo> inputs_;
  std::vector<TensorInfo> outputs_;
  int max_batch_ = 0;
  int instances_ = 0;
  ModelStatistics statistics_;
  std::unique_ptr<Batcher> batcher_;  // last: its threads use what stands above
};

}  // namespace sightline::serve
