#include "serve/http/http_feed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/test_until.h"
#include "serve/http/feed_queue_internal.h"
#include "serve/http/http_gate.h"
#include "serve/http/http_server.h"
#include "serve/http/test_http_client.h"
#include "serve/http/test_http_server.h"

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int kPatienceS = 30;

std::shared_ptr<const FeedMessage> Message(const std::string& data, const std::string& id = "") {
  return std::make_shared<const FeedMessage>(FeedMessage{.id = id, .data = data});
}

// Lets everyone in, and on until it is told otherwise.
class FeedGate final : public HttpGate {
 public:
  std::optional<HttpResponse> Admit(HttpRequest& head, std::string_view,
                                    const RouteOptions&) override {
    head.context = std::make_shared<RequestContext>();
    return std::nullopt;
  }
  bool MayGoOn(const HttpExchange&) override { return may_go_on; }
  void Ended(const HttpExchange& exchange) override {
    const MutexLock lock(mutex_);
    ended_.push_back(exchange);
  }
  // Of the route's first request that is over.
  HttpExchange WaitForEnd(std::string_view route) const {
    HttpExchange found;
    EXPECT_TRUE(Until([&] {
      const MutexLock lock(mutex_);
      for (const HttpExchange& one : ended_) {
        if (one.route == route) found = one;
      }
      return !found.route.empty();
    }));
    return found;
  }

  std::atomic<bool> may_go_on{true};

 private:
  mutable Mutex mutex_;
  std::vector<HttpExchange> ended_ GUARDED_BY(mutex_);
};

class HttpFeedTest : public ::testing::Test {
 protected:
  void Start() {
    server_ = MakeOnLoopback(options_);
    ASSERT_NE(server_, nullptr);
    ASSERT_TRUE(server_
                    ->RouteFeed("/feed/{id}",
                                [this](const HttpRequest& request,
                                       const auto& feed) -> std::optional<HttpResponse> {
                                  if (request.Parameter("id") == "none") {
                                    return ErrorResponse(404, "no such feed");
                                  }
                                  const MutexLock lock(mutex_);
                                  feeds_.push_back(feed);
                                  return std::nullopt;
                                })
                    .ok());
    ASSERT_TRUE(server_
                    ->Route("GET", "/hello",
                            [](const HttpRequest&) { return HttpResponse{.body = "hello"}; })
                    .ok());
    ASSERT_TRUE(server_->Start().ok());
  }
  RawClient Client(int receive_buffer_bytes = 0) {
    RawClient client = RawClient::Tcp(server_->address()->port, receive_buffer_bytes);
    client.SetPatience(kPatienceS);
    return client;
  }
  std::shared_ptr<HttpFeed> Feed(size_t index) {
    EXPECT_TRUE(Until([&] {
      const MutexLock lock(mutex_);
      return feeds_.size() > index;
    }));
    const MutexLock lock(mutex_);
    return feeds_[index];
  }
  RawClient Listener() {
    RawClient client = Client();
    EXPECT_TRUE(client.Say("GET /feed/1 HTTP/1.1\r\nHost: h\r\n\r\n"));
    EXPECT_THAT(client.HearUntil("\r\n\r\n"), StartsWith("HTTP/1.1 200"));
    return client;
  }
  static std::string Upgrade(const std::string& more = "") {
    return "GET /feed/1 HTTP/1.1\r\nHost: h:1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: "
           "websocket\r\nSec-WebSocket-Version: 13\r\n" +
           more + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  }
  // A frame of a client, masked with nothing.
  static std::string Frame(int opcode, const std::string& payload) {
    std::string frame = {static_cast<char>(0x80 | opcode),
                         static_cast<char>(0x80 | payload.size())};
    return frame + std::string(4, '\0') + payload;
  }
  // One of the server: first byte and payload.
  static std::pair<int, std::string> HearFrame(RawClient& client) {
    const std::string head = client.HearBytes(2);
    if (head.size() < 2) return {0, "(closed)"};
    size_t length = static_cast<unsigned char>(head[1]);
    if (length == 126) {
      const std::string more = client.HearBytes(2);
      length = static_cast<unsigned char>(more[0]) * 256u + static_cast<unsigned char>(more[1]);
    }
    return {static_cast<unsigned char>(head[0]), client.HearBytes(length)};
  }

