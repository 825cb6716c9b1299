#include "serve/grpc/grpc_server.h"

#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <chrono>
#include <cstdlib>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "serve/grpc/grpc_gate_internal.h"
#include "serve/grpc/grpc_service_internal.h"

namespace sightline::serve {
namespace {

// As gRPC writes addresses; "every address" is the IPv6 one, which takes both kinds.
std::string GrpcAddressOf(const ListenAddress& address) {
  ListenAddress shown = address;
  if (shown.address.empty()) shown.address = "::";
  return ToString(shown);
}

// Of files, which the library reads again by itself; null without any.
std::shared_ptr<grpc::ServerCredentials> CredentialsOf(const TlsFiles& files) {
  if (files.empty()) return nullptr;
  constexpr unsigned kLookEveryS = 10;
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          files.key, files.certificate, files.client_ca, kLookEveryS));
  options.watch_identity_key_cert_pairs();
  if (files.client_ca.empty()) {
    options.set_cert_request_type(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  } else {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

}  // namespace

void GrpcServer::RequireTls13() {
  // One of TLS 1.2 that needs a key which nobody has; those of 1.3 are not chosen by this.
  setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES128-GCM-SHA256", /*overwrite=*/1);
}

class GrpcServer::Impl {
 public:
  Impl(InferenceService& service, const GrpcServerOptions& options)
      : service_(service, options.gate, options.max_requests_bytes) {}

  absl::Status Start(const GrpcServerOptions& options) {
    static std::once_flag plugins;
    std::call_once(plugins, [] {
      // Its own lines go to standard error, one for every bad handshake.
      gpr_set_log_function([](gpr_log_func_args* line) { Log().debug("gRPC: {}", line->message); });
      grpc::EnableDefaultHealthCheckService(true);
      grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    });
    grpc::ServerBuilder builder;
    grpc::ResourceQuota quota("sightline");
    quota.Resize(options.max_memory_bytes);
    builder.SetResourceQuota(quota);
    builder.SetMaxReceiveMessageSize(options.max_message_bytes);
    builder.SetMaxSendMessageSize(-1);
    // Two servers on one port would share its calls, silently.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    int port = 0;
    if (options.gate != nullptr && options.gate->records()) {
      std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> recorders;
      recorders.push_back(NewCallRecorder(*options.gate));
      builder.experimental().SetInterceptorCreators(std::move(recorders));
    }
    builder.AddListeningPort(GrpcAddressOf(options.address),
                             GuardedCredentials(CredentialsOf(options.tls), options.gate), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port == 0) {
      return FailedPrecondition(
          "gRPC cannot listen on {}: the port is taken by another program, not allowed, or the "
          "address is none of this machine; choose another, or 0 for any port that is free",
          ToString(options.address));
    }
    address_ = {options.address.address, static_cast<uint16_t>(port)};
    SetServing(false);
    return absl::OkStatus();
  }

  void SetServing(bool serving) {
    if (auto* const health = server_->GetHealthCheckService()) health->SetServingStatus(serving);
  }

  void BeginDrain() { service_.BeginDrain(); }

  void Stop(int64_t timeout_us) {
    if (server_ == nullptr) return;
    std::call_once(stopped_, [&] {
      server_->Shutdown(std::chrono::system_clock::now() + std::chrono::microseconds(timeout_us));
      server_->Wait();
    });
  }

  const ListenAddress& address() const { return address_; }

 private:
  GrpcService service_;
  ListenAddress address_;
  std::once_flag stopped_;
  std::unique_ptr<grpc::Server> server_;
};

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(InferenceService& service,
                                                              const GrpcServerOptions& options) {
  auto impl = std::make_unique<Impl>(service, options);
  SL_RETURN_IF_ERROR(impl->Start(options));
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(impl)));
}

GrpcServer::GrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GrpcServer::~GrpcServer() { impl_->Stop(0); }
ListenAddress GrpcServer::address() const { return impl_->address(); }
void GrpcServer::SetServing(bool serving) { impl_->SetServing(serving); }
void GrpcServer::BeginDrain() { impl_->BeginDrain(); }
void GrpcServer::Stop(int64_t timeout_us) { impl_->Stop(timeout_us); }

}  // namespace sightline::serve
