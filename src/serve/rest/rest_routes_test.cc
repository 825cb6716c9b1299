#include "serve/rest/rest_routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "serve/http/test_http_client.h"
#include "serve/inference/test_service.h"
#include "serve/rest/body_coding.h"

namespace sightline::serve {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr int kPatienceS = 60;
constexpr char kInfer[] = "/v2/models/double/infer";

std::string Floats(std::vector<float> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

class RestRoutesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = HttpServer::Create({.tcp = ListenAddress{.address = "127.0.0.1", .port = 0}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    RestOptions rest;
    rest.max_request_bytes = 1 << 20;
    ASSERT_TRUE(AddRestRoutes(service_, rest, *server_).ok());
    ASSERT_TRUE(server_->Start().ok());
  }
  void TearDown() override {
    state_.Open();
    server_.reset();
  }

  void Load() { ASSERT_TRUE(served_.Load().ok()); }
  RawClient Client() {
    RawClient client = RawClient::Tcp(server_->address()->port);
    client.SetPatience(kPatienceS);
    return client;
  }
  static std::string Post(const std::string& path, const std::string& body,
                          const std::string& headers = "") {
    return "POST " + path + " HTTP/1.1\r\nHost: h\r\n" + headers +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  // A binary request, its header's length included.
  static std::string Binary(const std::string& head, const std::string& tensors) {
    return Post(kInfer, head + tensors,
                "Inference-Header-Content-Length: " + std::to_string(head.size()) + "\r\n");
  }

  TestService served_{"rest-test"};
  TestModelState& state_ = served_.state();
  InferenceService& service_ = served_.service();
  std::unique_ptr<HttpServer> server_;
};

constexpr char kJson[] =
    R"({"id":"7","inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2.5]}]})";
constexpr char kBinaryHead[] =
    R"({"inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"parameters":{"binary_data_size":16}}],)"
    R"("parameters":{"binary_data_output":true}})";

TEST_F(RestRoutesTest, JsonAndBinaryTensors) {
  Load();
  RawClient client = Client();
  EXPECT_EQ(BodyOf(client.Ask(Post(kInfer, kJson))),
            R"({"id":"7","model_name":"double","model_version":"1","outputs":[{"name":"y",)"
            R"("datatype":"FP32","shape":[1,2],"data":[2,5]}]})");
  const std::string answer = client.Ask(Binary(kBinaryHead, Floats({1, 2, 3, 4})));
  EXPECT_EQ(StatusOf(answer), 200);
  const std::string body = BodyOf(answer);
  ASSERT_GT(body.size(), 16u);
  EXPECT_EQ(body.substr(body.size() - 16), Floats({2, 4, 6, 8}));
  EXPECT_THAT(
      answer,
      HasSubstr("Inference-Header-Content-Length: " + std::to_string(body.size() - 16) + "\r\n"));
}

TEST_F(RestRoutesTest, WhatIsNoJsonIsToldByItsUsualReason) {
  Load();
  RawClient client = Client();
  std::string with_nan = kJson;
  with_nan.replace(with_nan.find("2.5"), 3, "NaN");
  const std::string nan = client.Ask(Post(kInfer, with_nan));
  EXPECT_EQ(StatusOf(nan), 400);
  EXPECT_THAT(nan, HasSubstr("NaN is no JSON"));
  const std::string trace = client.Ask(Post("/v2/trace/setting", "{'trace_rate': 1}"));
  EXPECT_EQ(StatusOf(trace), 400);
  EXPECT_THAT(trace, HasSubstr("double quotes"));
}