  HttpServerOptions options_;
  FeedGate gate_;
  Mutex mutex_;
  std::vector<std::shared_ptr<HttpFeed>> feeds_ GUARDED_BY(mutex_);
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpFeedTest, EventsAreSentAsTheyCome) {
  Start();
  RawClient client = Client();
  ASSERT_TRUE(client.Say("GET /feed/1 HTTP/1.1\r\nHost: h\r\n\r\n"));
  const std::string head = client.HearUntil("\r\n\r\n");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(head, HasSubstr("Content-Type: text/event-stream\r\n"));
  const std::shared_ptr<HttpFeed> feed = Feed(0);
  EXPECT_TRUE(feed->Send(std::make_shared<const FeedMessage>(
      FeedMessage{.event = "result\nid: forged", .id = "7", .data = "one\ntwo\r\nthree"})));
  EXPECT_EQ(client.HearUntil("\n\n"),
            "event: result\nid: 7\ndata: one\ndata: two\ndata: three\n\n");
  EXPECT_TRUE(feed->Send(Message("")));
  EXPECT_EQ(client.HearUntil("\n\n"), "data: \n\n");
  EXPECT_EQ(server_->stats().feeds, 1u);
  EXPECT_EQ(BodyOf(Client().Get("/hello")), "hello") << "others are answered meanwhile";
  feed->End();
  EXPECT_FALSE(feed->Send(Message("late")));
  EXPECT_EQ(client.HearAll(), "");
  EXPECT_FALSE(feed->open());
}

