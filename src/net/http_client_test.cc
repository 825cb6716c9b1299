// The client against tests/servers/http_peer.py, a process that answers well and badly.
#include "net/http_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "net/test_server_process.h"

namespace sightline::net {
namespace {

using nlohmann::json;
using test::ServerProcess;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kSecondUs = 1'000'000;

std::unique_ptr<HttpClient> MakeClient(HttpClientOptions options = {}) {
  options.use_environment_proxy = false;  // the loopback is behind none
  absl::StatusOr<std::unique_ptr<HttpClient>> client = HttpClient::Create(options);
  EXPECT_TRUE(client.ok()) << client.status();
  return std::move(client).value();
}

class Http : public testing::Test {
 protected:
  void SetUp() override { SKIP_UNLESS_STARTED(server_); }
  absl::StatusOr<HttpResponse> Get(const std::string& path) {
    return client_->Fetch({.url = server_.Url(path)});
  }
  absl::Status Failure(const std::string& path, int64_t timeout_us = 20 * kSecondUs) {
    return client_->Fetch({.url = server_.Url(path), .timeout_us = timeout_us}).status();
  }

  ServerProcess server_{"http_peer.py"};
  std::unique_ptr<HttpClient> client_ = MakeClient();
};

TEST_F(Http, SaysWhatItIsToldTo) {
  for (const std::string method : {"GET", "POST", "PUT", "PATCH", "DELETE"}) {
    const std::string body = method == "GET" ? std::string() : std::string("a\0b", 3);
    const auto answer = client_->Fetch({.method = method,
                                        .url = server_.Url("/echo/x?q=1"),
                                        .headers = {{"X-One", "1"}, {"X-Empty", ""}},
                                        .body = body});
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->status, 200);
    ASSERT_NE(answer->Find("content-type"), nullptr);
    EXPECT_EQ(*answer->Find("content-type"), "application/json");
    EXPECT_EQ(answer->Find("x-none"), nullptr);
    const json heard = json::parse(answer->body);
    EXPECT_EQ(heard.at("method"), method);
    EXPECT_EQ(heard.at("path"), "/echo/x?q=1");
    EXPECT_EQ(heard.at("headers").at("x-one"), "1");
    EXPECT_EQ(heard.at("headers").at("x-empty"), "");
    EXPECT_EQ(heard.at("headers").at("user-agent"), "sightline");
    EXPECT_FALSE(heard.at("headers").contains("content-type"));
    EXPECT_FALSE(heard.at("headers").contains("expect"));
    EXPECT_EQ(heard.at("body").get<std::string>().size(), method == "GET" ? 0u : body.size());
  }
}

TEST_F(Http, HeadHasNoBodyAndPostMayHaveNone) {
  const auto head = client_->Fetch({.method = "HEAD", .url = server_.Url("/echo")});
  ASSERT_TRUE(head.ok()) << head.status();
  EXPECT_EQ(head->body, "");
  const auto post = client_->Fetch({.method = "POST", .url = server_.Url("/echo")});
  ASSERT_TRUE(post.ok()) << post.status();
  EXPECT_EQ(json::parse(post->body).at("headers").at("content-length"), "0");
}

TEST_F(Http, LargeBodiesGoAtOnce) {
  const std::string body(3 << 20, 'x');
  const auto answer = client_->Fetch(
      {.method = "POST", .url = server_.Url("/echo"), .body = body, .max_answer_bytes = 8 << 20});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(json::parse(answer->body).at("body").get<std::string>().size(), body.size());
}

TEST_F(Http, ConnectionsAreUsedAgain) {
  std::set<int> connections;
  for (int i = 0; i < 5; ++i) {
    const auto answer = Get("/echo");
    ASSERT_TRUE(answer.ok()) << answer.status();
    connections.insert(json::parse(answer->body).at("connection").get<int>());
  }
  EXPECT_EQ(connections.size(), 1u);
  EXPECT_EQ(client_->connections_made(), 1u);
}

TEST_F(Http, AConnectionThatDiedInBetweenIsReplaced) {
  ASSERT_TRUE(Get("/echo").ok());
  ASSERT_FALSE(Get("/reset").ok());
  ASSERT_TRUE(Get("/echo").ok());
}

TEST_F(Http, ManyThreadsAtOnce) {
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const std::string body = std::to_string(t * 1000 + i);
        const auto answer =
            client_->Fetch({.method = "POST", .url = server_.Url("/echo"), .body = body});
        if (answer.ok() && json::parse(answer->body).at("body") == body) ++right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 160);
  EXPECT_LE(client_->connections_made(), 160u);
}

