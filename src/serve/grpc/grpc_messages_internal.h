// Between the protocol's messages and the core's records. Internal to serve/grpc.
//
// Threads: reentrant.
#pragma once

#include <memory>
#include <span>

#include "base/status.h"
#include "open_inference.pb.h"
#include "serve/inference/inference_service.h"

namespace sightline::serve {

// Tensors are views into `message`, which the caller keeps until the answer is there.
// InvalidArgument with what is wrong; NotFound for shared memory that is not registered.
absl::StatusOr<InferRequest> ReadRequest(const ::inference::ModelInferRequest& message,
                                         const SharedMemory& shared_memory);
void WriteResponse(InferResponse&& response, ::inference::ModelInferResponse& message);

void WriteMetadata(const ServedModel& model, std::span<const std::shared_ptr<ServedModel>> versions,
                   ::inference::ModelMetadataResponse& message);
void WriteConfig(const ServedModel& model, ::inference::ModelConfig& message);
void WriteStatistics(const ServedModel& model, ::inference::ModelStatistics& message);

}  // namespace sightline::serve
