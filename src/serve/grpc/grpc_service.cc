#include <algorithm>
#include <chrono>
#include <utility>

#include "serve/grpc/grpc_gate_internal.h"
#include "serve/grpc/grpc_messages_internal.h"
#include "serve/grpc/grpc_service_internal.h"

namespace sightline::serve {
namespace {

using Reactor = grpc::ServerUnaryReactor;
using Context = grpc::CallbackServerContext;

// Ends the call now.
Reactor* End(Context* context, const absl::Status& status) {
  Reactor* const reactor = context->DefaultReactor();
  reactor->Finish(GrpcStatusOf(status));
  return reactor;
}

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

absl::Status GrpcService::CheckModel(Context* context, const std::string& model) const {
  if (model.empty()) return absl::OkStatus();
  const auto refusal = GrpcCall(calls_.gate, "")
                           .Enter(*context, model, RouteRole::kViewer,
                                  /*is_unary=*/false);
  if (!refusal) return absl::OkStatus();
  return {static_cast<absl::StatusCode>(refusal->error_code()), refusal->error_message()};
}

Reactor* GrpcService::ServerLive(Context* context, const ::inference::ServerLiveRequest*,
                                 ::inference::ServerLiveResponse* response) {
  response->set_live(true);
  return End(context, absl::OkStatus());
}

Reactor* GrpcService::ServerReady(Context* context, const ::inference::ServerReadyRequest*,
                                  ::inference::ServerReadyResponse* response) {
  response->set_ready(service_.Ready());
  return End(context, absl::OkStatus());
}

Reactor* GrpcService::ModelReady(Context* context, const ::inference::ModelReadyRequest* request,
                                 ::inference::ModelReadyResponse* response) {
  const absl::Status allowed = CheckModel(context, request->name());
  if (!allowed.ok()) return End(context, allowed);
  const auto model = service_.repository().Find(request->name(), request->version());
  response->set_ready(model.ok());
  const bool is_wrong = model.status().code() == absl::StatusCode::kInvalidArgument;
  return End(context, is_wrong ? model.status() : absl::OkStatus());
}

Reactor* GrpcService::ServerMetadata(Context* context, const ::inference::ServerMetadataRequest*,
                                     ::inference::ServerMetadataResponse* response) {
  response->set_name(std::string(InferenceService::kName));
  response->set_version(service_.version());
  for (const std::string& extension : service_.Extensions()) response->add_extensions(extension);
  return End(context, absl::OkStatus());
}

Reactor* GrpcService::ModelMetadata(Context* context,
                                    const ::inference::ModelMetadataRequest* request,
                                    ::inference::ModelMetadataResponse* response) {
  const absl::Status allowed = CheckModel(context, request->name());
  if (!allowed.ok()) return End(context, allowed);
  const auto model = service_.repository().Find(request->name(), request->version());
  if (!model.ok()) return End(context, model.status());
  const auto versions = service_.repository().Versions(request->name());
  if (!versions.ok()) return End(context, versions.status());
  WriteMetadata(**model, *versions, *response);
  return End(context, absl::OkStatus());
}

Reactor* GrpcService::ModelInfer(Context* context, const ::inference::ModelInferRequest* request,
                                 ::inference::ModelInferResponse* response) {
  const auto call = std::make_shared<GrpcCall>(calls_.gate, GrpcCall::kModelInfer);
  Reactor* const reactor = context->DefaultReactor();
  const auto end = [call, reactor, request, response](const grpc::Status& status) {
    if (call->is_recorded()) {
      call->Ended(status.error_code(), request->ByteSizeLong(), response->ByteSizeLong());
    }
    reactor->Finish(status);
  };
  const auto refuse = [&](const grpc::Status& status) {
    end(status);
    return reactor;
  };
  const auto refusal = call->Enter(*context, request->model_name(), RouteRole::kInfer,
                                   /*is_unary=*/true);
  if (refusal) return refuse(*refusal);
  auto room = TakeRoomFor(*request, *calls_.room);
  if (!room.ok()) return refuse(GrpcStatusOf(room.status()));
  auto read = ReadRequest(*request, service_.shared_memory());
  if (!read.ok()) return refuse(GrpcStatusOf(read.status()));
  if (!LimitToDeadline(*context, *read)) {
    return refuse(GrpcStatusOf(DeadlineExceeded("the deadline of the call has passed")));
  }
  call->Mark(*read);
  // The context lives until Finish(), which comes after the last question.
  read->gone = [context] { return context->IsCancelled(); };
  service_.Infer(*std::move(read),
                 [end, response, room = *std::move(room)](absl::StatusOr<InferResponse>&& result) {
                   if (result.ok()) WriteResponse(*std::move(result), *response);
                   end(GrpcStatusOf(result.status()));
                 });
  return reactor;
}

Reactor* GrpcService::ModelConfig(Context* context, const ::inference::ModelConfigRequest* request,
                                  ::inference::ModelConfigResponse* response) {
  const absl::Status allowed = CheckModel(context, request->name());
  if (!allowed.ok()) return End(context, allowed);
  const auto model = service_.repository().Find(request->name(), request->version());
  if (!model.ok()) return End(context, model.status());
  WriteConfig(**model, *response->mutable_config());
  return End(context, absl::OkStatus());
}

Reactor* GrpcService::ModelStatistics(Context* context,
                                      const ::inference::ModelStatisticsRequest* request,
                                      ::inference::ModelStatisticsResponse* response) {
  const absl::Status allowed = CheckModel(context, request->name());
  if (!allowed.ok()) return End(context, allowed);
  const auto models = service_.repository().Select(request->name(), request->version());
  if (!models.ok()) return End(context, models.status());
  for (const auto& model : *models) WriteStatistics(*model, *response->add_model_stats());
  return End(context, absl::OkStatus());
}

Reactor* GrpcService::RepositoryIndex(Context* context,
                                      const ::inference::RepositoryIndexRequest* request,
                                      ::inference::RepositoryIndexResponse* response) {
  for (const ModelIndexEntry& entry : service_.repository().Index(request->ready())) {
    auto& model = *response->add_models();
    model.set_name(entry.name);
    model.set_version(entry.version);
    model.set_state(std::string(ToString(entry.state)));
    model.set_reason(entry.reason);
  }
  return End(context, absl::OkStatus());
}

Reactor* GrpcService::RepositoryModelLoad(Context* context,
                                          const ::inference::RepositoryModelLoadRequest* request,
                                          ::inference::RepositoryModelLoadResponse*) {
  const absl::Status allowed = CheckModel(context, request->model_name());
  if (!allowed.ok()) return End(context, allowed);
  if (request->parameters_size() > 0) {
    return End(context,
               InferenceService::RefuseLoadParameter(request->parameters().begin()->first));
  }
  Reactor* const reactor = context->DefaultReactor();
  service_.repository().Load(request->model_name(), [reactor](const absl::Status& status) {
    reactor->Finish(GrpcStatusOf(status));
  });
  return reactor;
}

Reactor* GrpcService::RepositoryModelUnload(
    Context* context, const ::inference::RepositoryModelUnloadRequest* request,
    ::inference::RepositoryModelUnloadResponse*) {
  const absl::Status allowed = CheckModel(context, request->model_name());
  if (!allowed.ok()) return End(context, allowed);
  Reactor* const reactor = context->DefaultReactor();
  service_.repository().Unload(request->model_name(), [reactor](const absl::Status& status) {
    reactor->Finish(GrpcStatusOf(status));
  });
  return reactor;
}

Reactor* GrpcService::SystemSharedMemoryStatus(
    Context* context, const ::inference::SystemSharedMemoryStatusRequest* request,
    ::inference::SystemSharedMemoryStatusResponse* response) {
  const auto regions = service_.shared_memory().Status(request->name());
  if (!regions.ok()) return End(context, regions.status());
  for (const SharedRegionInfo& region : *regions) {
    auto& status = (*response->mutable_regions())[region.name];
    status.set_name(region.name);
    status.set_key(region.key);
    status.set_offset(region.offset);
    status.set_byte_size(region.bytes);
  }
  return End(context, absl::OkStatus());
}

Reactor* GrpcService::SystemSharedMemoryRegister(
    Context* context, const ::inference::SystemSharedMemoryRegisterRequest* request,
    ::inference::SystemSharedMemoryRegisterResponse*) {
  return End(context, service_.shared_memory().Register(request->name(), request->key(),
                                                        request->offset(), request->byte_size()));
}

Reactor* GrpcService::SystemSharedMemoryUnregister(
    Context* context, const ::inference::SystemSharedMemoryUnregisterRequest* request,
    ::inference::SystemSharedMemoryUnregisterResponse*) {
  if (!request->name().empty()) {
    return End(context, service_.shared_memory().Unregister(request->name()));
  }
  service_.shared_memory().UnregisterAll();
  return End(context, absl::OkStatus());
}

Reactor* GrpcService::CudaSharedMemoryStatus(Context* context,
                                             const ::inference::CudaSharedMemoryStatusRequest*,
                                             ::inference::CudaSharedMemoryStatusResponse*) {
  return End(context, absl::OkStatus());  // there are none
}

Reactor* GrpcService::CudaSharedMemoryRegister(Context* context,
                                               const ::inference::CudaSharedMemoryRegisterRequest*,
                                               ::inference::CudaSharedMemoryRegisterResponse*) {
  return End(context, NoCudaSharedMemory());
}

Reactor* GrpcService::CudaSharedMemoryUnregister(
    Context* context, const ::inference::CudaSharedMemoryUnregisterRequest*,
    ::inference::CudaSharedMemoryUnregisterResponse*) {
  return End(context, absl::OkStatus());
}

Reactor* GrpcService::TraceSetting(Context* context,
                                   const ::inference::TraceSettingRequest* request,
                                   ::inference::TraceSettingResponse* response) {
  const absl::Status allowed = CheckModel(context, request->model_name());
  if (!allowed.ok()) return End(context, allowed);
  if (!request->model_name().empty()) {
    const auto known = service_.repository().Find(request->model_name(), "");
    if (!known.ok()) return End(context, known.status());
  }
  TraceSettings changes;
  for (const auto& [key, value] : request->settings()) changes[key] = TextsOf(value);
  const auto settings = service_.settings().ChangeTrace(request->model_name(), changes);
  if (!settings.ok()) return End(context, settings.status());
  for (const auto& [key, values] : *settings) {
    auto& to = (*response->mutable_settings())[key];
    for (const std::string& value : values) to.add_value(value);
  }
  return End(context, absl::OkStatus());
}

Reactor* GrpcService::LogSettings(Context* context, const ::inference::LogSettingsRequest* request,
                                  ::inference::LogSettingsResponse* response) {
  sightline::serve::LogSettings changes;
  using Value = ::inference::LogSettingsRequest::SettingValue;
  for (const auto& [key, value] : request->settings()) {
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
        return End(context, InvalidArgument("the log setting '{}' has no value", key));
    }
  }
  const auto settings = service_.settings().ChangeLogging(changes);
  if (!settings.ok()) return End(context, settings.status());
  for (const auto& [key, value] : *settings) {
    auto& to = (*response->mutable_settings())[key];
    if (const auto* flag = std::get_if<bool>(&value)) to.set_bool_param(*flag);
    if (const auto* number = std::get_if<uint32_t>(&value)) to.set_uint32_param(*number);
    if (const auto* text = std::get_if<std::string>(&value)) to.set_string_param(*text);
  }
  return End(context, absl::OkStatus());
}

grpc::ServerBidiReactor<::inference::ModelInferRequest, ::inference::ModelStreamInferResponse>*
GrpcService::ModelStreamInfer(Context* context) {
  return NewInferStream(context, calls_);
}

}  // namespace sightline::serve