TEST(RestRoutes, AModelsConfigurationTellsWhetherItsAnswersAreCached) {
  for (const CacheKind kind : {CacheKind::kOff, CacheKind::kExact}) {
    TestService served("rest-config", /*shared_memory=*/false, {.kind = kind});
    ASSERT_TRUE(served.Load().ok());
    auto server = HttpServer::Create({.tcp = ListenAddress{.address = "127.0.0.1", .port = 0}});
    ASSERT_TRUE(server.ok()) << server.status();
    ASSERT_TRUE(AddRestRoutes(served.service(), {}, **server).ok());
    ASSERT_TRUE((*server)->Start().ok());
    RawClient client = RawClient::Tcp((*server)->address()->port);
    client.SetPatience(kPatienceS);
    const std::string answer = client.Get("/v2/models/double/config");
    EXPECT_EQ(StatusOf(answer), 200);
    EXPECT_EQ(json::parse(BodyOf(answer))["response_cache"],
              json({{"enable", kind != CacheKind::kOff}}));
  }
}

TEST_F(RestRoutesTest, ReadinessTellsTheTruth) {
  RawClient client = Client();
  EXPECT_EQ(StatusOf(client.Get("/v2/health/live")), 200);
  EXPECT_EQ(StatusOf(client.Get("/v2/health/ready")), 400);
  EXPECT_EQ(StatusOf(client.Get("/v2/models/double/ready")), 400);
  EXPECT_EQ(StatusOf(client.Ask(Post(kInfer, kJson))), 503);
  Load();
  EXPECT_EQ(StatusOf(client.Get("/v2/health/ready")), 200);
  EXPECT_EQ(StatusOf(client.Get("/v2/models/double/ready")), 200);
  service_.BeginDrain();
  EXPECT_EQ(StatusOf(client.Get("/v2/health/ready")), 400);
  EXPECT_EQ(StatusOf(client.Ask(Post(kInfer, kJson))), 200) << "requests are still taken";
}

TEST_F(RestRoutesTest, OthersAreServedWhileAModelWorks) {
  Load();
  state_.Close();
  RawClient waiting = Client();
  ASSERT_TRUE(waiting.Say(Post(kInfer, kJson)));
  state_.WaitForRuns(1);
  EXPECT_EQ(StatusOf(Client().Get("/v2/models/double/stats")), 200);
  state_.Open();
  EXPECT_EQ(StatusOf(waiting.HearAnswer()), 200);
}

