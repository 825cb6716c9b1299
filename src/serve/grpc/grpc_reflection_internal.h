// grpc.reflection.v1alpha: what the server offers, in the words of its .proto files. Internal to serve/grpc.
//
// The library's own reflection is a synchronous service: a thread for every client that keeps its stream open.
//
// Source: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md.
#pragma once

#include <memory>

#include "grpc_reflection.grpc.pb.h"
#include "serve/grpc/grpc_calls_internal.h"
#include "serve/grpc/grpc_service_internal.h"

namespace sightline::serve {

class GrpcReflection {
 public:
  // `streams` outlives it.
  explicit GrpcReflection(OpenStreams& streams) : streams_(streams) {}

  // For the server, which has to know it before it is built.
  grpc::Service* methods() { return &methods_; }
  // Takes calls by `queues`, which are stopped before this goes. Once.
  void TakeCalls(CallQueues& queues);

 private:
  friend class ReflectionStream;

  OpenStreams& streams_;
  ::grpc::reflection::v1alpha::ServerReflection::AsyncService methods_;
  CallQueues* queues_ = nullptr;  // from TakeCalls() on
  std::unique_ptr<MethodBound> bound_;
};

}  // namespace sightline::serve
