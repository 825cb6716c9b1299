#include "serve/http/http_server.h"
#include "base/test_until.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

#include "serve/http/test_http_client.h"
#include "serve/http/unix_socket.h"

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const ListenAddress kAnyPort{.address = "127.0.0.1", .port = 0};

class HttpServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("sightline-http-" + std::to_string(getpid()) + "-" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
    options_.tcp = kAnyPort;
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }

  void Start() {
    auto made = HttpServer::Create(options_);
    ASSERT_TRUE(made.ok()) << made.status();
    server_ = *std::move(made);
    const auto add = [&](const char* method, const char* path, HttpHandler handler) {
      ASSERT_TRUE(server_->Route(method, path, std::move(handler)).ok());
    };
    add("GET", "/hello", [](const HttpRequest&) { return HttpResponse{.body = "hello\n"}; });
    add("POST", "/echo",
        [](const HttpRequest& r) { return HttpResponse{.body = std::string(r.body.view())}; });
    add("GET", "/big",
        [](const HttpRequest&) { return HttpResponse{.body = std::string(32 << 20, 'x')}; });
    add("GET", "/throw",
        [](const HttpRequest&) -> HttpResponse { throw std::runtime_error("odd"); });
    add("GET", "/what/{id}", [](const HttpRequest& r) {
      return HttpResponse{.body = std::string(r.Parameter("id")) + "|" + r.query + "|" +
                                  std::string(r.Header("x-test")) +
                                  (r.from_unix_socket ? "|unix" : "")};
    });
    ASSERT_TRUE(server_
                    ->Route("POST", "/control",
                            [](const HttpRequest&) { return HttpResponse{.body = "done"}; },
                            {.reach = RouteReach::kUnixSocket})
                    .ok());
    ASSERT_TRUE(server_->Start().ok());
  }
  uint16_t port() const { return server_->address()->port; }
  RawClient Client() { return RawClient::Tcp(port()); }
  std::string OneAnswer(std::string_view request) { return Client().Ask(request); }
  std::string SocketPath() const { return (folder_ / "s").string(); }

  std::filesystem::path folder_;
  HttpServerOptions options_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersAndKeepsTheConnection) {
  Start();
  RawClient client = Client();
  for (int i = 0; i < 3; ++i) {
    const std::string answer = client.Get("/hello");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(answer, HasSubstr("\r\nContent-Length: 6\r\n"));
    EXPECT_THAT(answer, HasSubstr("\r\nDate: "));
    EXPECT_EQ(BodyOf(answer), "hello\n");
  }
  EXPECT_EQ(server_->stats().accepted, 1u);
  EXPECT_EQ(server_->stats().requests, 3u);
  EXPECT_EQ(server_->stats().errors, 0u);
}

