#include <algorithm>
#include <chrono>
#include <utility>

#include "serve/grpc/grpc_gate_internal.h"
#include "serve/grpc/grpc_messages_internal.h"
#include "serve/grpc/grpc_service_internal.h"

namespace sightline::serve {
namespace {

using Context = grpc::ServerContext;

// Calls at once of each of the other methods; chosen.
constexpr int kMostOthers = 256;
// Answers below this are not worth counting: as much fits into the socket.
constexpr size_t kSmallAnswerBytes = 16 << 10;

absl::Status NoCudaSharedMemory() {
  return Unimplemented("{}", InferenceService::kNoCudaSharedMemory);
}

// What is not begun by the call's deadline is not begun. False when that is over already.
bool LimitToDeadline(const Context& context, InferRequest& request) {
  using std::chrono::system_clock;
  const system_clock::time_point deadline = context.deadline();
  if (deadline == system_clock::time_point::max()) return true;
  const int64_t left_us =
      std::chrono::duration_cast<std::chrono::microseconds>(deadline - system_clock::now()).count();
  if (left_us <= 0) return false;
  request.timeout_us = request.timeout_us > 0 ? std::min(request.timeout_us, left_us) : left_us;
  return true;
}

template <typename Value>
std::vector<std::string> TextsOf(const Value& value) {
  return {value.value().begin(), value.value().end()};
}

}  // namespace

grpc::Status GrpcStatusOf(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  auto code = static_cast<grpc::StatusCode>(static_cast<int>(status.code()));
  if (code == grpc::StatusCode::RESOURCE_EXHAUSTED || code == grpc::StatusCode::DEADLINE_EXCEEDED ||
      code == grpc::StatusCode::CANCELLED) {
    code = grpc::StatusCode::UNAVAILABLE;
  }
  return {code, std::string(MessageOf(status))};
}

uint64_t OpenStreams::Add(std::function<void()> end) {
  uint64_t number = 0;
  {
    const MutexLock lock(mutex_);
    number = next_++;
    if (!ending_) {
      ends_.emplace(number, std::move(end));
      return number;
    }
  }
  end();
  return number;
}

void OpenStreams::Remove(uint64_t number) {
  const MutexLock lock(mutex_);
  ends_.erase(number);
}

void OpenStreams::EndAll() {
  std::map<uint64_t, std::function<void()>> ends;
  {
    const MutexLock lock(mutex_);
    ending_ = true;
    ends.swap(ends_);
  }
  for (const auto& [number, end] : ends) end();
}

absl::StatusOr<std::shared_ptr<const ByteRoom::Taken>> TakeRoomFor(
    const ::inference::ModelInferRequest& request, ByteRoom& room) {
  auto taken = room.Take(request.SpaceUsedLong());
  if (taken == nullptr)
    return ResourceExhausted("too many large requests at once; try again later");
  return taken;
}

absl::StatusOr<std::shared_ptr<const ByteRoom::Taken>> TakeRoomForAnswer(
    const ::inference::ModelInferResponse& response, ByteRoom& room) {
  const size_t bytes = response.ByteSizeLong();
  if (bytes <= kSmallAnswerBytes) return nullptr;
  auto taken = room.Take(bytes);
  if (taken == nullptr) {
    return ResourceExhausted("too many large answers wait to be read; try again later");
  }
  return taken;
}

absl::Status GrpcService::CheckModel(Context& context, const std::string& model) const {
  if (model.empty()) return absl::OkStatus();
  const auto refusal = GrpcCall(calls_.gate, "")
                           .Enter(context, model, RouteRole::kViewer,
                                  /*is_unary=*/false);
  if (!refusal) return absl::OkStatus();
  return {static_cast<absl::StatusCode>(refusal->error_code()), refusal->error_message()};
}

absl::Status GrpcService::ServerLive(Context&, const ::inference::ServerLiveRequest&,
                                     ::inference::ServerLiveResponse& response) {
  response.set_live(true);
  return absl::OkStatus();
}

absl::Status GrpcService::ServerReady(Context&, const ::inference::ServerReadyRequest&,
                                      ::inference::ServerReadyResponse& response) {
  response.set_ready(service_.Ready());
  return absl::OkStatus();
}

absl::Status GrpcService::ModelReady(Context& context,
                                     const ::inference::ModelReadyRequest& request,
                                     ::inference::ModelReadyResponse& response) {
  const absl::Status allowed = CheckModel(context, request.name());
  if (!allowed.ok()) return allowed;
  const auto model = service_.repository().Find(request.name(), request.version());
  response.set_ready(model.ok());
  const bool is_wrong = model.status().code() == absl::StatusCode::kInvalidArgument;
  return is_wrong ? model.status() : absl::OkStatus();
}

absl::Status GrpcService::ServerMetadata(Context&, const ::inference::ServerMetadataRequest&,
                                         ::inference::ServerMetadataResponse& response) {
  response.set_name(std::string(InferenceService::kName));
  response.set_version(service_.version());
  for (const std::string& extension : service_.Extensions()) response.add_extensions(extension);
  return absl::OkStatus();
}

absl::Status GrpcService::ModelMetadata(Context& context,
                                        const ::inference::ModelMetadataRequest& request,
                                        ::inference::ModelMetadataResponse& response) {
  const absl::Status allowed = CheckModel(context, request.name());
  if (!allowed.ok()) return allowed;
  const auto model = service_.repository().Find(request.name(), request.version());
  if (!model.ok()) return model.status();
  const auto versions = service_.repository().Versions(request.name());
  if (!versions.ok()) return versions.status();
  WriteMetadata(**model, *versions, response);
  return absl::OkStatus();
}

void GrpcService::ModelInfer(InferCallOverGrpc& call, bool too_many) {
  const auto one = std::make_shared<GrpcCall>(calls_.gate, GrpcCall::kModelInfer);
  const auto end = [one, &call](const grpc::Status& status) {
    if (one->is_recorded()) {
      one->Ended(status.error_code(), call.request().ByteSizeLong(),
                 call.response().ByteSizeLong());
    }
    call.Finish(status);
  };
  const auto refusal =
      one->Enter(call.context(), call.request().model_name(), RouteRole::kInfer, /*is_unary=*/true);
  if (refusal) return end(*refusal);
  if (too_many) return end(TooManyCalls());
  auto room = TakeRoomFor(call.request(), *calls_.room);
  if (!room.ok()) return end(GrpcStatusOf(room.status()));
  call.Keep(*std::move(room));
  auto read = ReadRequest(call.request(), service_.shared_memory());
  if (!read.ok()) return end(GrpcStatusOf(read.status()));
  if (!LimitToDeadline(call.context(), *read)) {
    return end(GrpcStatusOf(DeadlineExceeded("the deadline of the call has passed")));
  }
  one->Mark(*read);
  // The call lives until it is finished, which comes after the last question.
  read->gone = [&call] { return call.IsCancelled(); };
  service_.Infer(*std::move(read), [this, end, &call](absl::StatusOr<InferResponse>&& result) {
    if (!result.ok()) return end(GrpcStatusOf(result.status()));
    WriteResponse(*std::move(result), call.response());
    auto room = TakeRoomForAnswer(call.response(), *calls_.answers);
    if (!room.ok()) return end(GrpcStatusOf(room.status()));
    call.Keep(*std::move(room));
    end(grpc::Status::OK);
  });
}

absl::Status GrpcService::ModelConfig(Context& context,
                                      const ::inference::ModelConfigRequest& request,
                                      ::inference::ModelConfigResponse& response) {
  const absl::Status allowed = CheckModel(context, request.name());
  if (!allowed.ok()) return allowed;
  const auto model = service_.repository().Find(request.name(), request.version());
  if (!model.ok()) return model.status();
  WriteConfig(**model, *response.mutable_config());
  return absl::OkStatus();
}

absl::Status GrpcService::ModelStatistics(Context& context,
                                          const ::inference::ModelStatisticsRequest& request,
                                          ::inference::ModelStatisticsResponse& response) {
  const absl::Status allowed = CheckModel(context, request.name());
  if (!allowed.ok()) return allowed;
  const auto models = service_.repository().Select(request.name(), request.version());
  if (!models.ok()) return models.status();
  for (const auto& model : *models) WriteStatistics(*model, *response.add_model_stats());
  return absl::OkStatus();
}

absl::Status GrpcService::RepositoryIndex(Context& context,
                                          const ::inference::RepositoryIndexRequest& request,
                                          ::inference::RepositoryIndexResponse& response) {
  for (const ModelIndexEntry& entry : service_.repository().Index(request.ready())) {
    auto& model = *response.add_models();
    model.set_name(entry.name);
    model.set_version(entry.version);
    model.set_state(std::string(ToString(entry.state)));
    model.set_reason(entry.reason);
  }
  return absl::OkStatus();
}

void GrpcService::RepositoryModelLoad(UnaryCall<::inference::RepositoryModelLoadRequest,
                                                ::inference::RepositoryModelLoadResponse>& call,
                                      bool too_many) {
  if (too_many) return call.Finish(TooManyCalls());
  const ::inference::RepositoryModelLoadRequest& request = call.request();
  absl::Status allowed = CheckModel(call.context(), request.model_name());
  if (allowed.ok() && request.parameters_size() > 0) {
    allowed = InferenceService::RefuseLoadParameter(request.parameters().begin()->first);
  }
  if (!allowed.ok()) return call.Finish(GrpcStatusOf(allowed));
  service_.repository().Load(request.model_name(), [&call](const absl::Status& status) {
    call.Finish(GrpcStatusOf(status));
  });
}

void GrpcService::RepositoryModelUnload(UnaryCall<::inference::RepositoryModelUnloadRequest,
                                                  ::inference::RepositoryModelUnloadResponse>& call,
                                        bool too_many) {
  if (too_many) return call.Finish(TooManyCalls());
  const absl::Status allowed = CheckModel(call.context(), call.request().model_name());
  if (!allowed.ok()) return call.Finish(GrpcStatusOf(allowed));
  service_.repository().Unload(call.request().model_name(), [&call](const absl::Status& status) {
    call.Finish(GrpcStatusOf(status));
  });
}

absl::Status GrpcService::SystemSharedMemoryStatus(
    Context& context, const ::inference::SystemSharedMemoryStatusRequest& request,
    ::inference::SystemSharedMemoryStatusResponse& response) {
  const auto regions = service_.shared_memory().Status(request.name());
  if (!regions.ok()) return regions.status();
  for (const SharedRegionInfo& region : *regions) {
    auto& status = (*response.mutable_regions())[region.name];
    status.set_name(region.name);
    status.set_key(region.key);
    status.set_offset(region.offset);
    status.set_byte_size(region.bytes);
  }
  return absl::OkStatus();
}

absl::Status GrpcService::SystemSharedMemoryRegister(
    Context& context, const ::inference::SystemSharedMemoryRegisterRequest& request,
    ::inference::SystemSharedMemoryRegisterResponse&) {
  return service_.shared_memory().Register(request.name(), request.key(), request.offset(),
                                           request.byte_size());
}

absl::Status GrpcService::SystemSharedMemoryUnregister(
    Context& context, const ::inference::SystemSharedMemoryUnregisterRequest& request,
    ::inference::SystemSharedMemoryUnregisterResponse&) {
  if (!request.name().empty()) {
    return service_.shared_memory().Unregister(request.name());
  }
  service_.shared_memory().UnregisterAll();
  return absl::OkStatus();
}

absl::Status GrpcService::CudaSharedMemoryStatus(Context&,
                                                 const ::inference::CudaSharedMemoryStatusRequest&,
                                                 ::inference::CudaSharedMemoryStatusResponse&) {
  return absl::OkStatus();  // there are none
}

absl::Status GrpcService::CudaSharedMemoryRegister(
    Context&, const ::inference::CudaSharedMemoryRegisterRequest&,
    ::inference::CudaSharedMemoryRegisterResponse&) {
  return NoCudaSharedMemory();
}

absl::Status GrpcService::CudaSharedMemoryUnregister(
    Context&, const ::inference::CudaSharedMemoryUnregisterRequest&,
    ::inference::CudaSharedMemoryUnregisterResponse&) {
  return absl::OkStatus();
}

absl::Status GrpcService::TraceSetting(Context& context,
                                       const ::inference::TraceSettingRequest& request,
                                       ::inference::TraceSettingResponse& response) {
  const absl::Status allowed = CheckModel(context, request.model_name());
  if (!allowed.ok()) return allowed;
  if (!request.model_name().empty()) {
    const auto known = service_.repository().Find(request.model_name(), "");
    if (!known.ok()) return known.status();
  }
  TraceSettings changes;
  for (const auto& [key, value] : request.settings()) changes[key] = TextsOf(value);
  const auto settings = service_.settings().ChangeTrace(request.model_name(), changes);
  if (!settings.ok()) return settings.status();
  for (const auto& [key, values] : *settings) {
    auto& to = (*response.mutable_settings())[key];
    for (const std::string& value : values) to.add_value(value);
  }
  return absl::OkStatus();
}

absl::Status GrpcService::LogSettings(Context& context,
                                      const ::inference::LogSettingsRequest& request,
                                      ::inference::LogSettingsResponse& response) {
  sightline::serve::LogSettings changes;
  using Value = ::inference::LogSettingsRequest::SettingValue;
  for (const auto& [key, value] : request.settings()) {
    switch (value.parameter_choice_case()) {
      case Value::kBoolParam:
        changes[key] = value.bool_param();
        break;
      case Value::kUint32Param:
        changes[key] = value.uint32_param();
        break;
      case Value::kStringParam:
        changes[key] = value.string_param();
        break;
      case Value::PARAMETER_CHOICE_NOT_SET:
        return InvalidArgument("the log setting '{}' has no value", key);
    }
  }
  const auto settings = service_.settings().ChangeLogging(changes);
  if (!settings.ok()) return settings.status();
  for (const auto& [key, value] : *settings) {
    auto& to = (*response.mutable_settings())[key];
    if (const auto* flag = std::get_if<bool>(&value)) to.set_bool_param(*flag);
    if (const auto* number = std::get_if<uint32_t>(&value)) to.set_uint32_param(*number);
    if (const auto* text = std::get_if<std::string>(&value)) to.set_string_param(*text);
  }
  return absl::OkStatus();
}

template <typename Request, typename Response>
void GrpcService::Take(CallQueues& queues, typename UnaryCall<Request, Response>::Accept accept,
                       HandleLater<Request, Response> handle, int most) {
  using Call = UnaryCall<Request, Response>;
  const auto method = std::make_shared<typename Call::Method>(
      queues, most, std::move(accept),
      [this, handle](Call& call, bool too_many) { (this->*handle)(call, too_many); });
  unary_.push_back(method);
  Call::AcceptNext(*method);
}

template <typename Request, typename Response>
void GrpcService::Take(CallQueues& queues, typename UnaryCall<Request, Response>::Accept accept,
                       Handle<Request, Response> handle) {
  using Call = UnaryCall<Request, Response>;
  const auto method = std::make_shared<typename Call::Method>(
      queues, kMostOthers, std::move(accept), [this, handle](Call& call, bool too_many) {
        if (too_many) return call.Finish(TooManyCalls());
        call.Finish(GrpcStatusOf((this->*handle)(call.context(), call.request(), call.response())));
      });
  unary_.push_back(method);
  Call::AcceptNext(*method);
}

void GrpcService::TakeCalls(CallQueues& queues) {
#define SL_ACCEPT(Name) [this](auto... places) { methods_.Request##Name(places...); }
#define SL_TAKE(Name) Take(queues, SL_ACCEPT(Name), &GrpcService::Name);
  SL_TAKE(ServerLive)
  SL_TAKE(ServerReady)
  SL_TAKE(ModelReady)
  SL_TAKE(ServerMetadata)
  SL_TAKE(ModelMetadata)
  SL_TAKE(ModelConfig)
  SL_TAKE(ModelStatistics)
  SL_TAKE(RepositoryIndex)
  SL_TAKE(SystemSharedMemoryStatus)
  SL_TAKE(SystemSharedMemoryRegister)
  SL_TAKE(SystemSharedMemoryUnregister)
  SL_TAKE(CudaSharedMemoryStatus)
  SL_TAKE(CudaSharedMemoryRegister)
  SL_TAKE(CudaSharedMemoryUnregister)
  SL_TAKE(TraceSetting)
  SL_TAKE(LogSettings)
#undef SL_TAKE
  Take(queues, SL_ACCEPT(RepositoryModelLoad), &GrpcService::RepositoryModelLoad, kMostOthers);
  Take(queues, SL_ACCEPT(RepositoryModelUnload), &GrpcService::RepositoryModelUnload, kMostOthers);
  Take(queues, SL_ACCEPT(ModelInfer), &GrpcService::ModelInfer, max_calls_);
#undef SL_ACCEPT
  stream_ = std::make_unique<StreamMethod>(methods_, queues, max_streams_);
  AcceptInferStreams(*stream_, calls_);
}

}  // namespace sightline::serve
