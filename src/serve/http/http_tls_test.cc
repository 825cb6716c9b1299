#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/test_until.h"
#include "serve/http/http_server.h"
#include "serve/http/test_certificates.h"
#include "serve/http/test_http_client.h"
#include "serve/http/test_tls_client.h"
#include "serve/http/tls_credentials.h"

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int kPatienceS = 30;

class HttpTlsTest : public ::testing::Test {
 protected:
  static std::string Folder() {
    return std::filesystem::temp_directory_path() / ("sightline-tls-" + std::to_string(getpid()));
  }
  static void SetUpTestSuite() {
    certificates_ = new TestCertificates(Folder());
    certificates_->MakeAuthority("ca");
    certificates_->MakeAuthority("stranger_ca");
    for (const char* name : {"server", "renewed", "client"}) certificates_->Make(name, "ca");
    certificates_->Make("stranger", "stranger_ca");
  }
  static void TearDownTestSuite() {
    delete certificates_;
    std::filesystem::remove_all(Folder());
  }

  void Start(bool mutual = false) {
    TlsFiles files{.certificate = certificates_->Pem("server"),
                   .key = certificates_->Key("server")};
    if (mutual) files.client_ca = certificates_->Pem("ca");
    auto tls = TlsCredentials::Load(files);
    ASSERT_TRUE(tls.ok()) << tls.status();
    Start(*tls);
  }
  void Start(std::shared_ptr<TlsCredentials> tls) {
    options_.tcp = ListenAddress{.address = "127.0.0.1", .port = 0};
    options_.tls = std::move(tls);
    auto made = HttpServer::Create(options_);
    ASSERT_TRUE(made.ok()) << made.status();
    server_ = *std::move(made);
    RouteOptions large;
    large.max_body_bytes = size_t{8} << 20;
    ASSERT_TRUE(server_
                    ->Route(
                        "POST", "/echo",
                        [](const HttpRequest& request) {
                          HttpResponse both{.body = "echo:"};
                          both.more_body = {std::string(request.body.view())};
                          return both;
                        },
                        large)
                    .ok());
    ASSERT_TRUE(server_
                    ->Route("GET", "/hello",
                            [](const HttpRequest&) { return HttpResponse{.body = "hello"}; })
                    .ok());
    ASSERT_TRUE(server_->Start().ok());
  }
  uint16_t port() const { return server_->address()->port; }
  TlsClient::Options Trusting() const { return {.trusted = certificates_->Pem("ca")}; }
  TlsClient::Options As(const std::string& name) const {
    return {.trusted = certificates_->Pem("ca"),
            .certificate = certificates_->Pem(name),
            .key = certificates_->Key(name)};
  }

  static TestCertificates* certificates_;
  HttpServerOptions options_;
  std::unique_ptr<HttpServer> server_;
};
TestCertificates* HttpTlsTest::certificates_ = nullptr;

TEST_F(HttpTlsTest, AnswersOverTls13) {
  Start();
  TlsClient client(port(), Trusting());
  ASSERT_TRUE(client.connected());
  EXPECT_STREQ(SSL_get_version(client.tls()), "TLSv1.3");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(BodyOf(client.Get("/hello")), "hello");
  std::string body(size_t{5} << 20, '\0');
  for (size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 7 + i / 251);
  std::string answer;
  ASSERT_TRUE(client.Say("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: " +
                         std::to_string(body.size()) + "\r\n\r\n" + body));
  answer = client.Hear();
  EXPECT_EQ(StatusOf(answer), 200);
  EXPECT_TRUE(BodyOf(answer) == "echo:" + body);
  EXPECT_EQ(BodyOf(client.Get("/hello")), "hello");
  EXPECT_EQ(server_->stats().accepted, 1u);
}

