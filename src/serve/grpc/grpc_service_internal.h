// The calls of inference.GRPCInferenceService. Internal to serve/grpc.
//
// Threads: those of the queues, and of models for answers.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "open_inference.grpc.pb.h"
#include "serve/access/access_gate.h"
#include "serve/grpc/grpc_calls_internal.h"
#include "serve/grpc/grpc_server.h"
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
  const std::shared_ptr<ByteRoom> answers;  // that wait to be read
  OpenStreams streams;
};

using InferCallOverGrpc =
    UnaryCall<::inference::ModelInferRequest, ::inference::ModelInferResponse>;

// ModelStreamInfer.
struct StreamMethod {
  StreamMethod(::inference::GRPCInferenceService::AsyncService& its_service, CallQueues& its_queues,
               int most)
      : service(its_service), queues(its_queues), bound(most) {}
  ::inference::GRPCInferenceService::AsyncService& service;
  CallQueues& queues;
  MethodBound bound;
};

// Takes streams from now on. Both outlive all of them.
void AcceptInferStreams(StreamMethod& method, GrpcCalls& calls);

// `request` may be so large together with all others; ResourceExhausted when there is no room.
absl::StatusOr<std::shared_ptr<const ByteRoom::Taken>> TakeRoomFor(
    const ::inference::ModelInferRequest& request, ByteRoom& room);

// The same for an answer until it was read; null for one that is too small to be counted.
absl::StatusOr<std::shared_ptr<const ByteRoom::Taken>> TakeRoomForAnswer(
    const ::inference::ModelInferResponse& response, ByteRoom& room);

class GrpcService {
 public:
  GrpcService(InferenceService& service, const GrpcServerOptions& options)
      : calls_{.service = service,
               .gate = options.gate,
               .room = ByteRoom::Make(options.max_requests_bytes),
               .answers = ByteRoom::Make(options.max_answers_bytes),
               .streams = {}},
        max_calls_(options.max_calls),
        max_streams_(options.max_streams) {}

  // For the server, which has to know it before it is built.
  grpc::Service* methods() { return &methods_; }
  // Takes calls by `queues`, which are stopped before this goes. Once.
  void TakeCalls(CallQueues& queues);
  OpenStreams& streams() { return calls_.streams; }
  // Streams end when what they have asked is answered.
  void BeginDrain() { calls_.streams.EndAll(); }

 private:
  using Methods = ::inference::GRPCInferenceService::AsyncService;
  // Answered where they are read.
  template <typename Request, typename Response>
  using Handle = absl::Status (GrpcService::*)(grpc::ServerContext&, const Request&, Response&);
  // Answered when there is an answer.
  template <typename Request, typename Response>
  using HandleLater = void (GrpcService::*)(UnaryCall<Request, Response>&, bool too_many);

  template <typename Request, typename Response>
  void Take(CallQueues& queues, typename UnaryCall<Request, Response>::Accept accept,
            Handle<Request, Response> handle);
  template <typename Request, typename Response>
  void Take(CallQueues& queues, typename UnaryCall<Request, Response>::Accept accept,
            HandleLater<Request, Response> handle, int most);

#define SL_UNARY(Name)                                                                       \
  absl::Status Name(grpc::ServerContext& context, const ::inference::Name##Request& request, \
                    ::inference::Name##Response& response);
  SL_UNARY(ServerLive)
  SL_UNARY(ServerReady)
  SL_UNARY(ModelReady)
  SL_UNARY(ServerMetadata)
  SL_UNARY(ModelMetadata)
  SL_UNARY(ModelConfig)
  SL_UNARY(ModelStatistics)
  SL_UNARY(RepositoryIndex)
  SL_UNARY(SystemSharedMemoryStatus)
  SL_UNARY(SystemSharedMemoryRegister)
  SL_UNARY(SystemSharedMemoryUnregister)
  SL_UNARY(CudaSharedMemoryStatus)
  SL_UNARY(CudaSharedMemoryRegister)
  SL_UNARY(CudaSharedMemoryUnregister)
  SL_UNARY(TraceSetting)
  SL_UNARY(LogSettings)
#undef SL_UNARY
  void ModelInfer(InferCallOverGrpc& call, bool too_many);
  void RepositoryModelLoad(UnaryCall<::inference::RepositoryModelLoadRequest,
                                     ::inference::RepositoryModelLoadResponse>& call,
                           bool too_many);
  void RepositoryModelUnload(UnaryCall<::inference::RepositoryModelUnloadRequest,
                                       ::inference::RepositoryModelUnloadResponse>& call,
                             bool too_many);

  // OK when the caller's key is for that model.
  absl::Status CheckModel(grpc::ServerContext& context, const std::string& model) const;

  GrpcCalls calls_;
  InferenceService& service_ = calls_.service;
  const int max_calls_, max_streams_;
  Methods methods_;
  std::vector<std::shared_ptr<void>> unary_;  // UnaryCall::Method
  std::unique_ptr<StreamMethod> stream_;
};

}  // namespace sightline::serve
