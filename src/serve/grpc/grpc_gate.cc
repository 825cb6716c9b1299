#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/ascii_text.h"
#include "serve/access/rate_limit.h"
#include "serve/grpc/grpc_gate_internal.h"

namespace sightline::serve {
namespace {

using Metadata = std::multimap<grpc::string_ref, grpc::string_ref>;

constexpr std::string_view kInference = "/inference.GRPCInferenceService/";

struct MethodRole {
  std::string_view path;
  RouteRole role;
};
constexpr MethodRole kMethods[] = {
    {"/inference.GRPCInferenceService/ServerLive", RouteRole::kHealth},
    {"/inference.GRPCInferenceService/ServerReady", RouteRole::kHealth},
    {"/inference.GRPCInferenceService/ServerMetadata", RouteRole::kViewer},
    {"/inference.GRPCInferenceService/ModelReady", RouteRole::kViewer},
    {"/inference.GRPCInferenceService/ModelMetadata", RouteRole::kViewer},
    {"/inference.GRPCInferenceService/ModelConfig", RouteRole::kViewer},
    {"/inference.GRPCInferenceService/ModelStatistics", RouteRole::kViewer},
    {"/inference.GRPCInferenceService/RepositoryIndex", RouteRole::kViewer},
    {"/inference.GRPCInferenceService/ModelInfer", RouteRole::kInfer},
    {"/inference.GRPCInferenceService/ModelStreamInfer", RouteRole::kInfer},
    {"/inference.GRPCInferenceService/RepositoryModelLoad", RouteRole::kControl},
    {"/inference.GRPCInferenceService/RepositoryModelUnload", RouteRole::kControl},
    // Reading and changing are one call.
    {"/inference.GRPCInferenceService/TraceSetting", RouteRole::kControl},
    {"/inference.GRPCInferenceService/LogSettings", RouteRole::kControl},
    {"/grpc.health.v1.Health/Check", RouteRole::kHealth},
    {"/grpc.health.v1.Health/Watch", RouteRole::kHealth},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", RouteRole::kViewer},
};

const MethodRole* FindMethod(std::string_view path) {
  const auto* const at = std::ranges::find(kMethods, path, &MethodRole::path);
  return at == std::end(kMethods) ? nullptr : at;
}

// A path is the client's words: only what there is goes into logs.
std::string RouteOf(std::string_view path) {
  const bool known = FindMethod(path) != nullptr || path.starts_with(kInference);
  return known ? ShownText(path.substr(1), 100) : "";
}

bool IsInference(std::string_view path) {
  return path.starts_with('/') &&
         (path.substr(1) == GrpcCall::kModelInfer || path.substr(1) == GrpcCall::kModelStreamInfer);
}

std::string_view Find(const Metadata& metadata, const char* name) {
  const auto at = metadata.find(name);
  if (at == metadata.end()) return {};
  return {at->second.data(), at->second.size()};
}

Caller CallerOf(const Metadata& metadata, std::string_view client) {
  Caller caller;
  caller.authorization = Find(metadata, "authorization");
  caller.x_api_key = Find(metadata, "x-api-key");
  caller.request_id = Find(metadata, "x-request-id");
  caller.traceparent = Find(metadata, "traceparent");
  caller.tracestate = Find(metadata, "tracestate");
  caller.client = client;
  return caller;
}

class GateProcessor final : public grpc::AuthMetadataProcessor {
 public:
  explicit GateProcessor(AccessGate& gate) : gate_(gate) {}
  bool IsBlocking() const override { return false; }
  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext*, OutputMetadata*,
                       OutputMetadata*) override {
    const std::string_view path = Find(metadata, ":path");
    const int64_t began_us = gate_.clock().NowMonotonicUs();
    const AccessGate::Entry entry = gate_.Enter(CallerOf(metadata, ""), RoleOfMethod(path), "",
                                                /*counts=*/!IsInference(path));
    if (!entry.refusal) return grpc::Status::OK;
    grpc::Status status = GrpcStatusOf(*entry.refusal);
    if (!gate_.records()) return status;
    AccessRecord record;
    record.protocol = "grpc";
    record.route = RouteOf(path);
    record.status = status.error_code();
    record.complete = true;
    gate_.Describe(*entry.context, began_us, record);
    record.took_us = gate_.clock().NowMonotonicUs() - began_us;
    gate_.Record(std::move(record));
    return status;
  }

