// Clients that are slow, idle, or gone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/test_until.h"
#include "serve/http/http_server.h"
#include "serve/http/test_http_client.h"
#include "serve/http/test_http_server.h"

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;

constexpr int kPatienceS = 30;

class HttpSlowTest : public ::testing::Test {
 protected:
  void Start() {
    server_ = MakeOnLoopback(options_);
    ASSERT_NE(server_, nullptr);
    RouteOptions large;
    large.max_body_bytes = size_t{64} << 20;
    ASSERT_TRUE(server_
                    ->Route(
                        "POST", "/length",
                        [](const HttpRequest& request) {
                          return HttpResponse{.body = std::to_string(request.body.size())};
                        },
                        large)
                    .ok());
    ASSERT_TRUE(server_
                    ->Route("GET", "/large",
                            [](const HttpRequest&) {
                              return HttpResponse{.body = std::string(size_t{24} << 20, 'x')};
                            })
                    .ok());
    ASSERT_TRUE(
        server_
            ->RouteAsync("GET", "/wait",
                         [this](HttpRequest&&, const HttpReply& reply) { asked_.set_value(reply); })
            .ok());
    ASSERT_TRUE(server_->Start().ok());
  }
  RawClient Client(int receive_buffer_bytes = 0) {
    RawClient client = RawClient::Tcp(server_->address()->port, receive_buffer_bytes);
    client.SetPatience(kPatienceS);
    return client;
  }

  HttpServerOptions options_;
  std::promise<HttpReply> asked_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpSlowTest, BodiesMayTakeLongerThanTheirGrace) {
  options_.request_timeout_us = 3'000'000;
  options_.min_bytes_per_s = 1000;
  Start();
  RawClient client = Client();
  ASSERT_TRUE(client.Say("POST /length HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n"));
  // Takes longer than the grace, and never stands still for as long as that.
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(client.Say(std::string(100, 'x')));
    std::this_thread::sleep_for(std::chrono::milliseconds(16));
  }
  EXPECT_EQ(BodyOf(client.HearAnswer()), "20000");
  EXPECT_EQ(server_->stats().timed_out, 0u);
}

TEST_F(HttpSlowTest, DripsDoNotHoldABodyOpen) {
  options_.request_timeout_us = 100'000;
  options_.min_bytes_per_s = 1'000'000;
  Start();
  for (const char* how : {"Content-Length: 1000000", "Transfer-Encoding: chunked"}) {
    RawClient client = Client();
    ASSERT_TRUE(client.Say("POST /length HTTP/1.1\r\nHost: h\r\n" + std::string(how) + "\r\n\r\n"));
    // Never still, but far below the rate; ends when the server has had enough.
    while (client.Say(how[0] == 'C' ? "x" : "1\r\nx\r\n")) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  EXPECT_EQ(server_->stats().timed_out, 2u);
  EXPECT_TRUE(Until([&] { return server_->stats().bodies_bytes == 0; }));
}

TEST_F(HttpSlowTest, DeadlinesHoldAfterEverybodyLeft) {
  options_.request_timeout_us = 100'000;
  Start();
  for (uint64_t i = 0; i < 3; ++i) {
    { const RawClient gone = Client(); }
    ASSERT_TRUE(Until([&] {
      const HttpServerStats stats = server_->stats();
      return stats.accepted == 2 * i + 1 && stats.connections == 0;
    }));
    EXPECT_EQ(Client().HearAll(), "") << "comes back because the server closes";
  }
}

TEST_F(HttpSlowTest, AnswersThatWaitHaveABoundTogether) {
  options_.max_answers_bytes = size_t{60} << 20;
  Start();
  std::vector<RawClient> slow;
  for (int i = 0; i < 2; ++i) {
    slow.push_back(Client(4096));
    ASSERT_TRUE(slow.back().Say("GET /large HTTP/1.1\r\nHost: h\r\n\r\n"));
    ASSERT_TRUE(Until([&] {
      return server_->stats().answers_bytes == (size_t{24} << 20) * static_cast<size_t>(i + 1);
    }));
  }
  const std::string refused = Client().Get("/large");
  EXPECT_EQ(StatusOf(refused), 503);
  EXPECT_THAT(refused, HasSubstr("Retry-After: 1\r\n"));
  EXPECT_EQ(server_->stats().answers_refused, 1u);
  EXPECT_EQ(BodyOf(slow[0].HearAnswer()).size(), size_t{24} << 20);
  EXPECT_TRUE(Until([&] { return server_->stats().answers_bytes == size_t{24} << 20; }));
  slow.clear();
  EXPECT_TRUE(Until([&] { return server_->stats().answers_bytes == 0; }));
}

TEST_F(HttpSlowTest, WhoWaitsForAnAnswerAndLeavesIsSeen) {
  Start();
  std::future<HttpReply> asked = asked_.get_future();
  {
    RawClient client = Client();
    ASSERT_TRUE(client.Say("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n"));
    asked.wait();
  }
  const HttpReply reply = asked.get();
  EXPECT_TRUE(Until([&] { return reply.left(); }));
  reply({.body = "nobody"});
  EXPECT_TRUE(Until([&] { return server_->stats().connections == 0; }));
}

TEST_F(HttpSlowTest, IdleConnectionsAreAnsweredWhenTheySpeakAgain) {
  options_.asleep_after_us = 20'000;
  Start();
  RawClient client = Client();
  const std::string request = "POST /length HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
  for (uint64_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(Until([&] { return server_->stats().asleep == 1; }));
    EXPECT_EQ(BodyOf(client.Ask(request)), "3");
    EXPECT_EQ(server_->stats().requests, i + 1);
  }
  EXPECT_TRUE(Until([&] { return server_->stats().asleep == 1; }));
  ASSERT_TRUE(client.Say(request.substr(0, 10)));
  EXPECT_TRUE(Until([&] { return server_->stats().asleep == 0; }));
  EXPECT_EQ(BodyOf(client.Ask(request.substr(10))), "3");
  client = Client();
  EXPECT_TRUE(Until([&] { return server_->stats().asleep == 1; }));
  server_->Stop();
  EXPECT_EQ(client.HearAll(), "");
}

}  // namespace
}  // namespace sightline::serve
