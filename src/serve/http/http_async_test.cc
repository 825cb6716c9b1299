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

class HttpAsyncTest : public ::testing::Test {
 protected:
  void Start() {
    server_ = MakeOnLoopback(options_);
    ASSERT_NE(server_, nullptr);
    RouteOptions large;
    large.max_body_bytes = size_t{8} << 20;
    // Hands the reply to the test.
    ASSERT_TRUE(server_
                    ->RouteAsync(
                        "POST", "/wait",
                        [this](HttpRequest&& request, const HttpReply& reply) {
                          asked_.set_value({std::move(request.body), reply});
                        },
                        large)
                    .ok());
    ASSERT_TRUE(server_->RouteAsync("GET", "/forget", [](HttpRequest&&, const HttpReply&) {}).ok());
    ASSERT_TRUE(
        server_
            ->RouteAsync("GET", "/throw",
                         [](HttpRequest&&, const HttpReply&) { throw std::runtime_error("odd"); })
            .ok());
    ASSERT_TRUE(server_
                    ->RouteAsync("GET", "/twice",
                                 [](HttpRequest&&, const HttpReply& reply) {
                                   reply({.body = "first"});
                                   reply({.body = "second"});
                                 })
                    .ok());
    ASSERT_TRUE(server_
                    ->RouteAsync("GET", "/parts",
                                 [](HttpRequest&&, const HttpReply& reply) {
                                   HttpResponse parts{.body = "one "};
                                   parts.more_body = {"two ", "", "three"};
                                   reply(std::move(parts));
                                 })
                    .ok());
    ASSERT_TRUE(server_
                    ->Route("GET", "/hello",
                            [](const HttpRequest&) { return HttpResponse{.body = "hello"}; })
                    .ok());
    ASSERT_TRUE(server_->Start().ok());
  }
  RawClient Client() {
    RawClient client = RawClient::Tcp(server_->address()->port);
    client.SetPatience(kPatienceS);
    return client;
  }
  static std::string Post(const std::string& path, const std::string& body) {
    return "POST " + path +
           " HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
           body;
  }

  struct Asked {
    RequestBody body;
    HttpReply reply;
  };
  HttpServerOptions options_;
  std::promise<Asked> asked_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpAsyncTest, OthersAreAnsweredMeanwhile) {
  Start();
  RawClient waiting = Client();
  ASSERT_TRUE(waiting.Say(Post("/wait", "question")));
  Asked asked = asked_.get_future().get();
  EXPECT_EQ(asked.body.view(), "question");
  EXPECT_EQ(BodyOf(Client().Get("/hello")), "hello");
  std::thread([reply = std::move(asked.reply)] { reply({.body = "late"}); }).join();
  EXPECT_EQ(BodyOf(waiting.HearAnswer()), "late");
  EXPECT_EQ(BodyOf(waiting.Get("/hello")), "hello") << "the connection goes on";
}

TEST_F(HttpAsyncTest, EveryRequestHasOneAnswer) {
  Start();
  RawClient client = Client();
  EXPECT_EQ(StatusOf(client.Get("/forget")), 500);
  EXPECT_EQ(StatusOf(client.Get("/throw")), 500);
  EXPECT_EQ(BodyOf(client.Get("/twice")), "first");
  EXPECT_EQ(BodyOf(client.Get("/hello")), "hello");
}

TEST_F(HttpAsyncTest, PartsAreOneBody) {
  Start();
  const std::string answer = Client().Get("/parts");
  EXPECT_THAT(answer, HasSubstr("Content-Length: 13\r\n"));
  EXPECT_EQ(BodyOf(answer), "one two three");
}

