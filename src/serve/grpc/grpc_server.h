// The Open Inference Protocol over gRPC: every call of inference.GRPCInferenceService, health
// (grpc.health.v1) and reflection.
//
// ModelInfer copies nothing of its own: inputs are read where the message has them, outputs are moved into
// the answer. ModelStreamInfer answers in the order of the requests of a stream.
//
// Threads: those of the gRPC library; calls are answered when the model has the answer, and no thread
// waits for it. A call's deadline limits when its run may begin, and one that was cancelled is not run any more.
// Bounds: the size of a message; the memory of what is being received (a quota of the library) and of what is
// being answered; kMostInStream requests of one stream, which is not read on meanwhile.
// Source: Open Inference Protocol 2 (gRPC); Triton's protocol extensions; proto/open_inference.proto.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/listen_address.h"
#include "base/status.h"
#include "serve/access/access_gate.h"
#include "serve/http/tls_credentials.h"
#include "serve/inference/inference_service.h"

namespace sightline::serve {

struct GrpcServerOptions {
  ListenAddress address;
  int max_message_bytes = 64 << 20;             // of requests; chosen
  size_t max_memory_bytes = size_t{512} << 20;  // of the library's buffers; chosen
  // Of requests that are being answered, as they lie in memory; more are refused. Chosen.
  size_t max_requests_bytes = size_t{512} << 20;
  AccessGate* gate = nullptr;  // who may call what; null: everyone everything. Outlives the server
  // Not empty: TLS. Files that were tried by TlsCredentials::Load(); looked at again every ten seconds.
  TlsFiles tls = {};
};

class GrpcServer {
 public:
  // How many requests of one stream are worked on at once.
  static constexpr size_t kMostInStream = 32;

  // The library has no setting for the least version of TLS and takes 1.2, too. This leaves it no cipher for
  // that, in its environment variable GRPC_SSL_CIPHER_SUITES, so that 1.3 alone is spoken: by all servers
  // and clients of this process. Called before there is a second thread and before anything of gRPC.
  static void RequireTls13();

  // Listens and answers. FailedPrecondition when the port is taken or not allowed. `service` outlives
  // the server.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(InferenceService& service,
                                                           const GrpcServerOptions& options);
  ~GrpcServer();  // Stop(0)s

  ListenAddress address() const;  // with the port that it got
  // What grpc.health.v1 says.
  void SetServing(bool serving);
  // Streams end when what they have asked is answered; calls are still taken.
  void BeginDrain();
  // Takes no more calls and waits for those that are under way; after `timeout_us` they are cancelled.
  // Idempotent.
  void Stop(int64_t timeout_us);

 private:
  class Impl;
  explicit GrpcServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sightline::serve
