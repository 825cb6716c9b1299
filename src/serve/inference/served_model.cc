#include "serve/inference/served_model.h"

#include <algorithm>
#include <set>
#include <thread>
#include <utility>

#include "base/ascii_text.h"
#include "base/log.h"
#include "infer/tensor_memory.h"
#include "serve/inference/model_content.h"
#include "serve/inference/row_probe.h"
#include "serve/inference/tensor_runner.h"
#include "serve/inference/tensor_types.h"

namespace sightline::serve {
namespace {

constexpr int kMostInstances = 256;
constexpr size_t kLongestShown = 100;
// On a GPU, so that one is filled while another runs; each has the model's memory. Chosen.
constexpr int kDeviceInstances = 2;

// One run on zeros, so that the first request does not pay for what runtimes do at the first one. Of a
// model with free sizes, or strings, nobody knows what it takes: a failure says nothing.
absl::Status WarmUp(InferenceSession& session) {
  bool is_guess = false;
  for (size_t port = 0; port < session.inputs().size(); ++port) {
    std::vector<int64_t> shape = session.inputs()[port].shape;
    for (int64_t& dimension : shape) {
      is_guess |= dimension == -1;
      dimension = dimension == -1 ? 1 : dimension;
    }
    if (session.inputs()[port].dtype == DataType::kString) {
      is_guess = true;
      SL_RETURN_IF_ERROR(session.InputStrings(port, shape).status());
    } else {
      SL_RETURN_IF_ERROR(session.InputBuffer(port, shape).status());
    }
  }
  const absl::Status status = session.Run().status();
  return is_guess ? absl::OkStatus() : status;
}

absl::StatusOr<std::unique_ptr<InferenceSession>> OpenWarm(InferenceBackend& backend,
                                                           const SessionOptions& options) {
  SL_ASSIGN_OR_RETURN(std::unique_ptr<InferenceSession> session, backend.Open(options));
  SL_RETURN_IF_ERROR(WithContext(WarmUp(*session), "trying the model on zeros"));
  return session;
}

// Whether any input takes first dimensions of several sizes.
bool HasFreeFirst(const InferenceSession& session) {
  return std::ranges::any_of(session.inputs(), [](const TensorInfo& input) {
    return !input.shape.empty() && input.shape[0] == -1;
  });
}

absl::StatusOr<int> MaxBatchOf(int wanted, InferenceSession& session) {
  if (wanted == 0) return 0;
  if (wanted < 0) return HasIndependentRows(session) ? kUsualMaxBatch : 0;
  if (HasFreeFirstDimensions(session)) return wanted;
  return InvalidArgument(
      "max_batch {}: the first dimension of its inputs and outputs is not free, so it cannot take "
      "more than what it was exported with; leave max_batch out",
      wanted);
}

std::atomic<uint64_t> next_load{1};

int64_t RowsOf(const InferCall& call, int max_batch) {
  return max_batch > 0 ? call.input(0).shape[0] : 1;
}

}  // namespace

void InferCall::Done(const absl::Status& status) {
  const std::unique_ptr<InferCall> self(this);
  const Clock& clock = model->clock();
  const int64_t now_us = clock.NowMonotonicUs();
  const InferDone answer = std::move(done);
  if (traces != nullptr) traces->Write(model->name(), model->version(), times, now_us);
  if (!model->is_ensemble()) model->Ended(*this, times, now_us);
  if (request.context != nullptr) {
    request.context->submitted_us.store(times.received_us, std::memory_order_relaxed);
    request.context->began_us.store(times.began_us, std::memory_order_relaxed);
    request.context->computed_us.store(times.emptied_us, std::memory_order_relaxed);
  }
  if (!status.ok()) {
    model->statistics().Failed(times.received_us, now_us);
    return answer(status);
  }
  model->statistics().Succeeded(rows, times, now_us, clock.NowUtcUs());
  request.inputs.clear();
  request.backing.reset();
  answer(std::move(response));
}

ServedModel::ServedModel(const ModelVersionOptions& options)
    : options_(options), load_(next_load.fetch_add(1, std::memory_order_relaxed)) {}

std::shared_ptr<ServedModel> ServedModel::MakeEnsemble(const ServedModel& base,
                                                       EnsembleOptions ensemble) {
  ModelVersionOptions options = base.options_;
  options.name = std::move(ensemble.name);
  options.labels = nullptr;
  std::shared_ptr<ServedModel> model(new ServedModel(options));
  model->ensemble_of_ = std::move(ensemble.of);
  model->inputs_ = std::move(ensemble.inputs);
  model->outputs_ = std::move(ensemble.outputs);
  model->max_batch_ = ensemble.max_batch;
  model->instances_ = base.instances_;
  model->run_ = std::move(ensemble.run);
  return model;
}

std::shared_ptr<ModelCompanion> ServedModel::companion() const {
  const MutexLock lock(companion_mutex_);
  return companion_;
}

bool ServedModel::SetCompanion(std::shared_ptr<ModelCompanion> companion) {
  const MutexLock lock(companion_mutex_);
  if (stopped_ || companion_ != nullptr) return false;
  companion_ = std::move(companion);
  return true;
}

void ServedModel::End(bool discard) {
  if (batcher_ != nullptr) batcher_->Stop(discard);
  std::shared_ptr<ModelCompanion> companion;
  {
    const MutexLock lock(companion_mutex_);
    stopped_ = true;
    companion = companion_;
  }
  if (companion != nullptr) companion->Stop(discard);
}

absl::StatusOr<std::shared_ptr<ServedModel>> ServedModel::Open(const ModelVersionOptions& options,
                                                               InferenceBackend& backend) {
  std::shared_ptr<ServedModel> model(new ServedModel(options));
  const ModelSettings& settings = options.settings;
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const bool on_cpu = settings.providers.empty() || settings.providers[0] == "cpu";
  const int usual = on_cpu ? std::max(1, cores / std::max(1, settings.threads)) : kDeviceInstances;
  model->instances_ = settings.instances > 0 ? settings.instances : usual;
  if (model->instances_ > kMostInstances) {
    return InvalidArgument("{} instances of a model; 1 to {} are possible", model->instances_,
                           kMostInstances);
  }
  model->backend_ = backend.name();
  model->format_ = FormatOf(options.file);
  const bool has_cache = settings.cache.kind != CacheKind::kOff;
  const std::string content = has_cache ? ModelContent(options, backend.name()) : "";
  std::vector<std::unique_ptr<BatchRunner>> runners;
  SessionOptions opening{.model_file = options.file,
                         .intra_op_threads = settings.threads,
                         .providers = settings.providers,
                         .max_batch = settings.max_batch < 0 ? kUsualMaxBatch : settings.max_batch,
                         .parallel_sessions = model->instances_};
  for (int i = 0; i < model->instances_; ++i) {
    SL_ASSIGN_OR_RETURN(std::unique_ptr<InferenceSession> session, OpenWarm(backend, opening));
    if (i == 0) {
      model->inputs_.assign(session->inputs().begin(), session->inputs().end());
      model->outputs_.assign(session->outputs().begin(), session->outputs().end());
      SL_ASSIGN_OR_RETURN(model->max_batch_, MaxBatchOf(settings.max_batch, *session));
      if (model->max_batch_ == 0 && opening.max_batch != kAnyBatch && HasFreeFirst(*session)) {
        // Its first dimension is none of rows, and requests may bring any.
        opening.max_batch = kAnyBatch;
        session.reset();
        SL_ASSIGN_OR_RETURN(session, OpenWarm(backend, opening));
      }
    }
    runners.push_back(std::make_unique<TensorRunner>(
        std::move(session), TensorRunnerOptions{.max_jobs = std::max(1, model->max_batch_),
                                                .max_rows = model->max_batch_,
                                                .labels = options.labels,
                                                .statistics = &model->statistics_,
                                                .clock = options.clock}));
  }
  model->admission_ = std::make_unique<Admission>(model->instances_);
  BatcherOptions batching;
  batching.name = options.name;
  batching.queue_capacity = settings.queue;
  batching.max_batch = std::max(1, model->max_batch_);
  batching.preferred_sizes = settings.preferred_batches;
  batching.max_delay_us = settings.max_delay_us;
  batching.default_priority = settings.priority;
  batching.clock = options.clock;
  batching.nice = kRunnersNice;
  SL_ASSIGN_OR_RETURN(model->batcher_, Batcher::Create(batching, std::move(runners)));
  if (!has_cache) return model;
  model->content_ = ModelContent(options, backend.name()) == content ? content : UniqueContent();
  return model;
}

absl::Status ServedModel::Submit(std::shared_ptr<ServedModel> model,
                                 std::unique_ptr<InferCall>& call) {
  if (call->prepared_for != model.get()) SL_RETURN_IF_ERROR(model->Prepare(*call));
  InferCall& accepted = *call;
  accepted.priority =
      accepted.request.priority > 0 ? accepted.request.priority : model->options_.settings.priority;
  accepted.source = accepted.request.source;
  const int64_t timeout_us = accepted.request.timeout_us > 0 ? accepted.request.timeout_us
                                                             : model->options_.settings.timeout_us;
  if (!model->is_ensemble()) {
    SL_RETURN_IF_ERROR(
        model->CheckWait(accepted.priority, timeout_us, accepted.request.context.get()));
  }
  accepted.deadline_us = timeout_us > 0 ? accepted.times.received_us + timeout_us : 0;
  accepted.response.model = model->name();
  accepted.response.version = model->version();
  accepted.response.id = accepted.request.id;
  accepted.model = model;
  if (model->is_ensemble()) {
    model->run_(std::move(call));
    return absl::OkStatus();
  }
  InferCall* const job = call.release();
  const absl::Status status = model->Enqueue(*model->batcher_, job);
  if (!status.ok()) {
    call.reset(job);
    call->model = nullptr;
  }
  return status;
}

absl::Status ServedModel::Enqueue(Batcher& batcher, BatchJob* job) {
  const int priority = job->priority;
  const int64_t rows = job->rows;
  admission_->Accepted(priority, rows, clock().NowMonotonicUs());
  absl::Status status = batcher.TrySubmit(job);
  if (status.ok()) return status;
  const int64_t now_us = clock().NowMonotonicUs();
  admission_->NotBegun(priority, rows, now_us);
  if (!absl::IsResourceExhausted(status)) return status;
  admission_->Refused(now_us);
  if (options_.settings.max_wait_us != ModelSettings::kWaitByLoad) return status;
  const int64_t again_us = admission_->ExpectedWaitUs(priority, now_us);
  if (!admission_->Overflowed(now_us)) return WithRetryAfter(std::move(status), again_us);
  const int64_t limit_us = admission_->OverloadWaitUs();
  const size_t shed = batcher.Shed(
      now_us - limit_us,
      WithRetryAfter(
          ResourceExhausted("the queue of model '{}' is full, and this request has waited "
                            "for more than {} ms; try again later",
                            name(), limit_us / 1000),
          again_us));
  admission_->Refused(now_us, /*by_overload=*/true, shed);
  Log().warn(
      "model {}: overloaded: {} requests that had waited for more than {} ms were refused; "
      "while it lasts, requests are that would wait so long",
      name(), shed, limit_us / 1000);
  return WithRetryAfter(std::move(status), again_us);
}

void ServedModel::Ended(const BatchJob& job, const CallTimes& times, int64_t now_us) {
  if (times.began_us == 0) return admission_->NotBegun(job.priority, job.rows, now_us);
  admission_->Answered(job.priority, job.rows, times.RunUs(), now_us);
}

int64_t ServedModel::MaxWaitUs(int64_t now_us) const {
  const int64_t set_us = options_.settings.max_wait_us;
  if (set_us != ModelSettings::kWaitByLoad) return set_us;
  return admission_->IsOverloaded(now_us) ? admission_->OverloadWaitUs() : 0;
}

int64_t ServedModel::Reserve() {
  if (is_ensemble()) return 0;
  const int64_t now_us = clock().NowMonotonicUs();
  const int64_t limit_us = MaxWaitUs(now_us);
  if (limit_us <= 0) return 0;
  const int64_t expected_us = admission_->ExpectedWaitUs(options_.settings.priority, now_us);
  if (expected_us > limit_us) {
    admission_->Refused(now_us, /*by_overload=*/true);
    return expected_us - limit_us;
  }
  admission_->Reserve(now_us);
  return kReserved;
}

absl::Status ServedModel::CheckWait(int priority, int64_t timeout_us, RequestContext* context) {
  const int64_t now_us = clock().NowMonotonicUs();
  int64_t limit_us = MaxWaitUs(now_us);
  if (context != nullptr && context->reserved.exchange(false)) {
    admission_->Redeem();
    limit_us = 0;  // was looked at when its head came
  }
  const bool by_timeout = timeout_us > 0 && (limit_us <= 0 || timeout_us < limit_us);
  if (by_timeout) limit_us = timeout_us;
  if (limit_us <= 0) return absl::OkStatus();
  const int64_t expected_us = admission_->ExpectedWaitUs(priority, now_us);
  if (expected_us <= limit_us) return absl::OkStatus();
  admission_->Refused(now_us, /*by_overload=*/!by_timeout);
  return Overloaded(name(), expected_us, limit_us);
}

absl::Status ServedModel::Prepare(InferCall& call) const {
  call.prepared_for = nullptr;
  call.inputs.assign(inputs_.size(), SIZE_MAX);
  for (size_t i = 0; i < call.request.inputs.size(); ++i) {
    const InferInput& input = call.request.inputs[i];
    const auto at = std::ranges::find(inputs_, input.name, &TensorInfo::name);
    if (at == inputs_.end()) {
      return InvalidArgument("unexpected inference input '{}' for model '{}'",
                             ShownText(input.name, kLongestShown), name());
    }
    const auto port = static_cast<size_t>(at - inputs_.begin());
    if (call.inputs[port] != SIZE_MAX) {
      return InvalidArgument("input '{}' is given twice", at->name);
    }
    call.inputs[port] = i;
  }
  for (size_t port = 0; port < inputs_.size(); ++port) {
    if (call.inputs[port] == SIZE_MAX) {
      return InvalidArgument("expected {} inputs but got {} inputs for model '{}': '{}' is missing",
                             inputs_.size(), call.request.inputs.size(), name(),
                             inputs_[port].name);
    }
  }
  size_t shared_bytes = 0;
  for (size_t port = 0; port < inputs_.size(); ++port) {
    const InferInput& input = call.input(port);
    SL_RETURN_IF_ERROR(PrepareInput(port, input, call));
    if (!input.shared.region) continue;
    shared_bytes += input.shared.bytes;  // each is bounded by now
    if (shared_bytes > kMaxRequestBytes) {
      return InvalidArgument("the inputs in shared memory have together more than {} bytes",
                             kMaxRequestBytes);
    }
  }
  call.rows = RowsOf(call, max_batch_);
  SL_RETURN_IF_ERROR(PrepareOutputs(call));
  call.prepared_for = this;
  return absl::OkStatus();
}

absl::Status ServedModel::PrepareInput(size_t port, const InferInput& input,
                                       InferCall& call) const {
  const TensorInfo& wanted = inputs_[port];
  if (input.dtype != wanted.dtype) {
    return InvalidArgument("inference input '{}' data-type is '{}', model '{}' expects '{}'",
                           wanted.name, WireName(input.dtype), name(), WireName(wanted.dtype));
  }
  const auto fail = [&](const absl::Status& status) {
    return WithContext(status, fmt::format("input '{}'", wanted.name));
  };
  const absl::StatusOr<int64_t> elements = CountElements(input.shape);
  if (!elements.ok()) return fail(elements.status());
  if (!TakesShape(wanted.shape, input.shape)) {
    return InvalidArgument("unexpected shape for input '{}' for model '{}'. Expected {}, got {}",
                           wanted.name, name(), ShapeText(wanted.shape), ShapeText(input.shape));
  }
  if (max_batch_ > 0) {
    if (input.shape[0] > max_batch_) {
      return InvalidArgument("inference request batch-size must be <= {} for '{}'", max_batch_,
                             name());
    }
    if (input.shape[0] != call.input(0).shape[0]) {
      return InvalidArgument("input '{}' batch size does not match other inputs for '{}'",
                             wanted.name, name());
    }
  }
  if (input.shared.region) {
    SL_RETURN_IF_ERROR(
        fail(input.shared.region->CheckRange(input.shared.offset, input.shared.bytes)));
    // A region may be sparse, and its size says nothing about the memory that there is.
    if (input.shared.bytes > kMaxRequestBytes) {
      return fail(InvalidArgument("{} bytes in shared memory; {} are possible", input.shared.bytes,
                                  kMaxRequestBytes));
    }
  }
  if (wanted.dtype == DataType::kString) {
    if (*elements > kMaxTensorStrings) {
      return fail(InvalidArgument("{} strings; {} are possible", *elements, kMaxTensorStrings));
    }
    if (input.shared.region) return absl::OkStatus();  // looked at when it is copied
    return fail(CheckStrings(input.memory(), *elements));
  }
  const uint64_t expected = static_cast<uint64_t>(*elements) * SizeOf(wanted.dtype);
  if (input.size() != expected) {
    return InvalidArgument(
        "input byte size mismatch for input '{}' for model '{}'. Expected {}, got {}", wanted.name,
        name(), expected, input.size());
  }
  return absl::OkStatus();
}

absl::Status ServedModel::PrepareOutputs(InferCall& call) const {
  call.outputs.clear();
  if (call.request.outputs.empty()) {
    for (size_t i = 0; i < outputs_.size(); ++i) call.outputs.push_back({i, 0, {}});
    return absl::OkStatus();
  }
  std::vector<bool> taken(outputs_.size(), false);
  for (const WantedOutput& wanted : call.request.outputs) {
    const auto at = std::ranges::find(outputs_, wanted.name, &TensorInfo::name);
    if (at == outputs_.end()) {
      return InvalidArgument("unexpected inference output '{}' for model '{}'",
                             ShownText(wanted.name, kLongestShown), name());
    }
    const auto index = static_cast<size_t>(at - outputs_.begin());
    if (taken[index]) return InvalidArgument("output '{}' is asked for twice", at->name);
    taken[index] = true;
    if (wanted.classes < 0) {
      return InvalidArgument("output '{}': {} classes", at->name, wanted.classes);
    }
    if (wanted.shared.region) {
      SL_RETURN_IF_ERROR(
          WithContext(wanted.shared.region->CheckRange(wanted.shared.offset, wanted.shared.bytes),
                      fmt::format("output '{}'", at->name)));
    }
    call.outputs.push_back({index, wanted.classes, wanted.shared});
  }
  return absl::OkStatus();
}

}  // namespace sightline::serve
