// The calls of inference.GRPCInferenceService. Internal to serve/grpc.
//
// Threads: those of the gRPC library.
#pragma once

#include <memory>

#include "open_inference.grpc.pb.h"
#include "serve/inference/inference_service.h"

namespace sightline::serve {

// The status of a call for an error of the service. Queues that are full and deadlines that have passed
// are UNAVAILABLE, as 503 is over HTTP.
grpc::Status GrpcStatusOf(const absl::Status& status);

class GrpcService final : public ::inference::GRPCInferenceService::CallbackService {
 public:
  explicit GrpcService(InferenceService& service) : service_(service) {}

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
  InferenceService& service_;
};

// Its reactor; deletes itself at the end.
grpc::ServerBidiReactor<::inference::ModelInferRequest, ::inference::ModelStreamInferResponse>*
NewInferStream(InferenceService& service);

}  // namespace sightline::serve
