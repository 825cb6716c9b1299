#include "serve/http/http_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/test_until.h"
#include "serve/http/http_server.h"
#include "serve/http/test_http_client.h"

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Refuses whoever has no "x-pass", and remembers what it was told.
class TestGate final : public HttpGate {
 public:
  std::optional<HttpResponse> Admit(HttpRequest& head, std::string_view route,
                                    const RouteOptions& options) override {
    const MutexLock lock(mutex_);
    asked_.push_back(head.method + " " + std::string(route) + " " + head.client + " " +
                     std::to_string(static_cast<int>(options.role)));
    if (head.Header("x-throw") == "1") throw std::runtime_error("odd");
    head.context = std::make_shared<RequestContext>();
    head.context->request_id = "r" + std::to_string(asked_.size());
    head.context->answer_headers = {{"X-Request-Id", head.context->request_id}};
    if (head.Header("x-pass").empty()) return ErrorResponse(401, "no pass");
    return std::nullopt;
  }
  void Ended(const HttpExchange& exchange) override {
    const MutexLock lock(mutex_);
    ended_.push_back(exchange);
  }
  std::vector<std::string> asked() const {
    const MutexLock lock(mutex_);
    return asked_;
  }
  HttpExchange WaitForEnded(size_t index) const {
    EXPECT_TRUE(Until([&] {
      const MutexLock lock(mutex_);
      return ended_.size() > index;
    }));
    const MutexLock lock(mutex_);
    return ended_.size() > index ? ended_[index] : HttpExchange();
  }
  size_t ended() const {
    const MutexLock lock(mutex_);
    return ended_.size();
  }

 private:
  mutable Mutex mutex_;
  std::vector<std::string> asked_ GUARDED_BY(mutex_);
  std::vector<HttpExchange> ended_ GUARDED_BY(mutex_);
};

class HttpGateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    HttpServerOptions options;
    options.tcp = ListenAddress{.address = "127.0.0.1", .port = 0};
    options.gate = &gate_;
    auto made = HttpServer::Create(options);
    ASSERT_TRUE(made.ok()) << made.status();
    server_ = *std::move(made);
    RouteOptions infer;
    infer.role = RouteRole::kInfer;
    ASSERT_TRUE(server_
                    ->Route(
                        "POST", "/models/{model}/run",
                        [this](const HttpRequest& request) {
                          ++handled_;
                          return HttpResponse{.body = request.context->request_id +
                                                      std::string(request.body.view())};
                        },
                        infer)
                    .ok());
    ASSERT_TRUE(server_
                    ->RouteAsync("POST", "/wait",
                                 [this](HttpRequest&& request, const HttpReply& reply) {
                                   waiting_.set_value({request.context, reply});
                                 })
                    .ok());
    ASSERT_TRUE(server_->Start().ok());
  }
  RawClient Client() { return RawClient::Tcp(server_->address()->port); }
  static std::string Post(const std::string& path, const std::string& headers,
                          const std::string& body) {
    return "POST " + path + " HTTP/1.1\r\nHost: h\r\n" + headers +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }

  struct Waiting {
    std::shared_ptr<RequestContext> context;
    HttpReply reply;
  };
  TestGate gate_;
  std::atomic<int> handled_{0};
  std::promise<Waiting> waiting_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpGateTest, WhoIsLetInFindsTheContextAndHasItsHeaders) {
  const std::string answer = Client().Ask(Post("/models/a%20b/run", "x-pass: 1\r\n", "body"));
  EXPECT_EQ(StatusOf(answer), 200);
  EXPECT_THAT(answer, HasSubstr("X-Request-Id: r1\r\n"));
  EXPECT_EQ(BodyOf(answer), "r1body");
  const HttpExchange ended = gate_.WaitForEnded(0);
  EXPECT_EQ(ended.method, "POST");
  EXPECT_EQ(ended.route, "/models/{model}/run");
  EXPECT_EQ(ended.role, RouteRole::kInfer);
  EXPECT_EQ(ended.model, "a b");
  EXPECT_EQ(ended.client, "127.0.0.1");
  EXPECT_EQ(ended.status, 200);
  EXPECT_TRUE(ended.complete);
  EXPECT_EQ(ended.body_bytes, 4u);
  EXPECT_EQ(ended.sent_bytes, answer.size());
  EXPECT_GT(ended.began_us, 0);
  EXPECT_LE(ended.began_us, ended.handled_us);
  EXPECT_LE(ended.handled_us, ended.answered_us);
  EXPECT_LE(ended.answered_us, ended.ended_us);
  EXPECT_THAT(gate_.asked(),
              ::testing::ElementsAre("POST /models/{model}/run 127.0.0.1 " +
                                     std::to_string(static_cast<int>(RouteRole::kInfer))));
}

TEST_F(HttpGateTest, WhoIsRefusedIsRefusedBeforeTheBody) {
  RawClient client = Client();
  // Announced, and never sent.
  ASSERT_TRUE(
      client.Say("POST /models/a/run HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n"
                 "Expect: 100-continue\r\n\r\n"));
  const std::string answer = client.HearAll();
  EXPECT_EQ(StatusOf(answer), 401);
  EXPECT_THAT(answer, Not(HasSubstr("100 Continue")));
  EXPECT_THAT(answer, HasSubstr("X-Request-Id: r1\r\n"));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  const HttpExchange ended = gate_.WaitForEnded(0);
  EXPECT_EQ(ended.status, 401);
  EXPECT_EQ(ended.handled_us, 0);
  EXPECT_EQ(handled_, 0);
}

