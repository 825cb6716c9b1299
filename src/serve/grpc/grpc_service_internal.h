// The calls of inference.GRPCInferenceService. Internal to serve/grpc.
//
// Threads: those of the gRPC library.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "base/mutex.h"
#include "open_inference.grpc.pb.h"
#include "serve/access/access_gate.h"
#include "serve/inference/byte_room.h"
#include "serve/inference/inference_service.h"

namespace sightline::serve {

// The status of a call for an error of the service. Queues that are full and deadlines that have passed
// are UNAVAILABLE, as 503 is over HTTP.
grpc::Status GrpcStatusOf(const absl::Status& status);

// The streams of ModelStreamInfer that are open, to be ended when the server ends.
class OpenStreams {
 public:
  // Calls `end` at EndAll(), or now when that has been. `end` must not block.
  uint64_t Add(std::function<void()> end) EXCLUDES(mutex_);
  void Remove(uint64_t number) EXCLUDES(mutex_);
  void EndAll() EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  bool ending_ GUARDED_BY(mutex_) = false;
  uint64_t next_ GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, std::function<void()>> ends_ GUARDED_BY(mutex_);
};

// What all calls share.
struct GrpcCalls {
  InferenceService& service;
  AccessGate* const gate;  // may be null
  const std::shared_ptr<ByteRoom>
      room;  // of requests that are being answered, as they lie in memory
  OpenStreams streams;
};

// `request` may be so large together with all others; ResourceExhausted when there is no room.
absl::StatusOr<std::shared_ptr<const ByteRoom::Taken>> TakeRoomFor(
    const ::inference::ModelInferRequest& request, ByteRoom& room);

class GrpcService final : public ::inference::GRPCInferenceService::CallbackService {
 public:
  // `gate` may be null.
  GrpcService(InferenceService& service, AccessGate* gate, size_t max_requests_bytes)
      : calls_{.service = service,
               .gate = gate,
               .room = ByteRoom::Make(max_requests_bytes),
               .streams = {}} {}

  // Streams end when what they have asked is answered.
  void BeginDrain() { calls_.streams.EndAll(); }

#define SL_UNARY(Name)                                                      \
  grpc::ServerUnaryReactor* Name(grpc::CallbackServerContext* context,      \
                                 const ::inference::Name##Request* request, \
                                 ::inference::Name##Response* response) override;
  SL_UNARY(ServerLive)
  SL_UNARY(ServerReady)
  SL_UNARY(ModelReady)
  SL_UNARY(ServerMetadata)
  SL_UNARY(ModelMetadata)
  SL_UNARY(ModelInfer)
  SL_UNARY(ModelConfig)
  SL_UNARY(ModelStatistics)
  SL_UNARY(RepositoryIndex)
  SL_UNARY(RepositoryModelLoad)
  SL_UNARY(RepositoryModelUnload)
  SL_UNARY(SystemSharedMemoryStatus)
  SL_UNARY(SystemSharedMemoryRegister)
  SL_UNARY(SystemSharedMemoryUnregister)
  SL_UNARY(CudaSharedMemoryStatus)
  SL_UNARY(CudaSharedMemoryRegister)
  SL_UNARY(CudaSharedMemoryUnregister)
  SL_UNARY(TraceSetting)
  SL_UNARY(LogSettings)
#undef SL_UNARY

  grpc::ServerBidiReactor<::inference::ModelInferRequest, ::inference::ModelStreamInferResponse>*
  ModelStreamInfer(grpc::CallbackServerContext* context) override;

 private:
  // OK when the caller's key is for that model.
  absl::Status CheckModel(grpc::CallbackServerContext* context, const std::string& model) const;

  GrpcCalls calls_;
  InferenceService& service_ = calls_.service;
};

// Its reactor; deletes itself at the end. `calls` outlives it.
grpc::ServerBidiReactor<::inference::ModelInferRequest, ::inference::ModelStreamInferResponse>*
NewInferStream(grpc::CallbackServerContext* context, GrpcCalls& calls);

}  // namespace sightline::serve