TEST_F(HttpFeedTest, HandlersMayRefuse) {
  Start();
  EXPECT_EQ(StatusOf(Client().Get("/feed/none")), 404);
  EXPECT_EQ(StatusOf(Client().Ask("POST /feed/1 HTTP/1.1\r\nHost: h\r\n\r\n")), 405);
  RawClient head = Client();
  ASSERT_TRUE(head.Say("HEAD /feed/1 HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_THAT(head.HearAnswer(/*to_head=*/true), HasSubstr("text/event-stream"));
  EXPECT_TRUE(Until([&] { return server_->stats().feeds == 0; }));
}

TEST_F(HttpFeedTest, WhoLeavesIsForgotten) {
  Start();
  {
    RawClient client = Listener();
    EXPECT_TRUE(Feed(0)->open());
  }
  EXPECT_TRUE(Until([&] { return !Feed(0)->open(); }));
  EXPECT_FALSE(Feed(0)->Send(Message("nobody")));
  EXPECT_TRUE(Until([&] { return server_->stats().connections == 0; }));
}

TEST_F(HttpFeedTest, TheSlowestLosesTheOldest) {
  options_.feed_messages = 4;
  options_.write_timeout_us = int64_t{600} * 1'000'000;
  Start();
  RawClient quick = Listener();
  RawClient slow = Client(4096);
  ASSERT_TRUE(slow.Say("GET /feed/2 HTTP/1.1\r\nHost: h\r\n\r\n"));
  const std::shared_ptr<HttpFeed> quick_feed = Feed(0), slow_feed = Feed(1);
  const std::string large(200'000, 'x');
  int sent = 0;
  for (; slow_feed->lost() == 0 && sent < 1000; ++sent) {
    const auto message = Message(large, std::to_string(sent));
    EXPECT_TRUE(slow_feed->Send(message));
    EXPECT_TRUE(quick_feed->Send(message));
    const std::string heard = quick.HearUntil("\n\n");
    EXPECT_THAT(heard, StartsWith("id: " + std::to_string(sent) + "\n"));
  }
  ASSERT_GT(slow_feed->lost(), 0u);
  EXPECT_EQ(quick_feed->lost(), 0u);
  EXPECT_EQ(server_->stats().feed_messages_lost, slow_feed->lost());
  slow_feed->End();
  const std::string heard = slow.HearAll();
  EXPECT_THAT(heard, HasSubstr("id: 0\n")) << "what was on its way comes";
  EXPECT_THAT(heard, HasSubstr("id: " + std::to_string(sent - 1) + "\n")) << "and the newest";
}

TEST_F(HttpFeedTest, WhoReadsNothingIsLeft) {
  options_.feed_bytes = size_t{64} << 20;
  options_.write_timeout_us = 30'000;
  Start();
  RawClient slow = Client(4096);
  ASSERT_TRUE(slow.Say("GET /feed/1 HTTP/1.1\r\nHost: h\r\n\r\n"));
  const std::shared_ptr<HttpFeed> feed = Feed(0);
  const auto message = Message(std::string(1'000'000, 'x'));
  for (int i = 0; i < 32; ++i) feed->Send(message);
  EXPECT_TRUE(Until([&] { return !feed->open(); }));
  EXPECT_EQ(server_->stats().timed_out, 1u);
}

TEST_F(HttpFeedTest, WebSocketsHearTheSame) {
  Start();
  RawClient client = Client();
  ASSERT_TRUE(client.Say(Upgrade("Origin: http://h:1\r\n")));
  const std::string head = client.HearUntil("\r\n\r\n");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 101 "));
  EXPECT_THAT(head, HasSubstr("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"))
      << "RFC 6455, 1.3";
  const std::shared_ptr<HttpFeed> feed = Feed(0);
  EXPECT_TRUE(feed->Send(Message("{\"a\":1}")));
  EXPECT_EQ(HearFrame(client), std::pair(0x81, std::string("{\"a\":1}")));
  EXPECT_TRUE(feed->Send(Message(std::string(1000, 'x'))));
  EXPECT_EQ(HearFrame(client), std::pair(0x81, std::string(1000, 'x')));
  ASSERT_TRUE(client.Say(Frame(9, "ping") + Frame(1, "what nobody reads")));
  EXPECT_EQ(HearFrame(client), std::pair(0x8A, std::string("ping")));
  feed->End();
  EXPECT_EQ(HearFrame(client).first, 0x88);
  ASSERT_TRUE(client.Say(Frame(8, "\x03\xE8")));
  EXPECT_EQ(client.HearAll(), "");
  EXPECT_TRUE(Until([&] { return server_->stats().connections == 0; }));
}

TEST_F(HttpFeedTest, WrongWebSocketsAreRefused) {
  Start();
  EXPECT_EQ(StatusOf(Client().Ask(Upgrade("Origin: http://elsewhere\r\n"))), 403);
  EXPECT_EQ(StatusOf(Client().Ask("GET /feed/1 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n")),
            400);
  EXPECT_EQ(StatusOf(Client().Ask(Upgrade() + "early")), 400);
  const std::string key = "dGhlIHNhbXBsZSBub25jZQ==";
  for (const char* wrong : {"x", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQAA"}) {
    std::string request = Upgrade();
    request.replace(request.find(key), key.size(), wrong);
    const std::string answer = Client().Ask(request);
    EXPECT_EQ(StatusOf(answer), 400) << wrong;
    EXPECT_THAT(answer, HasSubstr("Sec-WebSocket-Key")) << wrong;
  }
  RawClient unmasked = Client();
  ASSERT_TRUE(unmasked.Say(Upgrade()));
  EXPECT_THAT(unmasked.HearUntil("\r\n\r\n"), StartsWith("HTTP/1.1 101 "));
  ASSERT_TRUE(unmasked.Say(std::string("\x81\x01x", 3)));
  unmasked.HearAll();  // ends
  RawClient large = Client();
  ASSERT_TRUE(large.Say(Upgrade()));
  EXPECT_THAT(large.HearUntil("\r\n\r\n"), StartsWith("HTTP/1.1 101 "));
  ASSERT_TRUE(large.Say(std::string("\x82\xFF\0\0\0\0\x7F\0\0\0\0\0\0\0", 14)));
  large.HearAll();
  EXPECT_TRUE(Until([&] { return server_->stats().connections == 0; }));
}

TEST_F(HttpFeedTest, TheEndOfTheServerEndsThem) {
  options_.stop_timeout_us = int64_t{600} * 1'000'000;
  Start();
  RawClient events = Listener();
  const std::shared_ptr<HttpFeed> feed = Feed(0);
  RawClient socket = Client();
  ASSERT_TRUE(socket.Say(Upgrade()));
  EXPECT_THAT(socket.HearUntil("\r\n\r\n"), StartsWith("HTTP/1.1 101 "));
  const std::shared_ptr<HttpFeed> other = Feed(1);
  EXPECT_TRUE(feed->Send(Message("last")));
  std::thread ending([&] { server_->Stop(); });
  EXPECT_EQ(events.HearUntil("\n\n"), "data: last\n\n");
  EXPECT_EQ(events.HearAll(), "");
  const auto [opcode, reason] = HearFrame(socket);
  EXPECT_EQ(opcode, 0x88);
  EXPECT_EQ(reason.substr(0, 2), "\x03\xE9");
  socket.Say(Frame(8, "\x03\xE9"));
  ending.join();
  EXPECT_FALSE(feed->Send(Message("too late")));
  server_.reset();
  EXPECT_FALSE(other->Send(Message("much too late")));
}

TEST_F(HttpFeedTest, WhoMayNotGoOnIsToldNothingMore) {
  options_.gate = &gate_;
  Start();
  RawClient events = Listener();
  RawClient socket = Client();
  ASSERT_TRUE(socket.Say(Upgrade()));
  EXPECT_THAT(socket.HearUntil("\r\n\r\n"), StartsWith("HTTP/1.1 101 "));
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(Feed(i)->Send(Message("a")));
  EXPECT_EQ(events.HearUntil("\n\n"), "data: a\n\n");
  EXPECT_EQ(HearFrame(socket).second, "a");
  gate_.may_go_on = false;
  EXPECT_EQ(events.HearAll(), "");
  const auto [opcode, reason] = HearFrame(socket);
  EXPECT_EQ(opcode, 0x88);
  EXPECT_EQ(reason.substr(0, 2), "\x03\xF0") << "1008, policy";
  for (size_t i = 0; i < 2; ++i) EXPECT_FALSE(Feed(i)->Send(Message("b")));
  EXPECT_EQ(gate_.WaitForEnd("/feed/{id}").context->refused, "key");
}

TEST_F(HttpFeedTest, WhoMayNotGoOnAndReadsNothingIsLeft) {
  options_.gate = &gate_;
  options_.feed_bytes = size_t{64} << 20;
  options_.write_timeout_us = int64_t{3600} * 1'000'000;
  Start();
  RawClient slow = Client(4096);
  ASSERT_TRUE(slow.Say("GET /feed/1 HTTP/1.1\r\nHost: h\r\n\r\n"));
  const auto message = Message(std::string(1'000'000, 'x'));
  for (int i = 0; i < 32; ++i) Feed(0)->Send(message);
  gate_.may_go_on = false;
  EXPECT_TRUE(Until([&] { return server_->stats().connections == 0; }));
}

TEST_F(HttpFeedTest, WhatListenersGetIsCounted) {
  options_.gate = &gate_;
  Start();
  RawClient events = Client();
  EXPECT_EQ(StatusOf(events.Get("/hello")), 200) << "counted by itself";
  ASSERT_TRUE(events.Say("GET /feed/1 HTTP/1.1\r\nHost: h\r\n\r\n"));
  std::string heard = events.HearUntil("\r\n\r\n");
  Feed(0)->Send(Message(std::string(1000, 'x')));
  Feed(0)->End();
  heard += events.HearAll();
  EXPECT_GT(heard.size(), 1000u);
  EXPECT_EQ(gate_.WaitForEnd("/feed/{id}").sent_bytes, heard.size());
}

TEST_F(HttpFeedTest, WhatWebSocketsGetIsCounted) {
  options_.gate = &gate_;
  Start();
  RawClient socket = Client();
  ASSERT_TRUE(socket.Say(Upgrade()));
  std::string heard = socket.HearUntil("\r\n\r\n");
  Feed(0)->Send(Message(std::string(1000, 'x')));
  heard += socket.HearBytes(4 + 1000);
  Feed(0)->End();
  ASSERT_TRUE(socket.Say(Frame(8, "\x03\xE8")));
  heard += socket.HearAll();
  EXPECT_GT(heard.size(), 1000u);
  EXPECT_EQ(gate_.WaitForEnd("/feed/{id}").sent_bytes, heard.size());
}

TEST_F(HttpFeedTest, AnAddressHasSoManyConnections) {
  options_.max_connections_per_address = 2;
  Start();
  RawClient listens = Listener();
  EXPECT_EQ(StatusOf(Client().Get("/hello")), 200);
  EXPECT_TRUE(Until([&] { return server_->stats().connections == 1; }));
  RawClient second = Client();
  EXPECT_EQ(StatusOf(second.Get("/hello")), 200);
  RawClient third = Client();
  EXPECT_EQ(StatusOf(third.Get("/hello")), 429) << "who listens counts, too";
  EXPECT_EQ(third.HearAll(), "");
  RawClient other = RawClient::Tcp(server_->address()->port, 0, "127.0.0.2");
  EXPECT_EQ(StatusOf(other.Get("/hello")), 200);
  std::vector<RawClient> many;
  for (int i = 0; i < 100; ++i) {
    many.push_back(Client());
    ASSERT_TRUE(many.back().connected());
  }
  EXPECT_TRUE(Until([&] { return server_->stats().address_refused == 101; }));
  EXPECT_LE(server_->stats().connections, 3u + 32u) << "and only some are told why";
  EXPECT_EQ(server_->stats().refused, 101u);
  many.clear();
  Feed(0)->End();
  EXPECT_EQ(listens.HearAll(), "");
  EXPECT_TRUE(Until([&] {
    RawClient again = Client();
    return StatusOf(again.Get("/hello")) == 200;
  })) << "places are given back";
}

TEST_F(HttpFeedTest, AWebSocketThatDoesNotAnswerTheEndIsNotWaitedFor) {
  options_.close_timeout_us = 20'000;
  options_.request_timeout_us = options_.stop_timeout_us = int64_t{3600} * 1'000'000;
  Start();
  RawClient socket = Client();
  ASSERT_TRUE(socket.Say(Upgrade()));
  EXPECT_THAT(socket.HearUntil("\r\n\r\n"), StartsWith("HTTP/1.1 101 "));
  Feed(0)->End();
  EXPECT_EQ(HearFrame(socket).first, 0x88);
  EXPECT_TRUE(Until([&] { return server_->stats().connections == 0; }));
  EXPECT_EQ(server_->stats().timed_out, 0u) << "nothing was slow";
}

TEST_F(HttpFeedTest, TheEndOfTheServerWaitsForNoWebSocketLongerThanItsBound) {
  options_.close_timeout_us = options_.request_timeout_us = int64_t{3600} * 1'000'000;
  options_.stop_timeout_us = 20'000;
  Start();
  RawClient socket = Client();
  ASSERT_TRUE(socket.Say(Upgrade()));
  EXPECT_THAT(socket.HearUntil("\r\n\r\n"), StartsWith("HTTP/1.1 101 "));
  server_->Stop();
  EXPECT_EQ(server_->stats().connections, 0u);
}

TEST(FeedQueue, OneMessageBeyondTheBytesIsLostItself) {
  int woken = 0;
  FeedQueue queue(10, 100, std::make_shared<FeedCounts>(), [&] { ++woken; });
  EXPECT_TRUE(queue.Send(Message(std::string(101, 'x'))));
  EXPECT_EQ(queue.lost(), 1u);
  EXPECT_EQ(woken, 0);
  EXPECT_TRUE(queue.Send(Message(std::string(100, 'y'))));
  EXPECT_TRUE(queue.Send(Message(std::string(100, 'z'))));
  EXPECT_EQ(woken, 1) << "once, until it was looked at";
  EXPECT_EQ(queue.lost(), 2u);
  EXPECT_EQ(queue.Take()->data, std::string(100, 'z'));
  EXPECT_EQ(queue.Take(), nullptr);
  EXPECT_TRUE(queue.Send(Message("")));
  EXPECT_EQ(woken, 2);
}

}  // namespace
}  // namespace sightline::serve