TEST_F(Http, EveryStatusIsAnAnswer) {
  for (const int status : {200, 201, 301, 400, 401, 404, 429, 500, 503}) {
    const auto answer = Get("/status/" + std::to_string(status) + "?X-Why=because");
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->status, status);
    EXPECT_EQ(*answer->Find("x-why"), "because");
    EXPECT_FALSE(answer->retry_after_us.has_value());
  }
}

TEST_F(Http, RetryAfterIsReadAndBounded) {
  EXPECT_EQ(Get("/status/429?Retry-After=7")->retry_after_us, 7 * kSecondUs);
  EXPECT_EQ(Get("/status/503?Retry-After=0")->retry_after_us, 0);
  EXPECT_EQ(Get("/status/503?Retry-After=soon")->retry_after_us, 0);
  EXPECT_EQ(Get("/status/503?Retry-After=99999999999")->retry_after_us, 366 * 86400 * kSecondUs);
  const auto long_ago = Get("/status/503?Retry-After=Fri,%2001%20Jan%202010%2000:00:00%20GMT");
  EXPECT_EQ(long_ago->retry_after_us, 0);
}

TEST_F(Http, ChunksAndContinue) {
  EXPECT_EQ(Get("/chunks")->body, "abcde");
  const auto went_on = Get("/continue");
  ASSERT_TRUE(went_on.ok()) << went_on.status();
  EXPECT_EQ(went_on->status, 200);
  EXPECT_EQ(went_on->body, "went on");
  EXPECT_EQ(went_on->Find("x-first"), nullptr);
  EXPECT_NE(went_on->Find("x-second"), nullptr);
}

TEST_F(Http, ServersThatBreak) {
  EXPECT_TRUE(absl::IsUnavailable(Failure("/reset"))) << Failure("/reset");
  EXPECT_TRUE(absl::IsUnavailable(Failure("/close"))) << Failure("/close");
  EXPECT_TRUE(absl::IsUnavailable(Failure("/cut"))) << Failure("/cut");
  EXPECT_TRUE(absl::IsDataLoss(Failure("/old"))) << Failure("/old");
  for (const std::string path : {"/garbage", "/bad_length", "/bad_chunks"}) {
    const absl::Status status = Failure(path);
    EXPECT_FALSE(status.ok()) << path;
    EXPECT_THAT(std::string(MessageOf(status)), Not(HasSubstr("\x1b"))) << path;
  }
}

TEST_F(Http, ServersThatAreSlow) {
  for (const std::string path : {"/silent", "/deaf", "/drip"}) {
    const absl::Status status = Failure(path, 300'000);
    EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << path << ": " << status;
    EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("http://127.0.0.1:"));
  }
  EXPECT_TRUE(Get("/echo").ok()) << "the client goes on";
  EXPECT_TRUE(absl::IsDeadlineExceeded(Failure("/echo", 0)));
}

TEST_F(Http, NoMoreIsReadThanAllowed) {
  HttpRequest request{.url = server_.Url("/bytes/1000"), .max_answer_bytes = 1000};
  ASSERT_TRUE(client_->Fetch(request).ok());
  request.max_answer_bytes = 999;
  EXPECT_TRUE(absl::IsResourceExhausted(client_->Fetch(request).status()));
  EXPECT_TRUE(absl::IsResourceExhausted(Failure("/endless"))) << Failure("/endless");
  EXPECT_TRUE(absl::IsResourceExhausted(Failure("/endless_head"))) << Failure("/endless_head");
}

TEST_F(Http, RedirectsOnlyWhereAskedAndOnlyToTheSameServer) {
  const auto fetch = [&](const std::string& path, int most, const std::string& method = "GET") {
    return client_->Fetch({.method = method,
                           .url = server_.Url(path),
                           .body = method == "POST" ? "body" : "",
                           .max_redirects = most});
  };
  EXPECT_EQ(fetch("/status/302?Location=/echo", 0)->status, 302);
  EXPECT_EQ(json::parse(fetch("/status/302?Location=/echo", 1)->body).at("method"), "GET");
  EXPECT_EQ(json::parse(fetch("/status/302?Location=/echo", 1, "POST")->body).at("method"), "GET");
  const json kept = json::parse(fetch("/status/307?Location=/echo", 1, "POST")->body);
  EXPECT_EQ(kept.at("method"), "POST");
  EXPECT_EQ(kept.at("body"), "body");
  EXPECT_TRUE(absl::IsPermissionDenied(
      fetch("/status/302?Location=/status/302%3FLocation=/echo", 1).status()));
  ServerProcess other("http_peer.py");
  SKIP_UNLESS_STARTED(other);
  for (const std::string& elsewhere :
       {other.Url("/echo"), server_.Url("/echo", "https"), std::string("file:///etc/passwd"),
        std::string("gopher://x")}) {
    const auto refused = fetch("/status/302?Location=" + elsewhere, 5);
    EXPECT_TRUE(absl::IsPermissionDenied(refused.status())) << refused.status();
  }
  const auto count = client_->Fetch({.url = other.Url("/count")});
  EXPECT_EQ(count->body, "1");
}

