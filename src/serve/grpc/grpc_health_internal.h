// grpc.health.v1: what a server says of itself by gRPC's own protocol. Internal to serve/grpc.
//
// Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md. There is one service to ask about, the whole
// server, whose name is "".
// Threads: safe.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "base/mutex.h"
#include "grpc_health.grpc.pb.h"
#include "serve/grpc/grpc_calls_internal.h"

namespace sightline::serve {

class HealthWatch;

class GrpcHealth {
 public:
  // For the server, which has to know it before it is built.
  grpc::Service* methods() { return &methods_; }
  // Takes calls by `queues`, which are stopped before this goes. Once.
  void TakeCalls(CallQueues& queues);
  void SetServing(bool serving) EXCLUDES(mutex_);
  // Those who watch are told the last state and that the server is ending.
  void EndWatches() EXCLUDES(mutex_);

 private:
  friend class HealthWatch;
  using Request = ::grpc::health::v1::HealthCheckRequest;
  using Response = ::grpc::health::v1::HealthCheckResponse;
  using CheckCall = UnaryCall<Request, Response>;

  void Check(CheckCall& call);
  // `ending`: whether there will be no other.
  Response::ServingStatus StatusOf(const std::string& service, bool& ending) EXCLUDES(mutex_);

  ::grpc::health::v1::Health::AsyncService methods_;
  std::unique_ptr<CheckCall::Method> check_;
  CallQueues* queues_ = nullptr;  // from TakeCalls() on
  std::unique_ptr<MethodBound> watch_bound_;
  Mutex mutex_;
  bool serving_ GUARDED_BY(mutex_) = false;
  bool ending_ GUARDED_BY(mutex_) = false;
  std::set<std::shared_ptr<HealthWatch>> watches_ GUARDED_BY(mutex_);
};

}  // namespace sightline::serve
