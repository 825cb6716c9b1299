#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/whole_file.h"
#include "open_inference.grpc.pb.h"
#include "serve/grpc/grpc_server.h"
#include "serve/http/test_certificates.h"
#include "serve/http/test_tls_client.h"

namespace sightline::serve {
namespace {

class GrpcTlsTest : public ::testing::Test {
 protected:
  static std::string Folder() {
    return std::filesystem::temp_directory_path() /
           ("sightline-grpc-tls-" + std::to_string(getpid()));
  }
  static void SetUpTestSuite() {
    GrpcServer::RequireTls13();
    certificates_ = new TestCertificates(Folder());
    certificates_->MakeAuthority("ca");
    certificates_->MakeAuthority("stranger_ca");
    for (const char* name : {"server", "client"}) certificates_->Make(name, "ca");
    certificates_->Make("stranger", "stranger_ca");
  }
  static void TearDownTestSuite() {
    delete certificates_;
    std::filesystem::remove_all(Folder());
  }

  void Start(bool mutual) {
    auto service = InferenceService::Create({.version = "test"});
    ASSERT_TRUE(service.ok()) << service.status();
    service_ = *std::move(service);
    GrpcServerOptions options;
    options.address = {.address = "127.0.0.1", .port = 0};
    options.tls = {.certificate = certificates_->Pem("server"),
                   .key = certificates_->Key("server")};
    if (mutual) options.tls.client_ca = certificates_->Pem("ca");
    auto server = GrpcServer::Start(*service_, options);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  uint16_t port() const { return server_->address().port; }

  // Of a call that every server answers.
  grpc::StatusCode Ask(const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    const auto stub = inference::GRPCInferenceService::NewStub(
        grpc::CreateChannel("localhost:" + std::to_string(port()), credentials));
    grpc::ClientContext context;
    inference::ServerLiveRequest request;
    inference::ServerLiveResponse response;
    const grpc::Status status = stub->ServerLive(&context, request, &response);
    EXPECT_EQ(response.live(), status.ok());
    return status.error_code();
  }
  static std::string Text(const std::string& file) {
    return ReadWholeFile(file, 1 << 20).value_or("");
  }
  static std::shared_ptr<grpc::ChannelCredentials> As(const std::string& name) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = Text(certificates_->Pem("ca"));
    if (!name.empty()) {
      options.pem_cert_chain = Text(certificates_->Pem(name));
      options.pem_private_key = Text(certificates_->Key(name));
    }
    return grpc::SslCredentials(options);
  }

  static TestCertificates* certificates_;
  std::unique_ptr<InferenceService> service_;
  std::unique_ptr<GrpcServer> server_;
};
TestCertificates* GrpcTlsTest::certificates_ = nullptr;

TEST_F(GrpcTlsTest, AnswersOverTlsAlone) {
  Start(/*mutual=*/false);
  EXPECT_EQ(Ask(As("")), grpc::StatusCode::OK);
  EXPECT_EQ(Ask(grpc::InsecureChannelCredentials()), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(GrpcTlsTest, OlderVersionsAreRefused) {
  Start(/*mutual=*/false);
  TlsClient::Options options{.trusted = certificates_->Pem("ca"), .protocols = "\x02h2"};
  EXPECT_TRUE(TlsClient(port(), options).connected());
  options.version = TLS1_2_VERSION;
  EXPECT_FALSE(TlsClient(port(), options).connected());
}

TEST_F(GrpcTlsTest, ClientsShowCertificatesOfTheAuthority) {
  Start(/*mutual=*/true);
  EXPECT_EQ(Ask(As("client")), grpc::StatusCode::OK);
  EXPECT_EQ(Ask(As("stranger")), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Ask(As("")), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace sightline::serve
