// Calls from their beginning to their end, by real clients.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/test_until.h"
#include "grpc_health.grpc.pb.h"
#include "grpc_reflection.grpc.pb.h"
#include "open_inference.grpc.pb.h"
#include "serve/access/access_gate.h"
#include "serve/access/api_key.h"
#include "serve/grpc/grpc_server.h"
#include "serve/inference/test_service.h"

namespace sightline::serve {
namespace {

using ::inference::GRPCInferenceService;
using ::inference::ModelInferRequest;
using ::inference::ModelInferResponse;
using ::inference::ModelStreamInferResponse;
using ::testing::HasSubstr;
using Health = ::grpc::health::v1::Health;
using HealthAnswer = ::grpc::health::v1::HealthCheckResponse;
using Reflection = ::grpc::reflection::v1alpha::ServerReflection;

constexpr int64_t kPatienceUs = 60'000'000;

ModelInferRequest Asking(const std::string& id, size_t rows = 1) {
  ModelInferRequest request;
  request.set_model_name("double");
  request.set_id(id);
  auto& input = *request.add_inputs();
  input.set_name("x");
  input.set_datatype("FP32");
  input.add_shape(static_cast<int64_t>(rows));
  input.add_shape(2);
  request.add_raw_input_contents(std::string(rows * 2 * sizeof(float), '\0'));
  return request;
}

// A call of a client that goes on meanwhile.
struct Call {
  grpc::ClientContext context;
  ModelInferResponse response;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReader<ModelInferResponse>> reader;
  bool over = false;
};

class GrpcCallsTest : public ::testing::Test {
 protected:
  ~GrpcCallsTest() override {
    model_.state().Open();
    server_.reset();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  void Start(GrpcServerOptions options = {}) {
    ASSERT_TRUE(model_.Load().ok());
    model_.state().rows.clear();  // of what it was warmed up with
    options.address = {.address = "127.0.0.1", .port = 0};
    auto server = GrpcServer::Start(model_.service(), options);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = NewChannel();
    stub_ = GRPCInferenceService::NewStub(channel_);
  }
  // With a connection of its own.
  std::shared_ptr<grpc::Channel> NewChannel() {
    grpc::ChannelArguments arguments;
    arguments.SetInt("grpc.use_local_subchannel_pool", 1);
    return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server_->address().port),
                                     grpc::InsecureChannelCredentials(), arguments);
  }
  Call& Begin(const ModelInferRequest& request, const std::string& key = "") {
    Call& call = calls_.emplace_back();
    if (!key.empty()) call.context.AddMetadata("authorization", "Bearer " + key);
    return Begin(call, request);
  }
  Call& Begin(Call& call, const ModelInferRequest& request) {
    call.reader = stub_->AsyncModelInfer(&call.context, request, &queue_);
    call.reader->Finish(&call.response, &call.status, &call);
    return call;
  }
  const grpc::Status& End(Call& call) {
    void* tag = nullptr;
    bool ok = false;
    while (!call.over && queue_.Next(&tag, &ok)) static_cast<Call*>(tag)->over = true;
    return call.status;
  }
  // Whatever the connection has carried before it was looked at by the server then: at the second question all that came
  // with the first one.
  void WaitForServer() {
    for (int i = 0; i < 2; ++i) {
      grpc::ClientContext context;
      ::inference::ServerLiveResponse response;
      EXPECT_TRUE(stub_->ServerLive(&context, {}, &response).ok());
    }
  }
  size_t Runs() {
    const std::lock_guard lock(model_.state().mutex);
    return model_.state().rows.size();
  }

