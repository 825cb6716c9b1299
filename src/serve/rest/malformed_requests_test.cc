// 100,000 requests that are wrong somewhere, from a seeded generator: each gets an answer of HTTP or a
// closed connection, and the server goes on as before.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/test_until.h"
#include "serve/http/test_http_client.h"
#include "serve/inference/test_service.h"
#include "serve/rest/rest_routes.h"

namespace sightline::serve {
namespace {

constexpr int kThreads = 4;
constexpr int kRequestsOfEach = 25'000;
constexpr int kPatienceS = 60;
constexpr char kInfer[] = "/v2/models/double/infer";

std::string Post(std::string_view path, std::string_view body, std::string_view headers = "") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: h\r\n" + std::string(headers) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

// What a client may say, and where the body begins that is to be spoilt while the head stays right.
struct Good {
  std::string path, headers, body;
};

std::vector<Good> GoodRequests() {
  const std::string json =
      R"({"id":"7","inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2.5]}],)"
      R"("outputs":[{"name":"y","parameters":{"classification":1}}],"parameters":{"timeout":9000000}})";
  const std::string head =
      R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}],)"
      R"("parameters":{"binary_data_output":true}})";
  return {
      {kInfer, "", json},
      {kInfer, "Inference-Header-Content-Length: " + std::to_string(head.size()) + "\r\n",
       head + std::string("\0\0\x80\x3f\0\0\0\x40", 8)},
      {kInfer, "Content-Encoding: gzip\r\n", std::string("\x1f\x8b\x08\0\0\0\0\0\0\3", 10) + json},
      {"/v2/repository/index", "", R"({"ready":true})"},
      {"/v2/models/double/trace/setting", "", R"({"trace_rate":"5"})"},
      {"/v2/logging", "", R"({"log_verbose_level":0})"},
      {"/v2/systemsharedmemory/region/a/register", "", R"({"key":"/a","offset":0,"byte_size":8})"}};
}

class Spoiler {
 public:
  explicit Spoiler(uint64_t seed) : random_(seed) {}

  void Spoil(std::string& text) {
    const size_t times = 1 + Below(4);
    for (size_t i = 0; i < times; ++i) SpoilOnce(text);
  }
  size_t Below(size_t bound) { return bound == 0 ? 0 : random_() % bound; }

 private:
  void SpoilOnce(std::string& text) {
    static constexpr std::array<std::string_view, 20> kPieces = {"\"",
                                                                 "{",
                                                                 "]",
                                                                 "[[[[",
                                                                 ",",
                                                                 "\\u0000",
                                                                 "\xff\xfe",
                                                                 "-1",
                                                                 "1e999",
                                                                 "9223372036854775808",
                                                                 "null",
                                                                 "\r\n",
                                                                 "\r\n\r\n",
                                                                 "0x",
                                                                 "Transfer-Encoding: chunked\r\n",
                                                                 "Content-Length: 99999999999\r\n",
                                                                 "ffffffffffffffff\r\n",
                                                                 "%00",
                                                                 "/../",
                                                                 "true"};
    const size_t at = Below(text.size() + 1);
    switch (Below(6)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(random_());
        break;
      case 1:
        text.insert(at, kPieces[Below(kPieces.size())]);
        break;
      case 2:
        text.erase(at, 1 + Below(20));
        break;
      case 3:
        text.insert(at, text.substr(Below(text.size()), Below(60)));
        break;
      case 4:
        text.resize(at);
        break;
      default:
        text.insert(at, 1 + Below(300), static_cast<char>(random_()));
    }
  }

  std::mt19937_64 random_;
};

// Half of them spoilt in the body, behind a head that announces it rightly; the others anywhere.
std::string Malformed(const std::vector<Good>& goods, Spoiler& spoiler) {
  const Good& good = goods[spoiler.Below(goods.size())];
  if (spoiler.Below(2) == 0) {
    std::string body = good.body;
    spoiler.Spoil(body);
    return Post(good.path, body, good.headers);
  }
  std::string request = Post(good.path, good.body, good.headers);
  spoiler.Spoil(request);
  return request;
}

TEST(MalformedRequests, HarmNobody) {
  TestService served("malformed");
  ASSERT_TRUE(served.Load().ok());
  HttpServerOptions options;
  options.unix_path = served.folder() + "/socket";
  auto made = HttpServer::Create(options);
  ASSERT_TRUE(made.ok()) << made.status();
  const std::unique_ptr<HttpServer> server = *std::move(made);
  ASSERT_TRUE(AddRestRoutes(served.service(), {}, *server).ok());
  ASSERT_TRUE(server->Start().ok());

  const std::vector<Good> goods = GoodRequests();
  std::array<int, kThreads> wrong{};
  std::vector<std::thread> threads;
  for (int number = 0; number < kThreads; ++number) {
    threads.emplace_back([&, number] {
      Spoiler spoiler(static_cast<uint64_t>(number) + 1);
      for (int i = 0; i < kRequestsOfEach; ++i) {
        RawClient client = RawClient::Unix(options.unix_path);
        client.SetPatience(kPatienceS);
        client.Say(Malformed(goods, spoiler));
        client.EndSaying();
        const std::string answer = client.HearAll();
        const bool is_http = StatusOf(answer) >= 200 && StatusOf(answer) < 600;
        wrong[static_cast<size_t>(number)] += answer.empty() || is_http ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, (std::array<int, kThreads>{}));

  RawClient client = RawClient::Unix(options.unix_path);
  client.SetPatience(kPatienceS);
  const std::string good = client.Ask(
      Post(kInfer, R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2.5]}]})"));
  EXPECT_EQ(StatusOf(good), 200) << good;
  EXPECT_TRUE(Until([&] { return server->stats().connections == 1; }));
  const HttpServerStats stats = server->stats();
  EXPECT_EQ(stats.bodies_bytes, 0u);
  EXPECT_GE(stats.accepted, static_cast<uint64_t>(kThreads) * kRequestsOfEach);
  EXPECT_GT(stats.errors, stats.requests / 2);
}

}  // namespace
}  // namespace sightline::serve
