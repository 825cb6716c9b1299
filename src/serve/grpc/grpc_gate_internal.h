// The gate of the gRPC server. Internal to serve/grpc.
//
// Who may call what is asked before any handler sees the call, for every method, those that the library
// itself answers (health, reflection) and those that are not there included. What needs the message, a
// model's name, is asked by the handlers of inference, which count it for the caller's limits.
//
// Threads: those of the gRPC library.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/support/server_interceptor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "serve/access/access_gate.h"
#include "serve/inference/infer_message.h"

namespace sightline::serve {

// What a caller must be allowed to do for "/package.Service/Method".
RouteRole RoleOfMethod(std::string_view path);

// "ipv4:127.0.0.1:5000" and "ipv6:%5B::1%5D:5000" without scheme and port; "" for others.
std::string ClientOfPeer(std::string_view peer);

grpc::Status GrpcStatusOf(const Refusal& refusal);

// Credentials that refuse calls by their metadata, where the gate does. `tls` are those of TLS; null: plain
// TCP. `gate` may be null, and outlives the server.
std::shared_ptr<grpc::ServerCredentials> GuardedCredentials(
    std::shared_ptr<grpc::ServerCredentials> tls, AccessGate* gate);
// Records the calls that are none of inference, which record themselves.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> NewCallRecorder(
    AccessGate& gate);

// One request for inference: a call, or a message of a stream.
class GrpcCall {
 public:
  static constexpr std::string_view kModelInfer = "inference.GRPCInferenceService/ModelInfer";
  static constexpr std::string_view kModelStreamInfer =
      "inference.GRPCInferenceService/ModelStreamInfer";

  // `gate` may be null: then everyone may.
  GrpcCall(AccessGate* gate, std::string_view method) : gate_(gate), method_(method) {}

  // Why it is refused, if it is. `is_unary`: its ids go into the metadata of the answer.
  std::optional<grpc::Status> Enter(grpc::CallbackServerContext& context, const std::string& model,
                                    RouteRole needed, bool is_unary);
  // Who asks, for the model's queue.
  void Mark(InferRequest& request) const;
  // Whether anybody wants to know how it ended.
  bool is_recorded() const { return gate_ != nullptr && gate_->records(); }
  void Ended(grpc::StatusCode status, size_t received_bytes, size_t sent_bytes) const;

 private:
  AccessGate* const gate_;
  const std::string_view method_;
  int64_t began_us_ = 0;
  std::string client_;
  std::string model_;
  std::shared_ptr<RequestContext> context_;
};

}  // namespace sightline::serve
