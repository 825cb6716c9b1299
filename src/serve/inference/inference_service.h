// What both protocols of the serving API call: one implementation behind HTTP and gRPC.
//
// Threads: safe. Infer() does not block; its answer comes on a thread of the model.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/metrics.h"
#include "base/status.h"
#include "serve/cache/model_caches.h"
#include "serve/inference/infer_message.h"
#include "serve/inference/model_repository.h"
#include "serve/inference/request_traces.h"
#include "serve/inference/service_settings.h"
#include "serve/inference/shared_memory.h"

namespace sightline::serve {

struct InferenceServiceOptions {
  std::string version;  // of the program
  ModelRepositoryOptions models;
  std::vector<ServedModelChoice> choices;
  bool shared_memory = false;  // whether clients may register regions
  std::string trace_file;      // request_traces.h; "": traces cannot be switched on
  // Of the caches of models that have one; empty: in memory.
  ModelCaches::MakeStore cache_store = {};
};

class InferenceService {
 public:
  static constexpr std::string_view kName = "sightline";
  static constexpr std::string_view kNoCudaSharedMemory =
      "CUDA shared memory is not supported; system shared memory is";

  // As ModelRepository::Create() and RequestTraces::Open(). Nothing is loaded yet.
  static absl::StatusOr<std::unique_ptr<InferenceService>> Create(InferenceServiceOptions options);

  // `done` on another thread, or this one when there is nothing to load.
  void Start(ModelRepository::LoadDone done) { repository_->LoadChosen(std::move(done)); }
  // Not ready any more; requests are still taken.
  void BeginDrain() { draining_.store(true, std::memory_order_relaxed); }
  // After it nothing is accepted. What waits is answered Cancelled: whoever wants the answers has waited for
  // them before.
  void Stop();

  bool Ready() const;
  // Errors, by `done` like answers: NotFound (no such model or version), Unavailable (not loaded),
  // InvalidArgument (does not fit the model), ResourceExhausted (too many wait), DeadlineExceeded
  // (not begun in time), Internal (the model failed).
  void Infer(InferRequest&& request, InferDone done);

  // For a request whose head came: ServedModel::Reserve() of that model; 0 when there is no such model.
  int64_t Reserve(std::string_view model, std::string_view version) const;

  // The names of extensions, as metadata lists them.
  std::vector<std::string> Extensions() const;
  const std::string& version() const { return version_; }
  ModelRepository& repository() { return *repository_; }
  const ModelRepository& repository() const { return *repository_; }
  SharedMemory& shared_memory() { return shared_memory_; }
  ServiceSettings& settings() { return settings_; }
  ModelCaches& caches() { return *caches_; }

  // Unimplemented: clients may ask for a model to be loaded, not say how.
  static absl::Status RefuseLoadParameter(std::string_view parameter);

  // In Triton's names where Triton has them (docs/serving.md).
  void CollectMetrics(MetricWriter& writer) const;

 private:
  InferenceService(std::string version, bool shared_memory, std::unique_ptr<RequestTraces> traces,
                   const Clock& clock)
      : version_(std::move(version)),
        clock_(clock),
        shared_memory_(shared_memory),
        traces_(std::move(traces)),
        settings_(traces_ != nullptr ? traces_->file() : "") {}
  // Past the cache, by the model that was found.
  void Run(InferRequest&& request, InferDone done, int64_t received_us,
           absl::StatusOr<std::shared_ptr<ServedModel>> model);

  const std::string version_;
  const Clock& clock_;
  std::atomic<bool> draining_{false};
  SharedMemory shared_memory_;
  const std::unique_ptr<RequestTraces> traces_;  // may be null
  ServiceSettings settings_;
  std::unique_ptr<ModelCaches> caches_;
  std::unique_ptr<ModelRepository> repository_;
};

}  // namespace sightline::serve