TEST_F(RestRoutesTest, LargeBodiesOfJsonBothWays) {
  Load();
  json numbers = json::array();
  for (int i = 0; i < 20'000; ++i) numbers.push_back(i % 100);
  json request = json::parse(kJson);
  request["inputs"][0]["shape"] = {10'000, 2};
  request["inputs"][0]["data"] = numbers;
  std::vector<std::thread> clients;
  std::atomic<int> good{0};
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      RawClient client = Client();
      for (int round = 0; round < 5; ++round) {
        const json answer = json::parse(BodyOf(client.Ask(Post(kInfer, request.dump()))), nullptr,
                                        /*allow_exceptions=*/false);
        good += answer.is_object() && answer["outputs"][0]["data"].size() == 20'000 &&
                answer["outputs"][0]["data"][19'999] == 198;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(good, 20);
  request["inputs"][0]["data"][7] = "no number";
  EXPECT_EQ(StatusOf(Client().Ask(Post(kInfer, request.dump()))), 400);
}

TEST_F(RestRoutesTest, PackedBodiesBothWays) {
  Load();
  RawClient client = Client();
  for (const BodyCoding coding : {BodyCoding::kGzip, BodyCoding::kDeflate}) {
    const std::string name(ToString(coding));
    std::string head = json{{"inputs",
                             {{{"name", "x"},
                               {"datatype", "FP32"},
                               {"shape", {32, 2}},
                               {"data", std::vector<int>(64, 7)}}}}}
                           .dump();
    const std::string answer =
        client.Ask(Post(kInfer, Pack(coding, head),
                        "Content-Encoding: " + name + "\r\nAccept-Encoding: " + name + "\r\n"));
    EXPECT_EQ(StatusOf(answer), 200) << answer;
  }
  const std::string bomb = Pack(BodyCoding::kDeflate, std::string(size_t{8} << 20, ' '));
  EXPECT_EQ(StatusOf(client.Ask(Post(kInfer, bomb, "Content-Encoding: deflate\r\n"))), 413);
}

// Requests that were good and had some of their bytes changed, cut or doubled: whatever comes of it is
// an answer, and the server goes on.
TEST_F(RestRoutesTest, DamagedRequestsAreAnswered) {
  Load();
  std::mt19937 random(20240501);
  const std::string good[] = {kJson, std::string(kBinaryHead) + Floats({1, 2, 3, 4})};
  const size_t head_bytes = std::strlen(kBinaryHead);
  int refused = 0;
  RawClient client = Client();
  for (int round = 0; round < 3000; ++round) {
    const bool binary = round % 2 == 1;
    std::string body = good[binary];
    for (unsigned n = random() % 4 + 1; n > 0 && !body.empty(); --n) {
      const size_t at = random() % body.size();
      switch (random() % 5) {
        case 0:
          body[at] = static_cast<char>(random());
          break;
        case 1:
          body.erase(at, random() % 8);
          break;
        case 2:
          body.insert(at, body.substr(at, random() % 16));
          break;
        case 3:
          body.insert(at, std::string(random() % 3 + 1, "[]{}\",:9-e"[random() % 10]));
          break;
        default:
          body.insert(at, std::to_string(random() * uint64_t{random()}));
      }
    }
    std::string headers;
    if (binary) {
      const size_t claimed = random() % 8 == 0 ? random() : head_bytes + random() % 3;
      headers = "Inference-Header-Content-Length: " + std::to_string(claimed) + "\r\n";
    }
    const int status = StatusOf(client.Ask(Post(kInfer, body, headers)));
    ASSERT_TRUE(status == 200 || status == 400 || status == 404 || status == 413) << body;
    refused += status != 200;
  }
  EXPECT_GT(refused, 1000);
  EXPECT_EQ(StatusOf(client.Ask(Post(kInfer, kJson))), 200);
}

TEST_F(RestRoutesTest, DepthAndLengthsThatLieAreRefused) {
  Load();
  RawClient client = Client();
  EXPECT_EQ(StatusOf(client.Ask(Post(kInfer, std::string(500'000, '[')))), 400);
  EXPECT_EQ(StatusOf(client.Ask(Post(
                kInfer, "{\"inputs\":" + std::string(400, '[') + std::string(400, ']') + "}"))),
            400);
  EXPECT_EQ(StatusOf(client.Ask(Post(kInfer, std::string(2 << 20, ' ')))), 413);
}

TEST(BodyCoding, RoundTrip) {
  std::string text;
  for (int i = 0; i < 50'000; ++i) text += std::to_string(int64_t{i} * i);
  for (const BodyCoding coding : {BodyCoding::kGzip, BodyCoding::kDeflate}) {
    const std::string packed = Pack(coding, text);
    EXPECT_LT(packed.size(), text.size());
    const auto unpacked = Unpack(packed, text.size());
    ASSERT_TRUE(unpacked.ok()) << unpacked.status();
    EXPECT_TRUE(*unpacked == text);
    EXPECT_EQ(Unpack(packed, text.size() - 1).status().code(), absl::StatusCode::kOutOfRange);
    for (const size_t cut : {size_t{0}, size_t{1}, packed.size() / 2, packed.size() - 1}) {
      EXPECT_EQ(Unpack(std::string_view(packed).substr(0, cut), text.size()).status().code(),
                absl::StatusCode::kInvalidArgument)
          << cut;
    }
  }
}

TEST(BodyCoding, ChosenWhereTheClientWantsOne) {
  EXPECT_EQ(ChooseCoding("gzip"), BodyCoding::kGzip);
  EXPECT_EQ(ChooseCoding(" Deflate "), BodyCoding::kDeflate);
  EXPECT_EQ(ChooseCoding("gzip, deflate"), BodyCoding::kIdentity);
  EXPECT_EQ(ChooseCoding(""), BodyCoding::kIdentity);
  EXPECT_FALSE(ReadContentEncoding("br").ok());
}

}  // namespace
}  // namespace sightline::serve