TEST_F(HttpGateTest, ARefusalWithoutABodyKeepsTheConnection) {
  RawClient client = Client();
  EXPECT_EQ(StatusOf(client.Get("/models/a/run")), 401);
  EXPECT_EQ(StatusOf(client.Ask(Post("/models/a/run", "x-pass: 1\r\n", "b"))), 200);
}

TEST_F(HttpGateTest, ABodyThatNobodyWantsIsPassedOver) {
  RawClient client = Client();
  const std::string large(100'000, 'x');
  EXPECT_EQ(StatusOf(client.Ask(Post("/models/a/run", "", large))), 401);
  EXPECT_EQ(StatusOf(client.Ask(Post("/models/a/run", "", "small"))), 401);
  // Two at once: what is passed over ends where the next begins.
  ASSERT_TRUE(
      client.Say(Post("/models/a/run", "", large) + Post("/models/a/run", "x-pass: 1\r\n", "b")));
  EXPECT_EQ(StatusOf(client.HearAnswer()), 401);
  EXPECT_EQ(BodyOf(client.HearAnswer()), "r4b");
  // The answer does not wait for the body.
  ASSERT_TRUE(client.Say("POST /models/a/run HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nha"));
  EXPECT_EQ(StatusOf(client.HearAnswer()), 401);
  ASSERT_TRUE(client.Say("lf!"));
  EXPECT_EQ(StatusOf(client.Ask(Post("/models/a/run", "x-pass: 1\r\n", "b"))), 200);
  // One of a length that nobody knows, or a long one, ends the connection.
  ASSERT_TRUE(
      client.Say("POST /models/a/run HTTP/1.1\r\nHost: h\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n"));
  EXPECT_THAT(client.HearAll(), HasSubstr("Connection: close\r\n"));
  RawClient other = Client();
  ASSERT_TRUE(
      other.Say("POST /models/a/run HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n"));
  EXPECT_THAT(other.HearAll(), HasSubstr("Connection: close\r\n"));
  EXPECT_EQ(handled_, 2);
}

TEST_F(HttpGateTest, PathsThatAreNotThereAreAskedForToo) {
  RawClient client = Client();
  EXPECT_EQ(StatusOf(client.Get("/secret")), 401);
  EXPECT_EQ(StatusOf(client.Ask("GET /secret HTTP/1.1\r\nHost: h\r\nx-pass: 1\r\n\r\n")), 404);
  ASSERT_TRUE(client.Say("HEAD /secret HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_EQ(StatusOf(client.HearAnswer(/*to_head=*/true)), 401);
  EXPECT_EQ(gate_.WaitForEnded(1).route, "");
  EXPECT_EQ(gate_.WaitForEnded(1).status, 404);
  EXPECT_EQ(gate_.WaitForEnded(2).method, "HEAD");
}

TEST_F(HttpGateTest, AClientThatLeavesIsEndedWithoutAStatus) {
  {
    RawClient client = Client();
    ASSERT_TRUE(
        client.Say("POST /models/a/run HTTP/1.1\r\nHost: h\r\nx-pass: 1\r\n"
                   "Content-Length: 10\r\n\r\nhalf"));
    ASSERT_TRUE(Until([&] { return !gate_.asked().empty(); }));
  }
  const HttpExchange ended = gate_.WaitForEnded(0);
  EXPECT_EQ(ended.status, 0);
  EXPECT_FALSE(ended.complete);
  EXPECT_EQ(handled_, 0);
}

TEST_F(HttpGateTest, ADoorThatFailsStaysShut) {
  EXPECT_EQ(StatusOf(Client().Ask(Post("/models/a/run", "x-pass: 1\r\nx-throw: 1\r\n", ""))), 500);
  EXPECT_EQ(handled_, 0);
  EXPECT_EQ(gate_.WaitForEnded(0).status, 500);
}

TEST_F(HttpGateTest, EveryRequestIsEndedOnce) {
  RawClient client = Client();
  const std::string one = Post("/models/a/run", "x-pass: 1\r\n", "b");
  ASSERT_TRUE(client.Say(one + one + one));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(StatusOf(client.HearAnswer()), 200);
  RawClient waiting = Client();
  ASSERT_TRUE(waiting.Say(Post("/wait", "x-pass: 1\r\n", "")));
  Waiting asked = waiting_.get_future().get();
  EXPECT_EQ(asked.context->request_id, "r4");
  asked.reply({.body = "late"});
  EXPECT_EQ(BodyOf(waiting.HearAnswer()), "late");
  gate_.WaitForEnded(3);
  server_.reset();
  EXPECT_EQ(gate_.ended(), 4u);
  EXPECT_EQ(gate_.asked().size(), 4u);
}

TEST_F(HttpGateTest, RoutesAreListedWithTheirRoles) {
  const std::vector<Router::Listed> routes = server_->routes();
  ASSERT_EQ(routes.size(), 2u);
  for (const Router::Listed& route : routes) {
    EXPECT_EQ(route.options.role, route.pattern == "/wait" ? RouteRole::kAdmin : RouteRole::kInfer);
  }
}

}  // namespace
}  // namespace sightline::serve
