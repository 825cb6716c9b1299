// Memory of bodies: kept for the next ones, bounded, and without anything of those before.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/test_until.h"
#include "serve/http/body_memory.h"
#include "serve/http/http_server.h"
#include "serve/http/test_http_client.h"
#include "serve/http/test_http_server.h"

namespace sightline::serve {
namespace {

constexpr int kPatienceS = 30;
constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kStep = BodyMemory::kBlockStep;

TEST(BodyMemoryTest, BlocksAreUsedAgainByBodiesOfTheirSize) {
  const auto memory = BodyMemory::Make(64 * kMiB);
  const char* first = nullptr;
  {
    const BodyMemory::Block block = memory->New(kMiB - 5);
    ASSERT_TRUE(block);
    EXPECT_EQ(block.capacity(), kMiB);
    EXPECT_EQ(memory->taken_bytes(), 0u) << "none of it is touched";
    EXPECT_FALSE(memory->TakeKept(kMiB - 5, 0)) << "none has come back";
    first = block.data();
  }
  EXPECT_EQ(memory->kept_bytes(), kMiB);
  EXPECT_FALSE(memory->TakeKept(kMiB + 1, 0)) << "too small for that";
  EXPECT_FALSE(memory->TakeKept(kMiB / 2, 0)) << "would waste half of it";
  ASSERT_TRUE(memory->TakeRoom(1000));
  {
    const BodyMemory::Block block = memory->TakeKept(kMiB - 100, 1000);
    ASSERT_TRUE(block);
    EXPECT_EQ(block.data(), first);
    EXPECT_EQ(memory->taken_bytes(), kMiB) << "its pages are there, all of them";
    EXPECT_EQ(memory->kept_bytes(), 0u);
  }
  memory->GiveRoom(kMiB);
  EXPECT_EQ(memory->taken_bytes(), 0u);
}

TEST(BodyMemoryTest, KeepsNoMoreThanItMay) {
  const auto memory = BodyMemory::Make(8 * kMiB);
  std::vector<BodyMemory::Block> blocks;
  for (int i = 0; i < 5; ++i) blocks.push_back(memory->New(kMiB / 2 + 1));
  blocks.push_back(memory->New(BodyMemory::kLargestKept + 1));
  blocks.clear();
  EXPECT_GT(memory->kept_bytes(), kMiB);
  EXPECT_LE(memory->kept_bytes(), 2 * kMiB) << "a quarter";
}

TEST(BodyMemoryTest, WhatIsKeptKeepsNobodyOut) {
  const auto memory = BodyMemory::Make(4 * kMiB);
  { const BodyMemory::Block block = memory->New(kMiB); }
  ASSERT_EQ(memory->kept_bytes(), kMiB);
  EXPECT_TRUE(memory->TakeRoom(3 * kMiB));
  EXPECT_EQ(memory->kept_bytes(), kMiB);
  EXPECT_TRUE(memory->TakeRoom(1)) << "more than is free";
  EXPECT_EQ(memory->kept_bytes(), 0u);
  EXPECT_FALSE(memory->TakeRoom(kMiB));
  EXPECT_EQ(memory->refused(), 1u);
  { const BodyMemory::Block block = memory->New(kMiB); }
  EXPECT_EQ(memory->kept_bytes(), 0u) << "there is no room to keep it";
}

TEST(BodyMemoryTest, WhatNobodyNeedsIsGivenBack) {
  const auto memory = BodyMemory::Make(64 * kMiB);
  EXPECT_FALSE(memory->Tidy());
  BodyMemory::Block used = memory->New(kMiB);
  { const BodyMemory::Block block = memory->New(kMiB); }
  EXPECT_TRUE(memory->Tidy());
  EXPECT_EQ(memory->kept_bytes(), kMiB);
  EXPECT_TRUE(memory->Tidy()) << "one is in use";
  EXPECT_EQ(memory->kept_bytes(), 0u);
  used = {};
  EXPECT_EQ(memory->kept_bytes(), kMiB);
  { const BodyMemory::Block block = memory->TakeKept(kMiB, 0); }
  EXPECT_TRUE(memory->Tidy());
  EXPECT_FALSE(memory->Tidy());
  memory->StopKeeping();
  { const BodyMemory::Block block = memory->New(kMiB); }
  EXPECT_EQ(memory->kept_bytes(), 0u);
}

TEST(BodyMemoryTest, BlocksOutliveWhoMadeThem) {
  BodyMemory::Block block;
  {
    const auto memory = BodyMemory::Make(kMiB);
    block = memory->New(kStep);
  }
  ASSERT_TRUE(block);
  std::fill_n(block.data(), block.capacity(), 'x');
}

class HttpBodyTest : public ::testing::Test {
 protected:
  void Start() {
    server_ = MakeOnLoopback(options_);
    ASSERT_NE(server_, nullptr);
    RouteOptions large;
    large.max_body_bytes = 16 * kMiB;
    large.aligned_by = "x-before";
    ASSERT_TRUE(server_
                    ->Route(
                        "POST", "/echo",
                        [](const HttpRequest& request) {
                          const auto begin = reinterpret_cast<uintptr_t>(request.body.data());
                          HttpResponse response{.body = std::string(request.body.view())};
                          response.headers.emplace_back("X-Begin", std::to_string(begin % 64));
                          for (size_t i = 0; request.body.is_block() && i < RequestBody::kBehind;
                               ++i) {
                            if (request.body.data()[request.body.size() + i] != 0)
                              response.status = 500;
                          }
                          return response;
                        },
                        large)
                    .ok());
    ASSERT_TRUE(server_->Start().ok());
  }
  RawClient Client() {
    RawClient client = RawClient::Tcp(server_->address()->port);
    client.SetPatience(kPatienceS);
    return client;
  }
  // Sends and hears at the same time: both are larger than what the system holds.
  static std::string Echo(RawClient& client, const std::string& body,
                          const std::string& headers = "") {
    std::thread sender([&] {
      client.Say("POST /echo HTTP/1.1\r\nHost: h\r\n" + headers +
                 "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    });
    std::string answer = client.HearAnswer();
    sender.join();
    return answer;
  }

  HttpServerOptions options_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpBodyTest, NothingOfABodyIsInTheNext) {
  Start();
  RawClient client = Client();
  size_t size = 3 * kMiB;
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    const std::string body(size, letter);
    const std::string answer = Echo(client, body);
    ASSERT_EQ(StatusOf(answer), 200) << size;
    ASSERT_TRUE(BodyOf(answer) == body) << size;
    size = size * 2 / 3 + 1;  // also to sizes that need no block
  }
  // What is cut off in the middle leaves its block to others.
  {
    RawClient gone = Client();
    ASSERT_TRUE(gone.Say("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" +
                         std::string(500'000, '!')));
  }
  EXPECT_TRUE(Until([&] { return server_->stats().connections == 1; }));
  const std::string body(900'000, '?');
  EXPECT_TRUE(BodyOf(Echo(client, body)) == body);
}

TEST_F(HttpBodyTest, MemoryIsKeptForAWhileAndThenGivenBack) {
  Start();
  RawClient client = Client();
  EXPECT_EQ(StatusOf(Echo(client, std::string(kMiB, 'x'))), 200);
  EXPECT_EQ(server_->stats().bodies_bytes, 0u);
  // It may be gone already; it is in the end.
  EXPECT_TRUE(Until([&] { return server_->stats().bodies_kept_bytes == 0; }));
}

TEST_F(HttpBodyTest, KeptMemoryCountsTowardsTheBound) {
  options_.max_bodies_bytes = 8 * kMiB;
  Start();
  RawClient client = Client();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(StatusOf(Echo(client, std::string(kMiB + static_cast<size_t>(i) * 300'000, 'x'))),
              200);
    EXPECT_LE(server_->stats().bodies_kept_bytes, 2 * kMiB);
  }
  // All that there may be, whatever is kept.
  EXPECT_EQ(StatusOf(Echo(client, std::string(7 * kMiB, 'y'))), 200);
}

TEST_F(HttpBodyTest, WhatARouteWantsAlignedIs) {
  Start();
  RawClient client = Client();
  for (const size_t before : {0, 1, 63, 64, 200, 65'537}) {
    const std::string answer =
        Echo(client, std::string(kMiB, 'x'), "X-Before: " + std::to_string(before) + "\r\n");
    EXPECT_THAT(answer, ::testing::HasSubstr("X-Begin: " + std::to_string((64 - before % 64) % 64) +
                                             "\r\n"));
  }
  for (const char* odd : {"x", "-1", "99999999999999999999999", ""}) {
    EXPECT_EQ(
        StatusOf(Echo(client, std::string(kMiB, 'x'), "X-Before: " + std::string(odd) + "\r\n")),
        200);
  }
}

}  // namespace
}  // namespace sightline::serve