TEST_F(Http, WhatCannotBeSentIsRefused) {
  for (const std::string url : {"", "host/path", "ftp://host/x", "file:///etc/passwd", "http://",
                                "http://a b/", "http://host/\r\nX: 1", "javascript:alert(1)"}) {
    const absl::Status status = client_->Fetch({.url = url}).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << url << ": " << status;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(
      client_->Fetch({.url = "http://127.0.0.1/" + std::string(9000, 'x')}).status()));
  const std::string url = server_.Url("/count/refused");
  EXPECT_TRUE(absl::IsInvalidArgument(client_->Fetch({.method = "GET /", .url = url}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      client_->Fetch({.url = url, .headers = {{"X", "1\r\nY: 2"}}}).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(client_->Fetch({.url = url, .headers = {{"X: ", "1"}}}).status()));
  EXPECT_EQ(Get("/count/refused")->body, "1") << "none of them was sent";
}

TEST_F(Http, NoSecretsInErrors) {
  const absl::Status status =
      client_
          ->Fetch({.url = server_.Url("/silent/hidden-path?token=hidden-query"),
                   .headers = {{"Authorization", "Bearer hidden-key"}},
                   .body = "hidden-body",
                   .timeout_us = 200'000})
          .status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_THAT(std::string(MessageOf(status)), Not(HasSubstr("hidden")));
  EXPECT_EQ(*OriginOf("https://User:hidden@Host.Example:443/hidden?hidden"),
            "https://host.example");
  EXPECT_EQ(*OriginOf("http://[::1]:8080/x"), "http://[::1]:8080");
}

TEST_F(Http, NobodyListens) {
  std::string url;
  {
    ServerProcess gone("http_peer.py");
    url = gone.Url("/echo");
  }
  const absl::Status status = client_->Fetch({.url = url}).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
}

// A socket of this process in the file system.
class UnixListener {
 public:
  UnixListener() {
    std::string pattern = (std::filesystem::temp_directory_path() / "net-XXXXXX").string();
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    path().copy(address.sun_path, sizeof address.sun_path - 1);
    socket_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(socket_, 1), 0);
  }
  ~UnixListener() {
    Close();
    std::filesystem::remove_all(folder_);
  }
  void Close() {
    if (socket_ >= 0) close(std::exchange(socket_, -1));
  }
  std::string path() const { return folder_ + "/s"; }
  // Answers one request, which ends with `end`, and gives it back.
  std::string AnswerOne(std::string_view end, std::string_view answer) const {
    const int peer = accept(socket_, nullptr, nullptr);
    std::string request;
    char buffer[4096];
    while (!request.ends_with(end)) {
      const ssize_t got = read(peer, buffer, sizeof buffer);
      if (got <= 0) break;
      request.append(buffer, static_cast<size_t>(got));
    }
    EXPECT_EQ(write(peer, answer.data(), answer.size()), static_cast<ssize_t>(answer.size()));
    close(peer);
    return request;
  }

 private:
  std::string folder_;
  int socket_ = -1;
};

TEST(HttpOverUnixSocket, AsksWhoListensAtThePath) {
  UnixListener listener;
  const std::unique_ptr<HttpClient> client = MakeClient({.unix_socket = listener.path()});
  std::string request;
  std::thread server([&] {
    request =
        listener.AnswerOne("\r\n\r\n{}", "HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno");
  });
  const auto answer =
      client->Fetch({.method = "POST", .url = "http://localhost/v1/config", .body = "{}"});
  server.join();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->status, 409);
  EXPECT_EQ(answer->body, "no");
  EXPECT_THAT(request, testing::StartsWith("POST /v1/config HTTP/1.1\r\nHost: localhost\r\n"));
}

TEST(HttpOverUnixSocket, NobodyListens) {
  const auto failure = [](const std::string& path) {
    return MakeClient({.unix_socket = path})->Fetch({.url = "http://localhost/"}).status();
  };
  UnixListener listener;
  EXPECT_TRUE(absl::IsNotFound(failure(listener.path() + "x"))) << failure(listener.path() + "x");
  EXPECT_TRUE(absl::IsNotFound(failure(listener.path() + "/x")));
  listener.Close();  // its file is still there
  EXPECT_TRUE(absl::IsNotFound(failure(listener.path()))) << failure(listener.path());
  EXPECT_THAT(std::string(MessageOf(failure(listener.path()))), HasSubstr(listener.path()));
  EXPECT_TRUE(
      absl::IsNotFound(HttpClient::Create({.unix_socket = std::string(200, 'x')}).status()));
}

TEST_F(Http, CancellingEndsRequestsOnTheirWayAndLaterOnes) {
  CancelSignal cancel;
  HttpRequest request{
      .url = server_.Url("/silent/cancelled"), .timeout_us = 3600 * kSecondUs, .cancel = &cancel};
  absl::Status status;
  std::thread waiting([&] { status = client_->Fetch(request).status(); });
  while (Get("/seen/silent/cancelled")->body != "1") std::this_thread::yield();
  cancel.Cancel();
  waiting.join();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_TRUE(absl::IsCancelled(client_->Fetch(request).status()));
  EXPECT_EQ(Get("/seen/silent/cancelled")->body, "1");
}

class HttpTls : public testing::Test {
 protected:
  static bool Openssl(const std::string& arguments) {
    return std::system(("openssl " + arguments + " >/dev/null 2>&1").c_str()) == 0;
  }
  void SetUp() override {
    if (!Openssl("version")) GTEST_SKIP() << "the openssl program is not installed";
    std::string folder = (std::filesystem::temp_directory_path() / "http_tls_XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    dir_ = folder + "/";
    for (const std::string name : {"own", "elsewhere"}) {
      ASSERT_TRUE(Openssl(
          "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=" + name +
          " -addext subjectAltName=" + (name == "own" ? "IP:127.0.0.1" : "DNS:elsewhere.example") +
          " -keyout '" + dir_ + name + ".key' -out '" + dir_ + name + ".pem'"));
    }
  }
  void TearDown() override {
    if (!dir_.empty()) std::filesystem::remove_all(dir_);
  }
  std::vector<std::string> Arguments(const std::string& name) const {
    return {"--cert", dir_ + name + ".pem", "--key", dir_ + name + ".key"};
  }
  absl::Status Ask(const ServerProcess& server, const TlsOptions& tls) {
    return MakeClient({.tls = tls})->Fetch({.url = server.Url("/echo", "https")}).status();
  }

  std::string dir_;
};

TEST_F(HttpTls, OnlyTrustedCertificatesOfTheRightHost) {
  ServerProcess server("http_peer.py", Arguments("own"));
  SKIP_UNLESS_STARTED(server);
  EXPECT_TRUE(Ask(server, {.ca_file = dir_ + "own.pem"}).ok());
  const absl::Status unknown = Ask(server, {});
  EXPECT_TRUE(absl::IsUnauthenticated(unknown)) << unknown;
  EXPECT_THAT(std::string(MessageOf(unknown)), HasSubstr("ca_file"));
  ServerProcess other("http_peer.py", Arguments("elsewhere"));
  SKIP_UNLESS_STARTED(other);
  const absl::Status wrong_host = Ask(other, {.ca_file = dir_ + "elsewhere.pem"});
  EXPECT_TRUE(absl::IsUnauthenticated(wrong_host)) << wrong_host;
}

TEST_F(HttpTls, PlainHttpOnTheOtherSideIsNoTls) {
  ServerProcess server("http_peer.py");
  SKIP_UNLESS_STARTED(server);
  EXPECT_FALSE(Ask(server, {.ca_file = dir_ + "own.pem"}).ok());
}

TEST_F(HttpTls, ServersThatWantToKnowUs) {
  std::vector<std::string> arguments = Arguments("own");
  arguments.insert(arguments.end(), {"--client-ca", dir_ + "elsewhere.pem"});
  ServerProcess server("http_peer.py", arguments);
  SKIP_UNLESS_STARTED(server);
  EXPECT_FALSE(Ask(server, {.ca_file = dir_ + "own.pem"}).ok());
  const absl::Status known = Ask(server, {.ca_file = dir_ + "own.pem",
                                          .certificate_file = dir_ + "elsewhere.pem",
                                          .key_file = dir_ + "elsewhere.key"});
  EXPECT_TRUE(known.ok()) << known;
}

TEST_F(HttpTls, FilesThatAreNotThere) {
  const auto refusal = [](const TlsOptions& tls) {
    return HttpClient::Create({.tls = tls}).status();
  };
  EXPECT_TRUE(absl::IsFailedPrecondition(refusal({.ca_file = dir_ + "none.pem"})));
  EXPECT_TRUE(absl::IsFailedPrecondition(refusal({.certificate_file = dir_ + "own.pem"})));
}

}  // namespace
}  // namespace sightline::net