  TestService model_{"grpc-calls"};
  std::unique_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<GRPCInferenceService::Stub> stub_;
  grpc::CompletionQueue queue_;
  std::deque<Call> calls_;
};

TEST_F(GrpcCallsTest, AThousandCallsAreEachAnswered) {
  GrpcServerOptions options;
  options.threads = 2;
  Start(options);
  constexpr int kAtOnce = 8;
  std::vector<std::thread> clients;
  std::atomic<int> right{0};
  for (int i = 0; i < kAtOnce; ++i) {
    clients.emplace_back([&, i] {
      const auto stub = GRPCInferenceService::NewStub(NewChannel());
      for (int j = 0; j < 125; ++j) {
        grpc::ClientContext context;
        ModelInferResponse response;
        const std::string id = std::to_string(i * 1000 + j);
        const grpc::Status status = stub->ModelInfer(&context, Asking(id), &response);
        if (status.ok() && response.id() == id) right.fetch_add(1);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right.load(), 1000);
}

TEST_F(GrpcCallsTest, WhoHasLeftIsNotServed) {
  Start();
  model_.state().Close();
  Call& first = Begin(Asking("first"));
  model_.state().WaitForRuns(1);
  Call& left = Begin(Asking("left"));
  Call& stays = Begin(Asking("stays"));
  WaitForServer();
  left.context.TryCancel();
  EXPECT_EQ(End(left).error_code(), grpc::StatusCode::CANCELLED);
  WaitForServer();
  model_.state().Open();
  EXPECT_TRUE(End(first).ok());
  EXPECT_TRUE(End(stays).ok());
  EXPECT_EQ(model_.state().rows, (std::vector<size_t>{1, 1}));
}

TEST_F(GrpcCallsTest, WhatIsLateIsNotRun) {
  Start();
  model_.state().Close();
  Call& first = Begin(Asking("first"));
  model_.state().WaitForRuns(1);
  Call& late = calls_.emplace_back();
  late.context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(20));
  Begin(late, Asking("late"));
  EXPECT_EQ(End(late).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  WaitForServer();
  model_.state().Open();
  EXPECT_TRUE(End(first).ok());
  EXPECT_TRUE(End(Begin(Asking("another"))).ok());
  EXPECT_EQ(model_.state().rows, (std::vector<size_t>{1, 1}));
}

TEST_F(GrpcCallsTest, DrainAnswersWhatItHasTaken) {
  Start();
  model_.state().Close();
  for (int i = 0; i < 8; ++i) Begin(Asking(std::to_string(i)));
  model_.state().WaitForRuns(1);
  WaitForServer();
  server_->BeginDrain();
  std::thread stopping([this] { server_->Stop(kPatienceUs); });
  // Nobody new is taken.
  EXPECT_TRUE(Until([this] {
    const auto stub = GRPCInferenceService::NewStub(NewChannel());
    grpc::ClientContext context;
    ::inference::ServerLiveResponse response;
    return stub->ServerLive(&context, {}, &response).error_code() == grpc::StatusCode::UNAVAILABLE;
  }));
  model_.state().Open();
  for (Call& call : calls_) EXPECT_TRUE(End(call).ok()) << call.status.error_message();
  stopping.join();
}

TEST_F(GrpcCallsTest, TheEndDoesNotWaitForClients) {
  Start();
  model_.state().Close();
  for (int i = 0; i < 30; ++i) Begin(Asking(std::to_string(i)));
  model_.state().WaitForRuns(1);
  WaitForServer();
  std::thread stopping([this] { server_->Stop(0); });
  for (Call& call : calls_) {
    const grpc::StatusCode code = End(call).error_code();
    EXPECT_TRUE(code == grpc::StatusCode::CANCELLED || code == grpc::StatusCode::UNAVAILABLE)
        << code;
  }
  // That of the model's thread is awaited, for it holds what the server has.
  model_.state().Open();
  stopping.join();
  EXPECT_EQ(Runs(), 1u);
}

TEST_F(GrpcCallsTest, CallsBeyondTheBoundAreRefusedAtOnce) {
  GrpcServerOptions options;
  options.max_calls = 2;
  options.max_streams = 1;
  Start(options);
  model_.state().Close();
  Call& first = Begin(Asking("first"));
  Call& second = Begin(Asking("second"));
  WaitForServer();
  Call& third = Begin(Asking("third"));
  EXPECT_EQ(End(third).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(third.status.error_message(), HasSubstr("too many calls"));

  grpc::ClientContext context, refused;
  const auto stream = stub_->ModelStreamInfer(&context);
  WaitForServer();
  const auto another = stub_->ModelStreamInfer(&refused);
  ModelStreamInferResponse response;
  EXPECT_FALSE(another->Read(&response));
  EXPECT_EQ(another->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());

  model_.state().Open();
  EXPECT_TRUE(End(first).ok());
  EXPECT_TRUE(End(second).ok());
  // A place is free again when the server has seen that the answer was written.
  EXPECT_TRUE(Until([this] { return End(Begin(Asking("again"))).ok(); }));
}

TEST_F(GrpcCallsTest, LargeAnswersNeedRoom) {
  GrpcServerOptions options;
  options.max_answers_bytes = 64 << 10;
  Start(options);
  EXPECT_TRUE(End(Begin(Asking("small", 4096))).ok());
  EXPECT_TRUE(Until([this] { return End(Begin(Asking("again", 6144))).ok(); }));
  const grpc::Status refused = End(Begin(Asking("large", 10000)));
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(refused.error_message(), HasSubstr("too many large answers"));
}

TEST_F(GrpcCallsTest, StreamsEndWhenTheirRequestsAreAnswered) {
  Start();
  model_.state().Close();
  grpc::ClientContext context;
  const auto stream = stub_->ModelStreamInfer(&context);
  EXPECT_TRUE(stream->Write(Asking("asked")));
  model_.state().WaitForRuns(1);
  server_->BeginDrain();
  model_.state().Open();
  ModelStreamInferResponse response;
  EXPECT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.infer_response().id(), "asked");
  EXPECT_FALSE(stream->Read(&response));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(status.error_message(), "the server is ending");
}

TEST_F(GrpcCallsTest, WhoLeavesAStreamIsNotServed) {
  Start();
  model_.state().Close();
  Call& first = Begin(Asking("first"));
  model_.state().WaitForRuns(1);
  {
    grpc::ClientContext context;
    const auto stream = stub_->ModelStreamInfer(&context);
    for (const char* const id : {"a", "b", "c"}) EXPECT_TRUE(stream->Write(Asking(id)));
    WaitForServer();
    context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  WaitForServer();
  model_.state().Open();
  EXPECT_TRUE(End(first).ok());
  EXPECT_TRUE(End(Begin(Asking("another"))).ok());
  EXPECT_EQ(model_.state().rows, (std::vector<size_t>{1, 1}));
}

TEST_F(GrpcCallsTest, TheGateRefusesBeforeTheModel) {
  const std::string key = *MakeApiKey();
  AccessOptions access;
  access.keys = model_.folder() + "/keys.json";
  ASSERT_TRUE(EditKeyFile(access.keys, [&](std::vector<KeyRecord>& keys) {
                KeyRecord record;
                record.id = KeyIdOf(key);
                record.name = "client";
                record.role = KeyRole::kInfer;
                record.sha256 = HashOfKey(key);
                keys.push_back(std::move(record));
                return absl::OkStatus();
              }).ok());
  const auto gate = AccessGate::Open(access, {});
  ASSERT_TRUE(gate.ok()) << gate.status();
  GrpcServerOptions options;
  options.gate = gate->get();
  Start(options);
  EXPECT_EQ(End(Begin(Asking("nobody"))).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Runs(), 0u);
  EXPECT_TRUE(End(Begin(Asking("client"), key)).ok());
  EXPECT_EQ(Runs(), 1u);

  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer " + key);
  ::inference::RepositoryModelUnloadRequest unload;
  unload.set_model_name("double");
  ::inference::RepositoryModelUnloadResponse unloaded;
  EXPECT_EQ(stub_->RepositoryModelUnload(&context, unload, &unloaded).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  server_.reset();
}

TEST_F(GrpcCallsTest, ModelsComeAndGo) {
  Start();
  {
    grpc::ClientContext context;
    ::inference::RepositoryModelUnloadRequest request;
    request.set_model_name("double");
    ::inference::RepositoryModelUnloadResponse response;
    EXPECT_TRUE(stub_->RepositoryModelUnload(&context, request, &response).ok());
  }
  EXPECT_EQ(End(Begin(Asking("gone"))).error_code(), grpc::StatusCode::UNAVAILABLE);
  grpc::ClientContext context;
  ::inference::RepositoryModelLoadRequest request;
  request.set_model_name("double");
  ::inference::RepositoryModelLoadResponse response;
  EXPECT_TRUE(stub_->RepositoryModelLoad(&context, request, &response).ok());
  EXPECT_TRUE(End(Begin(Asking("back"))).ok());
}

TEST_F(GrpcCallsTest, UnknownMethodsAreUnimplemented) {
  Start();
  grpc::GenericStub stub(channel_);
  grpc::ClientContext context;
  grpc::ByteBuffer answer;
  const grpc::Slice nothing;
  grpc::Status status;
  const auto reader = stub.PrepareUnaryCall(&context, "/no.Service/Method", {&nothing, 1}, &queue_);
  reader->StartCall();
  reader->Finish(&answer, &status, &context);
  void* tag = nullptr;
  bool ok = false;
  EXPECT_TRUE(queue_.Next(&tag, &ok));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(GrpcCallsTest, HealthIsToldAndWatched) {
  Start();
  const auto health = Health::NewStub(channel_);
  const auto ask = [&](const std::string& service, HealthAnswer& answer) {
    grpc::ClientContext context;
    ::grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    return health->Check(&context, request, &answer);
  };
  HealthAnswer answer;
  EXPECT_TRUE(ask("", answer).ok());
  EXPECT_EQ(answer.status(), HealthAnswer::NOT_SERVING);
  EXPECT_EQ(ask("nothing", answer).error_code(), grpc::StatusCode::NOT_FOUND);

  grpc::ClientContext context, other;
  const auto watch = health->Watch(&context, {});
  EXPECT_TRUE(watch->Read(&answer));
  EXPECT_EQ(answer.status(), HealthAnswer::NOT_SERVING);
  server_->SetServing(true);
  EXPECT_TRUE(watch->Read(&answer));
  EXPECT_EQ(answer.status(), HealthAnswer::SERVING);
  EXPECT_TRUE(ask("", answer).ok());
  EXPECT_EQ(answer.status(), HealthAnswer::SERVING);
  ::grpc::health::v1::HealthCheckRequest unknown;
  unknown.set_service("nothing");
  const auto of_nothing = health->Watch(&other, unknown);
  EXPECT_TRUE(of_nothing->Read(&answer));
  EXPECT_EQ(answer.status(), HealthAnswer::SERVICE_UNKNOWN);
  other.TryCancel();
  EXPECT_EQ(of_nothing->Finish().error_code(), grpc::StatusCode::CANCELLED);

  server_->SetServing(false);
  server_->BeginDrain();
  EXPECT_TRUE(watch->Read(&answer));
  EXPECT_EQ(answer.status(), HealthAnswer::NOT_SERVING);
  EXPECT_FALSE(watch->Read(&answer));
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(GrpcCallsTest, ReflectionKnowsTheService) {
  Start();
  const auto stub = Reflection::NewStub(channel_);
  grpc::ClientContext context;
  const auto stream = stub->ServerReflectionInfo(&context);
  const auto ask = [&](const auto& fill) {
    ::grpc::reflection::v1alpha::ServerReflectionRequest request;
    request.set_host("here");
    fill(request);
    ::grpc::reflection::v1alpha::ServerReflectionResponse response;
    EXPECT_TRUE(stream->Write(request));
    EXPECT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.valid_host(), "here");
    EXPECT_EQ(response.original_request().SerializeAsString(), request.SerializeAsString());
    return response;
  };
  std::vector<std::string> services;
  const auto list = ask([](auto& r) { r.set_list_services(""); });
  for (const auto& service : list.list_services_response().service()) {
    services.push_back(service.name());
  }
  EXPECT_THAT(services, ::testing::UnorderedElementsAre("grpc.health.v1.Health",
                                                        "grpc.reflection.v1alpha.ServerReflection",
                                                        "inference.GRPCInferenceService"));
  for (const std::string& service : services) {
    EXPECT_EQ(ask([&](auto& r) { r.set_file_containing_symbol(service); })
                  .file_descriptor_response()
                  .file_descriptor_proto_size(),
              1);
  }
  EXPECT_TRUE(ask([](auto& r) {
                r.set_file_by_filename("open_inference.proto");
              }).has_file_descriptor_response());
  const auto missing = ask([](auto& r) { r.set_file_containing_symbol("no.Such"); });
  EXPECT_EQ(missing.error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ask([](auto& r) { r.set_all_extension_numbers_of_type("inference.ModelConfig"); })
                .all_extension_numbers_response()
                .base_type_name(),
            "inference.ModelConfig");
  EXPECT_EQ(ask([](auto& r) {
              r.mutable_file_containing_extension()->set_containing_type("inference.ModelConfig");
            })
                .error_response()
                .error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ask([](auto&) {}).error_response().error_code(), grpc::StatusCode::UNIMPLEMENTED);

  grpc::ClientContext idle;
  const auto kept_open = stub->ServerReflectionInfo(&idle);
  WaitForServer();
  server_->BeginDrain();
  ::grpc::reflection::v1alpha::ServerReflectionResponse response;
  EXPECT_FALSE(kept_open->Read(&response));
  EXPECT_EQ(kept_open->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace sightline::serve