 private:
  AccessGate& gate_;
};

std::string_view ViewOf(const grpc_slice& slice) {
  return {reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)), GRPC_SLICE_LENGTH(slice)};
}

// gRPC's C++ class for plain TCP refuses processors; the C library below it takes them.
class PlainTcpCredentials final : public grpc::ServerCredentials {
 public:
  explicit PlainTcpCredentials(std::shared_ptr<grpc::AuthMetadataProcessor> processor)
      : processor_(std::move(processor)) {}
  void SetAuthMetadataProcessor(
      const std::shared_ptr<grpc::AuthMetadataProcessor>& processor) override {
    processor_ = processor;
  }

 private:
  using Shared = std::shared_ptr<grpc::AuthMetadataProcessor>;

  int AddPortToServer(const std::string& address, grpc_server* server) override {
    grpc_server_credentials* const credentials = grpc_insecure_server_credentials_create();
    grpc_auth_metadata_processor processor{};
    processor.process = &Process;
    processor.destroy = [](void* state) { delete static_cast<Shared*>(state); };
    processor.state = new Shared(processor_);
    grpc_server_credentials_set_auth_metadata_processor(credentials, processor);
    const int port = grpc_server_add_http2_port(server, address.c_str(), credentials);
    grpc_server_credentials_release(credentials);
    return port;
  }

  static void Process(void* state, grpc_auth_context*, const grpc_metadata* metadata, size_t count,
                      grpc_process_auth_metadata_done_cb done, void* user_data) {
    grpc::AuthMetadataProcessor::InputMetadata read;
    for (size_t i = 0; i < count; ++i) {
      const std::string_view key = ViewOf(metadata[i].key);
      const std::string_view value = ViewOf(metadata[i].value);
      read.emplace(grpc::string_ref(key.data(), key.size()),
                   grpc::string_ref(value.data(), value.size()));
    }
    grpc::AuthMetadataProcessor::OutputMetadata consumed, answered;
    const grpc::Status status =
        (*static_cast<Shared*>(state))->Process(read, nullptr, &consumed, &answered);
    done(user_data, nullptr, 0, nullptr, 0, static_cast<grpc_status_code>(status.error_code()),
         status.ok() ? nullptr : status.error_message().c_str());
  }

  Shared processor_;
};

class CallRecorder final : public grpc::experimental::Interceptor {
 public:
  CallRecorder(AccessGate& gate, grpc::experimental::ServerRpcInfo& info)
      : gate_(gate), info_(info), began_us_(gate.clock().NowMonotonicUs()) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using Point = grpc::experimental::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(Point::POST_RECV_INITIAL_METADATA)) {
      client_ = ClientOfPeer(info_.server_context()->peer());
      context_ = gate_
                     .Enter(CallerOf(*methods->GetRecvInitialMetadata(), client_),
                            RoleOfMethod(info_.method()), "", /*counts=*/false)
                     .context;
    }
    if (context_ != nullptr &&
        methods->QueryInterceptionHookPoint(Point::PRE_SEND_INITIAL_METADATA)) {
      for (const auto& [name, value] : context_->answer_headers) {
        methods->GetSendInitialMetadata()->emplace(AsciiLower(name), value);
      }
    }
    if (context_ != nullptr && methods->QueryInterceptionHookPoint(Point::PRE_SEND_STATUS)) {
      Record(methods->GetSendStatus().error_code());
    }
    methods->Proceed();
  }

 private:
  void Record(grpc::StatusCode status) {
    AccessRecord record;
    record.protocol = "grpc";
    record.route = RouteOf(info_.method());
    record.status = status;
    record.complete = true;
    record.client = client_;
    gate_.Describe(*context_, began_us_, record);
    record.took_us = gate_.clock().NowMonotonicUs() - began_us_;
    gate_.Record(std::move(record));
  }

  AccessGate& gate_;
  grpc::experimental::ServerRpcInfo& info_;
  const int64_t began_us_;
  std::string client_;
  std::shared_ptr<RequestContext> context_;
};

class CallRecorders final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit CallRecorders(AccessGate& gate) : gate_(gate) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    return IsInference(info->method()) ? nullptr : new CallRecorder(gate_, *info);
  }

 private:
  AccessGate& gate_;
};

}  // namespace

