#include "serve/inference/inference_service.h"

#include <utility>

#include "serve/inference/cached_infer.h"

namespace sightline::serve {
namespace {

using enum MetricType;

constexpr MetricInfo kSuccess = {"nv_inference_request_success", kCounter,
                                 "Number of successful inference requests, all batch sizes"};
constexpr MetricInfo kFailure = {"nv_inference_request_failure", kCounter,
                                 "Number of failed inference requests, all batch sizes"};
constexpr MetricInfo kCount = {"nv_inference_count", kCounter,
                               "Number of inferences performed (does not include cached requests)"};
constexpr MetricInfo kExecCount = {"nv_inference_exec_count", kCounter,
                                   "Number of model executions performed"};
constexpr MetricInfo kRequestUs = {"nv_inference_request_duration_us", kCounter,
                                   "Cumulative inference request duration in microseconds"};
constexpr MetricInfo kQueueUs = {"nv_inference_queue_duration_us", kCounter,
                                 "Cumulative inference queuing duration in microseconds"};
constexpr MetricInfo kInputUs = {"nv_inference_compute_input_duration_us", kCounter,
                                 "Cumulative compute input duration in microseconds"};
constexpr MetricInfo kInferUs = {"nv_inference_compute_infer_duration_us", kCounter,
                                 "Cumulative compute inference duration in microseconds"};
constexpr MetricInfo kOutputUs = {"nv_inference_compute_output_duration_us", kCounter,
                                  "Cumulative inference compute output duration in microseconds"};
constexpr MetricInfo kPending = {"nv_inference_pending_request_count", kGauge,
                                 "Instantaneous number of pending requests awaiting execution"};
constexpr MetricInfo kTracesLeftOut = {"sightline_serve_traces_left_out_total", kCounter,
                                       "Traces of requests that were not written for want of room"};
constexpr MetricInfo kCacheHits = {"nv_cache_num_hits_per_model", kCounter,
                                   "Number of cache hits per model"};
constexpr MetricInfo kCacheHitUs = {"nv_cache_hit_duration_per_model", kCounter,
                                    "Total cache hit duration per model, in microseconds"};
constexpr MetricInfo kCacheMisses = {"nv_cache_num_misses_per_model", kCounter,
                                     "Number of cache misses per model"};
constexpr MetricInfo kCacheMissUs = {"nv_cache_miss_duration_per_model", kCounter,
                                     "Total cache miss duration per model, in microseconds"};
constexpr MetricInfo kOverload = {"sightline_serve_overload_refused_total", kCounter,
                                  "Requests refused because they would have waited too long"};
constexpr MetricInfo kOverloaded = {"sightline_serve_overloaded", kGauge,
                                    "1 while requests are refused that would wait, because the "
                                    "model's queue was full"};
constexpr MetricInfo kExpectedWait = {
    "sightline_serve_expected_wait_seconds", kGauge,
    "How long a request of the usual priority is expected to wait"};
constexpr MetricInfo kReady = {"sightline_serve_ready", kGauge,
                               "1 while every model is ready and the server is not ending"};

void CollectModel(ServedModel& model, MetricWriter& writer) {
  const ModelCounts counts = model.statistics().Counts();
  const auto write = [&](const MetricInfo& metric, uint64_t value) {
    writer.Write(metric, {{"model", model.name()}, {"version", model.version()}},
                 static_cast<double>(value));
  };
  write(kSuccess, counts.success.count);
  write(kFailure, counts.fail.count);
  write(kCount, counts.inferences);
  write(kExecCount, counts.executions);
  write(kRequestUs, counts.success.us);
  write(kQueueUs, counts.queue.us);
  write(kInputUs, counts.compute_input.us);
  write(kInferUs, counts.compute_infer.us);
  write(kOutputUs, counts.compute_output.us);
  write(kPending, model.batcher_counts().queue.depth);
  if (!model.is_ensemble()) {
    write(kOverload, model.admission().refused());
    write(kOverloaded, model.admission().IsOverloaded(model.clock().NowMonotonicUs()) ? 1 : 0);
    writer.Write(kExpectedWait, {{"model", model.name()}, {"version", model.version()}},
                 static_cast<double>(model.admission().ExpectedWaitUs(
                     model.settings().priority, model.clock().NowMonotonicUs())) /
                     1e6);
  }
  if (model.settings().cache.kind == CacheKind::kOff) return;
  write(kCacheHits, counts.cache_hit.count);
  write(kCacheHitUs, counts.cache_hit.us);
  write(kCacheMisses, counts.cache_miss.count);
  write(kCacheMissUs, counts.cache_miss.us);
}

}  // namespace

absl::StatusOr<std::unique_ptr<InferenceService>> InferenceService::Create(
    InferenceServiceOptions options) {
  std::unique_ptr<RequestTraces> traces;
  if (!options.trace_file.empty()) {
    SL_ASSIGN_OR_RETURN(traces, RequestTraces::Open(options.trace_file));
  }
  std::unique_ptr<InferenceService> service(new InferenceService(
      std::move(options.version), options.shared_memory, std::move(traces), *options.models.clock));
  SL_ASSIGN_OR_RETURN(service->caches_,
                      ModelCaches::Create(std::move(options.cache_store), service->clock_));
  SL_ASSIGN_OR_RETURN(service->repository_, ModelRepository::Create(std::move(options.models),
                                                                    std::move(options.choices)));
  return service;
}

void InferenceService::Stop() {
  BeginDrain();
  repository_->Stop();
}

bool InferenceService::Ready() const {
  return !draining_.load(std::memory_order_relaxed) && repository_->Ready();
}

void InferenceService::Infer(InferRequest&& request, InferDone done) {
  const int64_t received_us = clock_.NowMonotonicUs();
  auto model = repository_->Find(request.model, request.version);
  if (model.ok()) {
    // Ensembles answer by what has a cache of its own.
    ModelCache* const cache = (*model)->content().empty()
                                  ? nullptr
                                  : caches_->Find((*model)->name(), (*model)->settings().cache);
    if (cache != nullptr) {
      const auto around = [this, received_us](InferRequest&& rest, InferDone rest_done) {
        auto newest = repository_->Find(rest.model, rest.version);
        Run(std::move(rest), std::move(rest_done), received_us, std::move(newest));
      };
      return InferThroughCache({*std::move(model), cache, around}, std::move(request),
                               std::move(done), received_us);
    }
  }
  Run(std::move(request), std::move(done), received_us, std::move(model));
}

void InferenceService::Run(InferRequest&& request, InferDone done, int64_t received_us,
                           absl::StatusOr<std::shared_ptr<ServedModel>> model) {
  auto call = std::make_unique<InferCall>();
  call->times.received_us = received_us;
  call->request = std::move(request);
  call->done = std::move(done);
  std::shared_ptr<ServedModel> refused_by;
  absl::Status status;
  for (;; model = repository_->Find(call->request.model, call->request.version)) {
    if (!model.ok()) {
      status = model.status();
      break;
    }
    if (*model == refused_by) break;
    // Of models that there are, so that names which clients make up are not counted.
    if (refused_by == nullptr && settings_.SampleTrace((*model)->name())) {
      call->traces = traces_.get();
    }
    refused_by = *std::move(model);
    status = ServedModel::Submit(refused_by, call);
    if (status.ok()) return;
    // Stopped between the look-up and now, most likely: a newer one may have taken its place.
    if (status.code() != absl::StatusCode::kUnavailable) break;
  }
  if (refused_by != nullptr) {
    refused_by->statistics().Failed(call->times.received_us, clock_.NowMonotonicUs());
  }
  call->done(std::move(status));
}

int64_t InferenceService::Reserve(std::string_view model, std::string_view version) const {
  auto found = repository_->Find(model, version);
  // Who asks an ensemble waits for what it is made of.
  if (found.ok() && (*found)->is_ensemble()) {
    found = repository_->Find((*found)->ensemble_of(), (*found)->version());
  }
  return found.ok() ? (*found)->Reserve() : 0;
}

std::vector<std::string> InferenceService::Extensions() const {
  std::vector<std::string> names = {"classification",
                                    "model_repository",
                                    "schedule_policy",
                                    "model_configuration",
                                    "binary_tensor_data",
                                    "parameters",
                                    "statistics",
                                    "trace",
                                    "logging"};
  if (shared_memory_.allowed()) names.emplace_back("system_shared_memory");
  return names;
}

absl::Status InferenceService::RefuseLoadParameter(std::string_view parameter) {
  return Unimplemented(
      "models are loaded from the server's own files with their own settings: the parameter \"{}\" "
      "is not taken",
      parameter);
}

void InferenceService::CollectMetrics(MetricWriter& writer) const {
  writer.Write(kReady, {}, Ready() ? 1 : 0);
  if (traces_ != nullptr) {
    writer.Write(kTracesLeftOut, {}, static_cast<double>(traces_->left_out()));
  }
  for (const auto& model : repository_->All()) CollectModel(*model, writer);
  caches_->CollectMetrics(writer);
}

}  // namespace sightline::serve