TEST_F(HttpTlsTest, PipelinedRequestsInOneRecordAreAllAnswered) {
  Start();
  TlsClient client(port(), Trusting());
  ASSERT_TRUE(
      client.Say("GET /hello HTTP/1.1\r\nHost: h\r\n\r\nGET /hello HTTP/1.1\r\nHost: h\r\n"
                 "Connection: close\r\n\r\n"));
  std::string heard;
  char bytes[4096];
  size_t got = 0;
  while (SSL_read_ex(client.tls(), bytes, sizeof(bytes), &got) == 1) heard.append(bytes, got);
  EXPECT_EQ(SSL_get_error(client.tls(), 0), SSL_ERROR_ZERO_RETURN) << "the end is told";
  EXPECT_THAT(heard, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(heard.substr(20), HasSubstr("HTTP/1.1 200"));
}

TEST_F(HttpTlsTest, OlderVersionsAreRefused) {
  Start();
  TlsClient::Options older = Trusting();
  older.version = TLS1_2_VERSION;
  EXPECT_FALSE(TlsClient(port(), older).connected());
  EXPECT_TRUE(Until([&] { return server_->stats().handshakes_failed == 1; }));
  EXPECT_EQ(BodyOf(TlsClient(port(), Trusting()).Get("/hello")), "hello");
}

TEST_F(HttpTlsTest, PlainHttpIsToldWhatToDo) {
  Start();
  RawClient plain = RawClient::Tcp(port());
  plain.SetPatience(kPatienceS);
  const std::string answer = plain.Get("/hello");
  EXPECT_EQ(StatusOf(answer), 400);
  EXPECT_THAT(answer, HasSubstr("https://"));
  EXPECT_EQ(plain.HearAll(), "");
  RawClient noise = RawClient::Tcp(port());
  noise.SetPatience(kPatienceS);
  ASSERT_TRUE(noise.Say("\x01\x02 what is this?"));
  noise.EndSaying();
  EXPECT_EQ(StatusOf(noise.HearAll()), 0);
}

TEST_F(HttpTlsTest, ClientsShowCertificatesOfTheAuthority) {
  Start(/*mutual=*/true);
  EXPECT_EQ(BodyOf(TlsClient(port(), As("client")).Get("/hello")), "hello");
  // In TLS 1.3 the client is done before the server has looked: the refusal comes with the first answer.
  EXPECT_EQ(StatusOf(TlsClient(port(), As("stranger")).Get("/hello")), 0);
  EXPECT_EQ(StatusOf(TlsClient(port(), Trusting()).Get("/hello")), 0);
  EXPECT_TRUE(Until([&] { return server_->stats().handshakes_failed == 2; }));
  EXPECT_EQ(server_->stats().requests, 1u);
}

TEST_F(HttpTlsTest, HandshakesHaveATime) {
  options_.request_timeout_us = 30'000;
  Start();
  for (const char* said : {"", "\x16\x03\x01\x02"}) {
    RawClient silent = RawClient::Tcp(port());
    silent.SetPatience(kPatienceS);
    ASSERT_TRUE(silent.Say(said));
    EXPECT_EQ(silent.HearAll(), "");
  }
  EXPECT_TRUE(Until([&] { return server_->stats().timed_out == 2; }));
}

TEST_F(HttpTlsTest, ProtocolsAreAgreedOn) {
  Start();
  TlsClient::Options both = Trusting();
  both.protocols = "\x02h2\x08http/1.1";
  TlsClient client(port(), both);
  ASSERT_TRUE(client.connected());
  const unsigned char* chosen = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(client.tls(), &chosen, &length);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(chosen), length), "http/1.1");
  TlsClient::Options other = Trusting();
  other.protocols = "\x02h2";
  EXPECT_FALSE(TlsClient(port(), other).connected());
}

