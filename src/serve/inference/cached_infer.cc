#include "serve/inference/cached_infer.h"

#include <utility>

#include "serve/inference/tensor_types.h"
#include "serve/inference/tensor_value.h"

namespace sightline::serve {
namespace {

// One caller on its way through the cache.
struct Asking {
  std::shared_ptr<ServedModel> model;
  std::function<void(InferRequest&&, InferDone)> around;
  std::unique_ptr<InferCall> call;  // prepared; null once the model has it
  InferDone done;
  int64_t received_us = 0;
  std::string id;
  std::vector<WantedOutput> places;  // as asked for, with shared memory
  // Of the one that computed.
  std::vector<InferOutput> outputs;
};

absl::Status CopyIn(const ServedModel& model, InferRequest& request) {
  for (InferInput& input : request.inputs) {
    if (!input.shared.region) continue;
    std::string bytes(input.shared.bytes, '\0');
    SL_RETURN_IF_ERROR(
        WithContext(input.shared.region->Read(input.shared.offset, bytes.size(), bytes.data()),
                    fmt::format("input \"{}\"", input.name)));
    if (input.dtype == DataType::kString) {
      SL_ASSIGN_OR_RETURN(const int64_t elements, CountElements(input.shape));
      SL_RETURN_IF_ERROR(
          WithContext(CheckStrings(bytes, elements), fmt::format("input \"{}\"", input.name)));
    }
    input.owned = std::move(bytes);
    input.is_owned = true;
    input.shared = {};
  }
  return absl::OkStatus();
}

absl::Status PutInPlace(const std::vector<WantedOutput>& places,
                        std::vector<InferOutput>& outputs) {
  for (const WantedOutput& wanted : places) {
    if (!wanted.shared.region) continue;
    for (InferOutput& output : outputs) {
      if (output.name != wanted.name) continue;
      const std::string bytes = std::exchange(output.bytes, {});
      SL_RETURN_IF_ERROR(WriteShared(bytes, wanted.shared, output));
    }
  }
  return absl::OkStatus();
}

// Runs the model for `asking`; the outputs stay with it.
void Compute(const std::shared_ptr<Asking>& asking, ResultCache::Computed computed) {
  asking->model->statistics().CacheMissed(asking->received_us,
                                          asking->model->clock().NowMonotonicUs());
  std::unique_ptr<InferCall> call = std::move(asking->call);
  call->done = [asking, computed](absl::StatusOr<InferResponse>&& answer) {
    if (!answer.ok()) return computed(answer.status());
    asking->outputs = std::move(answer->outputs);
    computed(std::make_shared<const std::string>(PackOutputs(asking->outputs)));
  };
  const absl::Status status = ServedModel::Submit(asking->model, call);
  if (status.ok()) return;
  call->done = nullptr;  // which holds `asking`
  asking->call = std::move(call);
  computed(status);
}

void Answer(const std::shared_ptr<Asking>& asking, absl::StatusOr<CachedAnswer>&& answer) {
  ServedModel& model = *asking->model;
  const auto go_around = [&] {
    InferRequest request = std::move(asking->call->request);
    request.outputs = std::move(asking->places);
    asking->around(std::move(request), std::move(asking->done));
  };
  const auto fail = [&](const absl::Status& status) {
    // A call that ran has been counted by itself.
    if (asking->call != nullptr) {
      model.statistics().Failed(asking->received_us, model.clock().NowMonotonicUs());
    }
    asking->done(status);
  };
  if (!answer.ok()) {
    if (absl::IsUnavailable(answer.status()) && asking->call != nullptr) return go_around();
    return fail(answer.status());
  }
  InferResponse response;
  response.model = model.name();
  response.version = model.version();
  response.id = asking->id;
  const bool is_own = answer->hit == CacheHit::kNone;
  if (is_own) {
    response.outputs = std::move(asking->outputs);
  } else {
    auto outputs = UnpackOutputs(*answer->bytes);
    if (!outputs.ok()) return go_around();
    response.outputs = *std::move(outputs);
  }
  const absl::Status placed = PutInPlace(asking->places, response.outputs);
  if (!placed.ok()) return fail(placed);
  if (!is_own) {
    model.statistics().CacheHit(asking->received_us, model.clock().NowMonotonicUs());
  }
  asking->done(std::move(response));
}

}  // namespace

void InferThroughCache(const CachedInfer& through, InferRequest&& given, InferDone done,
                       int64_t received_us) {
  ServedModel& model = *through.model;
  const auto asking = std::make_shared<Asking>();
  asking->model = through.model;
  asking->around = through.around;
  asking->done = std::move(done);
  asking->received_us = received_us;
  asking->call = std::make_unique<InferCall>();
  InferCall& call = *asking->call;
  call.times.received_us = received_us;
  call.request = std::move(given);
  InferRequest& request = call.request;
  absl::Status status = model.Prepare(call);
  if (status.ok()) status = CopyIn(model, request);
  if (!status.ok()) {
    model.statistics().Failed(received_us, model.clock().NowMonotonicUs());
    return asking->done(status);
  }
  const int64_t timeout_us =
      request.timeout_us > 0 ? request.timeout_us : model.settings().timeout_us;
  asking->id = request.id;
  asking->places = request.outputs;
  for (WantedOutput& output : request.outputs) output.shared = {};
  for (InferCall::Wanted& output : call.outputs) output.shared = {};
  const CacheKey key = KeyOf(model, request);
  through.cache->results().Get(
      key, [asking](ResultCache::Computed computed) { Compute(asking, std::move(computed)); },
      [asking](absl::StatusOr<CachedAnswer>&& answer) { Answer(asking, std::move(answer)); },
      timeout_us > 0 ? received_us + timeout_us : 0);
}

}  // namespace sightline::serve