TEST_F(HttpServerTest, RequestsReachHandlersWhole) {
  Start();
  const std::string answer =
      OneAnswer("GET /what/a%20b?q=1 HTTP/1.1\r\nHost: h\r\nX-Test: yes\r\n\r\n");
  EXPECT_EQ(BodyOf(answer), "a b|q=1|yes");
  EXPECT_EQ(BodyOf(OneAnswer("GET http://h:1/what/x?y HTTP/1.1\r\nHost: h\r\n\r\n")), "x|y|");
  EXPECT_EQ(BodyOf(OneAnswer("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")),
            "abc");
  EXPECT_EQ(BodyOf(OneAnswer("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                             "2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n")),
            "abc");
}

TEST_F(HttpServerTest, HeadHasNoBody) {
  Start();
  RawClient client = Client();
  ASSERT_TRUE(
      client.Say("HEAD /hello HTTP/1.1\r\nHost: h\r\n\r\nGET /hello HTTP/1.1\r\nHost: h\r\n\r\n"));
  const std::string head = client.HearAnswer(/*to_head=*/true);
  EXPECT_THAT(head, HasSubstr("Content-Length: 6"));
  EXPECT_EQ(BodyOf(head), "");
  EXPECT_EQ(BodyOf(client.HearAnswer()), "hello\n");
}

TEST_F(HttpServerTest, SaysWhatIsNotThere) {
  Start();
  EXPECT_EQ(StatusOf(OneAnswer("GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n")), 404);
  const std::string other = OneAnswer("DELETE /hello HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(StatusOf(other), 405);
  EXPECT_THAT(other, HasSubstr("\r\nAllow: GET, HEAD\r\n"));
  EXPECT_EQ(StatusOf(OneAnswer("BREW /hello HTTP/1.1\r\nHost: h\r\n\r\n")), 405);
  EXPECT_EQ(StatusOf(OneAnswer("GET /what/%zz HTTP/1.1\r\nHost: h\r\n\r\n")), 400);
  EXPECT_EQ(StatusOf(OneAnswer("GET /throw HTTP/1.1\r\nHost: h\r\n\r\n")), 500);
  EXPECT_EQ(server_->stats().errors, 5u);
}

TEST_F(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
  Start();
  RawClient client = Client();
  std::string all;
  for (int i = 0; i < 500; ++i) {
    all += "GET /what/" + std::to_string(i) + " HTTP/1.1\r\nHost: h\r\n\r\n";
  }
  ASSERT_TRUE(client.Say(all));
  for (int i = 0; i < 500; ++i) ASSERT_EQ(BodyOf(client.HearAnswer()), std::to_string(i) + "||");
}

TEST_F(HttpServerTest, ByteByByteIsFine) {
  Start();
  RawClient client = Client();
  for (const char c :
       std::string("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok")) {
    ASSERT_TRUE(client.Say({&c, 1}));
  }
  EXPECT_EQ(BodyOf(client.HearAnswer()), "ok");
}

TEST_F(HttpServerTest, OldAndClosingClientsSeeTheEnd) {
  Start();
  for (const char* request : {"GET /hello HTTP/1.0\r\n\r\n",
                              "GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"}) {
    RawClient client = Client();
    ASSERT_TRUE(client.Say(request));
    EXPECT_THAT(client.HearAll(), HasSubstr("hello\n"));
  }
}

TEST_F(HttpServerTest, GarbageIsRefused) {
  Start();
  for (const char* garbage :
       {"\x16\x03\x01\x02\x01", "hello\r\n\r\n", "GET\r\n\r\n", "GET /hello HTTP/9.9\r\n\r\n",
        "GET /hello HTTP/1.1\r\n\r\n", "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost : a\r\n\r\n", "GET /hello HTTP/1.1\r\nHost: a\r\nbad\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    RawClient client = Client();
    ASSERT_TRUE(client.Say(garbage));
    client.EndSaying();
    const std::string answer = client.HearAll();
    if (answer.empty()) continue;
    EXPECT_EQ(StatusOf(answer), 400) << garbage << "\n" << answer;
  }
  EXPECT_EQ(StatusOf(OneAnswer("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\n\r\n")), 417);
  EXPECT_EQ(BodyOf(Client().Get("/hello")), "hello\n");
}

TEST_F(HttpServerTest, RandomBytesNeverStopIt) {
  Start();
  std::mt19937 random(7);
  const std::string good = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
  for (int i = 0; i < 2000; ++i) {
    std::string bytes = good;
    for (int n = 0; n <= i % 4; ++n) bytes[random() % bytes.size()] = static_cast<char>(random());
    RawClient client = Client();
    client.Say(bytes);
    client.EndSaying();
    client.HearAll();  // whatever it is, it ends
  }
  EXPECT_EQ(BodyOf(Client().Get("/hello")), "hello\n");
}

TEST_F(HttpServerTest, TooMuchIsRefused) {
  options_.max_head_bytes = 1000;
  options_.max_body_bytes = 1000;
  Start();
  EXPECT_EQ(StatusOf(OneAnswer("GET /hello HTTP/1.1\r\nHost: h\r\nX: " + std::string(5000, 'x') +
                               "\r\n\r\n")),
            431);
  EXPECT_EQ(StatusOf(OneAnswer("GET /" + std::string(100'000, 'x'))), 431);
  // Refused by what it announces, not by what it takes.
  EXPECT_EQ(StatusOf(OneAnswer("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n")),
            413);
  EXPECT_EQ(StatusOf(OneAnswer("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n" +
                               std::string(1000, 'x'))),
            200);
  EXPECT_EQ(
      StatusOf(OneAnswer("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "3E9\r\n" +
                         std::string(1001, 'x') + "\r\n0\r\n\r\n")),
      413);
  std::string drops = "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 200; ++i) drops += "A\r\n0123456789\r\n";
  EXPECT_EQ(StatusOf(OneAnswer(drops + "0\r\n\r\n")), 413);
  const std::string with_body =
      OneAnswer("GET /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx");
  EXPECT_EQ(StatusOf(with_body), 400);
  EXPECT_THAT(with_body, HasSubstr("GET takes no body here"));
  EXPECT_EQ(BodyOf(Client().Get("/hello")), "hello\n");
}

TEST_F(HttpServerTest, BodiesAreAskedFor) {
  Start();
  RawClient client = Client();
  ASSERT_TRUE(client.Say(
      "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
  EXPECT_EQ(StatusOf(client.HearAnswer()), 100);
  EXPECT_EQ(BodyOf(client.Ask("ok")), "ok");
  // But not when they will be refused.
  EXPECT_EQ(StatusOf(OneAnswer("POST /none HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
                               "Expect: 100-continue\r\n\r\n")),
            404);
}

TEST_F(HttpServerTest, HalfRequestsAndIdleConnectionsAreClosed) {
  options_.request_timeout_us = 30'000;
  options_.idle_timeout_us = 30'000;
  Start();
  for (const char* half : {"", "GE", "GET /hello HTTP/1.1\r\nHost: h\r\n",
                           "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab"}) {
    RawClient client = Client();
    ASSERT_TRUE(client.Say(half));
    EXPECT_EQ(client.HearAll(), "") << half;  // comes back because the server closes
  }
  RawClient idle = Client();
  EXPECT_EQ(BodyOf(idle.Get("/hello")), "hello\n");
  EXPECT_EQ(idle.HearAll(), "");
}

TEST_F(HttpServerTest, InACrowdWhoSaysNothingGoesSoon) {
  options_.request_timeout_us = 30'000;
  options_.max_connections = 2;
  Start();
  RawClient first = Client();
  RawClient second = Client();
  EXPECT_EQ(second.HearAll(), "");  // comes back because the server closes
  EXPECT_EQ(BodyOf(first.Get("/hello")), "hello\n") << "it came when there was room";
}

TEST_F(HttpServerTest, DripsDoNotHoldARequestOpen) {
  options_.request_timeout_us = 30'000;
  Start();
  RawClient client = Client();
  ASSERT_TRUE(client.Say("GET /hello HTTP/1.1\r\n"));
  while (client.Say("X: y\r\n")) {  // ends when the server has had enough
  }
  EXPECT_EQ(BodyOf(Client().Get("/hello")), "hello\n");
}

TEST_F(HttpServerTest, WhoDoesNotReadIsLeft) {
  options_.write_timeout_us = 30'000;
  Start();
  RawClient slow = RawClient::Tcp(port(), 4096);
  ASSERT_TRUE(slow.Say("GET /big HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_EQ(BodyOf(Client().Get("/hello")), "hello\n");  // meanwhile
  EXPECT_TRUE(Until([&] { return server_->stats().connections <= 1; }));
  // Both are gone, not only ours.
  EXPECT_TRUE(Until([&] { return server_->stats().connections == 0; }));
  EXPECT_LT(slow.HearAll().size(), size_t{32} << 20);
}

TEST_F(HttpServerTest, ConnectionsBeyondTheMostAreToldSo) {
  options_.max_connections = 3;
  Start();
  std::vector<RawClient> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(Client());
    EXPECT_EQ(StatusOf(clients.back().Get("/hello")), 200);
  }
  RawClient refused = Client();
  EXPECT_EQ(StatusOf(refused.Get("/hello")), 503);
  EXPECT_EQ(refused.HearAll(), "");
  EXPECT_EQ(StatusOf(clients[0].Get("/hello")), 200);
  // Far beyond it they are closed at once, and memory stays bounded.
  std::vector<RawClient> crowd;
  for (int i = 0; i < 200; ++i) crowd.push_back(Client());
  EXPECT_TRUE(Until([&] { return server_->stats().accepted >= 204; }));
  EXPECT_LE(server_->stats().connections, 3u + 32u);
  EXPECT_EQ(server_->stats().refused, 201u);
  crowd.clear();
  clients.clear();
  EXPECT_TRUE(Until([&] { return server_->stats().connections <= 0; }));
  EXPECT_EQ(StatusOf(Client().Get("/hello")), 200);
}

TEST_F(HttpServerTest, StopsWithConnectionsOpen) {
  options_.stop_timeout_us = 30'000;
  Start();
  RawClient idle = Client();
  EXPECT_EQ(StatusOf(idle.Get("/hello")), 200);
  RawClient half = Client();
  ASSERT_TRUE(half.Say("GET /he"));
  RawClient slow = RawClient::Tcp(port(), 4096);
  ASSERT_TRUE(slow.Say("GET /big HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_TRUE(Until([&] { return server_->stats().requests >= 2; }));
  const uint16_t port = this->port();
  server_->Stop();
  server_->Stop();
  EXPECT_EQ(idle.HearAll(), "");
  EXPECT_FALSE(RawClient::Tcp(port).connected());
}

TEST_F(HttpServerTest, AnswersOnTheirWayAreSentAtTheEnd) {
  options_.stop_timeout_us = int64_t{600} * 1'000'000;  // a loaded machine is slow
  Start();
  RawClient client = Client();
  ASSERT_TRUE(client.Say("GET /big HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_TRUE(Until([&] { return server_->stats().requests >= 1; }));
  std::future<void> stopped = std::async(std::launch::async, [this] { server_->Stop(); });
  EXPECT_EQ(BodyOf(client.HearAll()).size(), size_t{32} << 20);
  stopped.get();
}

TEST_F(HttpServerTest, StopsWithoutHavingBegun) {
  auto made = HttpServer::Create(options_);
  ASSERT_TRUE(made.ok());
  (*made)->Stop();
}

TEST_F(HttpServerTest, SaysThatAPortIsTaken) {
  Start();
  const auto second = HttpServer::Create({.tcp = ListenAddress{"127.0.0.1", port()}});
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(MessageOf(second.status())),
              HasSubstr("port " + std::to_string(port()) + " of 127.0.0.1 is taken"));
  const auto elsewhere = HttpServer::Create({.tcp = ListenAddress{"192.0.2.1", 0}});
  ASSERT_FALSE(elsewhere.ok());
  EXPECT_THAT(std::string(MessageOf(elsewhere.status())), HasSubstr("no address of this machine"));
  EXPECT_FALSE(HttpServer::Create({}).ok());
}

TEST_F(HttpServerTest, EveryAddressIsServed) {
  options_.tcp = ListenAddress{"", 0};
  Start();
  EXPECT_EQ(StatusOf(Client().Get("/hello")), 200);  // IPv4 also where the socket is of IPv6
}

TEST_F(HttpServerTest, ServesOnAUnixSocket) {
  options_.unix_path = SocketPath();
  Start();
  struct stat file {};
  ASSERT_EQ(stat(SocketPath().c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0600u);
  EXPECT_EQ(BodyOf(RawClient::Unix(SocketPath()).Get("/what/x")), "x|||unix");
  const std::string control = "POST /control HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
  EXPECT_EQ(BodyOf(RawClient::Unix(SocketPath()).Ask(control)), "done");
  EXPECT_EQ(StatusOf(OneAnswer(control)), 404);
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(SocketPath()));
}

TEST_F(HttpServerTest, TheSocketOfALivingProcessIsLeftAlone) {
  options_.unix_path = SocketPath();
  Start();
  const auto second = UnixSocket::Listen(SocketPath());
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(MessageOf(second.status())), HasSubstr("another process answers"));
  EXPECT_EQ(StatusOf(RawClient::Unix(SocketPath()).Get("/hello")), 200);
}

TEST_F(HttpServerTest, TheSocketOfADeadProcessIsReplaced) {
  {
    const int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::strncpy(at.sun_path, SocketPath().c_str(), sizeof(at.sun_path) - 1);
    ASSERT_EQ(bind(dead, reinterpret_cast<sockaddr*>(&at), sizeof(at)), 0);
    close(dead);
  }
  ASSERT_TRUE(std::filesystem::exists(SocketPath()));
  options_.unix_path = SocketPath();
  Start();
  EXPECT_EQ(StatusOf(RawClient::Unix(SocketPath()).Get("/hello")), 200);
}

TEST_F(HttpServerTest, WhatIsNoSocketIsLeftAlone) {
  std::ofstream(SocketPath()) << "precious";
  const auto made = UnixSocket::Listen(SocketPath());
  ASSERT_FALSE(made.ok());
  EXPECT_THAT(std::string(MessageOf(made.status())), HasSubstr("no socket"));
  EXPECT_TRUE(std::filesystem::exists(SocketPath()));
  EXPECT_FALSE(UnixSocket::Listen((folder_ / "none" / "s").string()).ok());
  const auto long_path = UnixSocket::Listen((folder_ / std::string(120, 'x')).string());
  EXPECT_THAT(std::string(MessageOf(long_path.status())), HasSubstr("at most 107 bytes"));
}

TEST_F(HttpServerTest, AnothersSocketIsNotRemoved) {
  auto first = UnixSocket::Listen(SocketPath());
  ASSERT_TRUE(first.ok());
  std::filesystem::remove(SocketPath());
  const auto second = UnixSocket::Listen(SocketPath());
  ASSERT_TRUE(second.ok());
  { const UnixSocket gone = *std::move(first); }
  EXPECT_TRUE(std::filesystem::exists(SocketPath()));
}

TEST_F(HttpServerTest, HeadersOfHandlersCannotSplitAnswers) {
  auto made = HttpServer::Create(options_);
  ASSERT_TRUE(made.ok());
  server_ = *std::move(made);
  ASSERT_TRUE(
      server_
          ->Route("GET", "/x",
                  [](const HttpRequest&) {
                    return HttpResponse{
                        .status = 99,
                        .body = "b",
                        .headers = {{"X-A", "1\r\nX-B: 2"}, {"bad name", "1"}, {"X-C", "3"}}};
                  })
          .ok());
  ASSERT_TRUE(server_->Start().ok());
  const std::string answer = Client().Get("/x");
  EXPECT_EQ(StatusOf(answer), 500);
  EXPECT_THAT(answer, Not(HasSubstr("X-B")));
  EXPECT_THAT(answer, Not(HasSubstr("bad name")));
  EXPECT_THAT(answer, HasSubstr("X-C: 3"));
}

}  // namespace
}  // namespace sightline::serve