TEST_F(HttpTlsTest, NewCertificatesAreTakenUp) {
  const std::string pem = Folder() + "/changing.pem", key = Folder() + "/changing.key";
  const auto copy = [&](const std::string& name) {
    for (const auto& [from, to] :
         {std::pair{certificates_->Pem(name), pem}, std::pair{certificates_->Key(name), key}}) {
      std::filesystem::copy_file(from, to + ".new",
                                 std::filesystem::copy_options::overwrite_existing);
      std::filesystem::rename(to + ".new", to);
    }
  };
  const auto serial = [&](TlsClient& client) {
    X509* const shown = SSL_get1_peer_certificate(client.tls());
    BIGNUM* const number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(shown), nullptr);
    char* const text = BN_bn2hex(number);
    const std::string result = text;
    OPENSSL_free(text);
    BN_free(number);
    X509_free(shown);
    return result;
  };
  copy("server");
  auto tls = TlsCredentials::Load({.certificate = pem, .key = key});
  ASSERT_TRUE(tls.ok()) << tls.status();
  EXPECT_FALSE((*tls)->Refresh().value_or(true));
  Start(*tls);
  TlsClient old_one(port(), Trusting());
  ASSERT_TRUE(old_one.connected());
  copy("renewed");
  EXPECT_TRUE((*tls)->Refresh().value_or(false));
  TlsClient new_one(port(), Trusting());
  ASSERT_TRUE(new_one.connected());
  EXPECT_NE(serial(old_one), serial(new_one));
  EXPECT_EQ(BodyOf(old_one.Get("/hello")), "hello") << "who is in stays in";
  std::ofstream(key) << "no key";
  EXPECT_FALSE((*tls)->Refresh().ok());
  EXPECT_FALSE((*tls)->Refresh().value_or(true)) << "told once";
  EXPECT_TRUE(TlsClient(port(), Trusting()).connected()) << "the old ones stay";
}

TEST_F(HttpTlsTest, WrongFilesAreNamed) {
  const std::string pem = certificates_->Pem("server"), key = certificates_->Key("server");
  const std::string none = Folder() + "/none.pem", noise = Folder() + "/noise.pem";
  const std::string locked = Folder() + "/locked.key";
  std::ofstream(noise) << "noise\n";
  TestCertificates::Run("openssl pkey -in " + key + " -aes256 -passout pass:secret -out " + locked);
  const struct {
    TlsFiles files;
    std::vector<std::string> says;
  } cases[] = {
      {{.certificate = pem}, {"both a certificate and its key"}},
      {{.certificate = none, .key = key}, {none}},
      {{.certificate = noise, .key = key}, {noise, "no certificate"}},
      {{.certificate = pem, .key = none}, {none}},
      {{.certificate = pem, .key = noise}, {noise, "no private key"}},
      {{.certificate = pem, .key = locked}, {locked, "without a passphrase"}},
      {{.certificate = pem, .key = certificates_->Key("client")}, {"does not belong", pem}},
      {{.certificate = pem, .key = key, .client_ca = none}, {none}},
      {{.certificate = pem, .key = key, .client_ca = noise}, {noise, "no certificate"}},
  };
  for (const auto& [files, says] : cases) {
    const auto tls = TlsCredentials::Load(files);
    ASSERT_FALSE(tls.ok());
    EXPECT_EQ(tls.status().code(), absl::StatusCode::kInvalidArgument);
    for (const std::string& text : says) {
      EXPECT_THAT(std::string(MessageOf(tls.status())), HasSubstr(text));
    }
  }
}

TEST_F(HttpTlsTest, ClientsThatLeaveInTheMiddleAreNoHarm) {
  Start();
  for (int i = 0; i < 20; ++i) {
    TlsClient client(port(), Trusting());
    client.Say("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nsome");
  }
  EXPECT_TRUE(Until([&] { return server_->stats().connections == 0; }));
  EXPECT_EQ(server_->stats().bodies_bytes, 0u);
  EXPECT_EQ(BodyOf(TlsClient(port(), Trusting()).Get("/hello")), "hello");
}

}  // namespace
}  // namespace sightline::serve