RouteRole RoleOfMethod(std::string_view path) {
  const MethodRole* const known = FindMethod(path);
  if (known != nullptr) return known->role;
  // Shared memory, and what this table has forgotten; what is not there is told to whoever may look.
  return path.starts_with(kInference) ? RouteRole::kAdmin : RouteRole::kViewer;
}

std::string ClientOfPeer(std::string_view peer) {
  if (!peer.starts_with("ipv4:") && !peer.starts_with("ipv6:")) return "";
  std::string address;
  PercentDecode(peer.substr(5, peer.rfind(':') - 5), &address);
  if (address.starts_with('[') && address.ends_with(']')) {
    address = address.substr(1, address.size() - 2);
  }
  constexpr std::string_view kMapped = "::ffff:";
  if (address.starts_with(kMapped) && address.find('.') != std::string::npos) {
    address.erase(0, kMapped.size());
  }
  return address;
}

grpc::Status GrpcStatusOf(const Refusal& refusal) {
  grpc::StatusCode code = grpc::StatusCode::PERMISSION_DENIED;
  if (refusal.kind == RefusalKind::kKey) code = grpc::StatusCode::UNAUTHENTICATED;
  if (refusal.kind == RefusalKind::kOverload) code = grpc::StatusCode::UNAVAILABLE;
  if (refusal.kind == RefusalKind::kRate || refusal.kind == RefusalKind::kConcurrency) {
    code = grpc::StatusCode::RESOURCE_EXHAUSTED;
  }
  return {code, refusal.message};
}

std::shared_ptr<grpc::ServerCredentials> GuardedCredentials(
    std::shared_ptr<grpc::ServerCredentials> tls, AccessGate* gate) {
  if (gate == nullptr || !gate->checks_callers()) {
    return tls != nullptr ? tls : grpc::InsecureServerCredentials();
  }
  auto processor = std::make_shared<GateProcessor>(*gate);
  if (tls == nullptr) return std::make_shared<PlainTcpCredentials>(std::move(processor));
  tls->SetAuthMetadataProcessor(processor);
  return tls;
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> NewCallRecorder(
    AccessGate& gate) {
  return std::make_unique<CallRecorders>(gate);
}

std::optional<grpc::Status> GrpcCall::Enter(grpc::CallbackServerContext& context,
                                            const std::string& model, RouteRole needed,
                                            bool is_unary) {
  if (gate_ == nullptr) return std::nullopt;
  began_us_ = gate_->clock().NowMonotonicUs();
  client_ = ClientOfPeer(context.peer());
  model_ = ShownText(model, 200);
  AccessGate::Entry entry =
      gate_->Enter(CallerOf(context.client_metadata(), client_), needed, model,
                   /*counts=*/needed == RouteRole::kInfer);
  context_ = std::move(entry.context);
  if (is_unary) {
    for (const auto& [name, value] : context_->answer_headers) {
      context.AddInitialMetadata(AsciiLower(name), value);
    }
  }
  if (!entry.refusal) return std::nullopt;
  if (is_unary && entry.refusal->retry_after_us > 0) {
    // As gRPC's retries read it (proposal A6), and as HTTP says it.
    context.AddTrailingMetadata("grpc-retry-pushback-ms",
                                std::to_string((entry.refusal->retry_after_us + 999) / 1000));
    context.AddTrailingMetadata("retry-after",
                                std::to_string(RetryAfterS(entry.refusal->retry_after_us)));
  }
  return GrpcStatusOf(*entry.refusal);
}

void GrpcCall::Mark(InferRequest& request) const {
  if (context_ == nullptr) return;
  request.source = context_->source;
  request.context = context_;
}

void GrpcCall::Ended(grpc::StatusCode status, size_t received_bytes, size_t sent_bytes) const {
  if (!is_recorded() || context_ == nullptr) return;
  AccessRecord record;
  record.protocol = "grpc";
  record.route = method_;
  record.model = model_;
  record.status = status;
  record.complete = true;
  record.received_bytes = received_bytes;
  record.sent_bytes = sent_bytes;
  record.client = client_;
  gate_->Describe(*context_, began_us_, record);
  record.took_us = gate_->clock().NowMonotonicUs() - began_us_;
  gate_->Record(std::move(record));
}

}  // namespace sightline::serve