TEST_F(HttpAsyncTest, LargeBodiesComeWhole) {
  Start();
  std::string body(size_t{5} << 20, '\0');
  for (size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 7 + i / 251);
  RawClient client = Client();
  std::thread sender([&] {
    // With the next request right behind it.
    client.Say(Post("/wait", body) + "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
  });
  Asked asked = asked_.get_future().get();
  sender.join();
  EXPECT_TRUE(asked.body.view() == body);
  asked.reply({.body = "whole"});
  EXPECT_EQ(BodyOf(client.HearAnswer()), "whole");
  EXPECT_EQ(BodyOf(client.HearAnswer()), "hello");
}

TEST_F(HttpAsyncTest, BodiesHaveABoundTogether) {
  options_.max_bodies_bytes = 6000;
  Start();
  RawClient first = Client();
  ASSERT_TRUE(first.Say(Post("/wait", std::string(5000, 'x'))));
  Asked asked = asked_.get_future().get();
  EXPECT_EQ(server_->stats().bodies_bytes, 5000u);
  const std::string refused = Client().Ask(Post("/wait", std::string(5000, 'y')));
  EXPECT_EQ(StatusOf(refused), 503);
  EXPECT_THAT(refused, HasSubstr("Retry-After: "));
  EXPECT_EQ(server_->stats().bodies_refused, 1u);
  asked.reply({.body = "done"});
  EXPECT_EQ(BodyOf(first.HearAnswer()), "done");
  EXPECT_EQ(server_->stats().bodies_bytes, 0u);
}

TEST_F(HttpAsyncTest, RoomComesBackFromClientsThatGo) {
  options_.max_bodies_bytes = 100'000;
  Start();
  {
    RawClient gone = Client();
    ASSERT_TRUE(gone.Say("POST /wait HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nsome"));
    EXPECT_TRUE(Until([&] { return server_->stats().bodies_bytes > 0; }));
  }
  EXPECT_TRUE(Until([&] { return server_->stats().bodies_bytes == 0; }));
}

TEST_F(HttpAsyncTest, WhoAnnouncesMuchAndSendsNothingKeepsNobodyOut) {
  options_.max_bodies_bytes = 1'000'000;
  Start();
  std::vector<RawClient> silent;
  for (uint64_t i = 1; i <= 8; ++i) {
    silent.push_back(Client());
    ASSERT_TRUE(
        silent.back().Say("POST /wait HTTP/1.1\r\nHost: h\r\nContent-Length: 800000\r\n\r\nsome"));
    ASSERT_TRUE(Until([&] { return server_->stats().bodies_bytes >= i * 16384; }));
  }
  EXPECT_LT(server_->stats().bodies_bytes, 200'000u);
  RawClient client = Client();
  const std::string body(500'000, 'b');
  ASSERT_TRUE(client.Say(Post("/wait", body)));
  Asked asked = asked_.get_future().get();
  EXPECT_TRUE(asked.body.view() == body);
  asked.reply({.body = "heard"});
  EXPECT_EQ(BodyOf(client.HearAnswer()), "heard");
}

TEST_F(HttpAsyncTest, ChunkedBodiesTakeTheRoomThatTheyNeed) {
  options_.max_bodies_bytes = 100'000;
  Start();
  const std::string head = "POST /wait HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string chunk = "2710\r\n" + std::string(10'000, 'c') + "\r\n";
  RawClient first = Client();
  ASSERT_TRUE(first.Say(head + chunk + chunk + "0\r\n\r\n"));
  Asked asked = asked_.get_future().get();
  EXPECT_EQ(asked.body.view(), std::string(20'000, 'c'));
  EXPECT_EQ(server_->stats().bodies_bytes, 20'000u);
  RawClient endless = Client();
  ASSERT_TRUE(endless.Say(head));
  for (int i = 0; i < 20 && endless.Say(chunk); ++i) {
  }
  EXPECT_EQ(StatusOf(endless.HearAnswer()), 503);
  asked.reply({.body = "done"});
  EXPECT_EQ(BodyOf(first.HearAnswer()), "done");
  EXPECT_TRUE(Until([&] { return server_->stats().bodies_bytes == 0; }));
}

TEST_F(HttpAsyncTest, TheEndWaitsForAnswersOnTheirWay) {
  options_.stop_timeout_us = 30'000'000;
  Start();
  RawClient client = Client();
  ASSERT_TRUE(client.Say(Post("/wait", "q")));
  Asked asked = asked_.get_future().get();
  std::thread ending([&] { server_->Stop(); });
  EXPECT_TRUE(Until([&] { return !RawClient::Tcp(server_->address()->port).connected(); }));
  asked.reply({.body = "still"});
  EXPECT_EQ(BodyOf(client.HearAnswer()), "still");
  ending.join();
}

TEST_F(HttpAsyncTest, AnswersAfterTheEndFindNobody) {
  options_.stop_timeout_us = 1000;
  Start();
  RawClient client = Client();
  ASSERT_TRUE(client.Say(Post("/wait", "q")));
  Asked asked = asked_.get_future().get();
  server_->Stop();
  EXPECT_EQ(client.HearAll(), "");
  asked.reply({.body = "too late"});
  server_.reset();
  const HttpReply kept = asked.reply;
  kept({.body = "much too late"});
}

}  // namespace
}  // namespace sightline::serve
