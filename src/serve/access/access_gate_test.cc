#include "serve/access/access_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/whole_file.h"
#include "remote/test_clock.h"
#include "serve/access/api_key.h"

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using enum RouteRole;

class AccessGateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "gate-" + std::to_string(getpid()) + "-" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override {
    gate_.reset();
    std::filesystem::remove_all(folder_);
  }
  std::string AddKey(KeyRole role, CallerLimits limits = {}, std::vector<std::string> models = {}) {
    options_.keys = folder_ + "/keys.json";
    const std::string key = *MakeApiKey();
    const absl::Status status = EditKeyFile(options_.keys, [&](std::vector<KeyRecord>& keys) {
      keys.push_back({.id = std::string(KeyIdOf(key)),
                      .name = "test",
                      .role = role,
                      .sha256 = HashOfKey(key),
                      .limits = limits,
                      .models = models});
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
    return key;
  }
  void Open() {
    AccessParts parts;
    parts.version = "1";
    parts.clock = &clock_;
    parts.watch_keys = false;
    parts.reserve = [this](std::string_view model, std::string_view) {
      return model == "busy" ? busy_us_ : 0;
    };
    auto made = AccessGate::Open(options_, std::move(parts));
    ASSERT_TRUE(made.ok()) << made.status();
    gate_ = *std::move(made);
  }
  // The status of a request, 0 where it was let in; the request is over afterwards.
  int Ask(RouteRole role, const std::string& authorization, const std::string& model = "",
          const std::string& route = "/route") {
    request_ = HttpRequest();
    request_.method = "POST";
    request_.client = client_;
    if (!authorization.empty()) request_.headers.emplace_back("authorization", authorization);
    for (const auto& header : headers_) request_.headers.push_back(header);
    if (!model.empty()) request_.parameters.emplace_back("model", model);
    RouteOptions options;
    options.role = role;
    answer_ = gate_->Admit(request_, route, options);
    HttpExchange exchange;
    exchange.method = request_.method;
    exchange.route = route;
    exchange.model = model;
    exchange.client = request_.client;
    exchange.status = answer_ ? answer_->status : 200;
    exchange.context = request_.context;
    exchange.began_us = clock_.NowMonotonicUs();
    exchange.ended_us = clock_.NowMonotonicUs();
    gate_->Ended(exchange);
    return answer_ ? answer_->status : 0;
  }
  static std::string Header(const NamedTexts& headers, std::string_view name) {
    for (const auto& [key, value] : headers) {
      if (key == name) return value;
    }
    return "";
  }
  std::string Given(std::string_view name) {  // to whoever is let in, too
    return Header(request_.context->answer_headers, name);
  }

  std::string folder_;
  AccessOptions options_;
  TestClock clock_;
  int64_t busy_us_ = 0;
  std::string client_ = "192.0.2.1";
  NamedTexts headers_;
  HttpRequest request_;
  std::optional<HttpResponse> answer_;
  std::unique_ptr<AccessGate> gate_;
};

constexpr RouteRole kAll[] = {kHealth, kMetrics, kViewer, kInfer, kAdmin, kControl};

TEST_F(AccessGateTest, WithoutKeysEveryoneMayDoEverything) {
  Open();
  for (const RouteRole role : kAll) EXPECT_EQ(Ask(role, ""), 0);
  EXPECT_EQ(Ask(kInfer, "Bearer whatever"), 0);
}

TEST_F(AccessGateTest, WithKeysNobodyMayDoAnythingWithoutOne) {
  const std::string key = AddKey(KeyRole::kAdmin);
  Open();
  for (const RouteRole role : kAll) {
    EXPECT_EQ(Ask(role, ""), 401);
    EXPECT_EQ(Header(answer_->headers, "WWW-Authenticate"), "Bearer realm=\"sightline\"");
    EXPECT_EQ(Ask(role, "Bearer " + *MakeApiKey()), 401);
    EXPECT_THAT(Header(answer_->headers, "WWW-Authenticate"), HasSubstr("invalid_token"));
    EXPECT_EQ(Ask(role, key), 0) << "the key alone is as good";
    EXPECT_EQ(Ask(role, "Bearer " + key), 0);
  }
  EXPECT_EQ(Ask(kViewer, "", "", /*route=*/""), 401) << "what is not there is not told either";
  headers_ = {{"x-api-key", key}};
  EXPECT_EQ(Ask(kAdmin, ""), 0);
  EXPECT_EQ(request_.context->key_id, KeyIdOf(key));
}

TEST_F(AccessGateTest, RolesAreKept) {
  const std::string viewer = "Bearer " + AddKey(KeyRole::kViewer);
  const std::string infer = "Bearer " + AddKey(KeyRole::kInfer);
  const std::string admin = "Bearer " + AddKey(KeyRole::kAdmin);
  Open();
  for (const RouteRole role : kAll) {
    EXPECT_EQ(Ask(role, viewer), role <= kViewer ? 0 : 403);
    EXPECT_EQ(Ask(role, infer), role <= kInfer ? 0 : 403);
    EXPECT_EQ(Ask(role, admin), 0);
  }
  EXPECT_EQ(Ask(kAdmin, viewer, "", /*route=*/""), 0) << "whoever may look is told that it is not";
}

TEST_F(AccessGateTest, HealthAndMetricsMayBeOpened) {
  AddKey(KeyRole::kAdmin);
  options_.open_health = true;
  Open();
  EXPECT_EQ(Ask(kHealth, ""), 0);
  EXPECT_EQ(Ask(kHealth, "Bearer wrong"), 0);
  EXPECT_EQ(Ask(kMetrics, ""), 401);
  options_.open_health = false;
  options_.open_metrics = true;
  Open();
  EXPECT_EQ(Ask(kHealth, ""), 401);
  EXPECT_EQ(Ask(kMetrics, ""), 0);
}

TEST_F(AccessGateTest, ControlIsTurnedOffForAll) {
  const std::string admin = "Bearer " + AddKey(KeyRole::kAdmin);
  options_.model_control = false;
  Open();
  EXPECT_EQ(Ask(kControl, admin), 403);
  EXPECT_EQ(Ask(kAdmin, admin), 0);
  options_.keys = "";
  Open();
  EXPECT_EQ(Ask(kControl, ""), 403);
}

TEST_F(AccessGateTest, KeysMayBeForSomeModels) {
  const std::string key = "Bearer " + AddKey(KeyRole::kAdmin, {}, {"a", "b"});
  Open();
  EXPECT_EQ(Ask(kInfer, key, "a"), 0);
  EXPECT_EQ(Ask(kInfer, key, "c"), 403);
  EXPECT_EQ(Ask(kControl, key, "c"), 403);
  EXPECT_EQ(Ask(kViewer, key), 0);
  EXPECT_TRUE(request_.context->MayUse("b"));
  EXPECT_FALSE(request_.context->MayUse("c"));
}

TEST_F(AccessGateTest, RatesAreKeptPerKey) {
  const std::string key = "Bearer " + AddKey(KeyRole::kInfer, {.rate_per_s = 0.5, .burst = 2});
  const std::string other = "Bearer " + AddKey(KeyRole::kInfer);
  Open();
  EXPECT_EQ(Ask(kInfer, key), 0);
  EXPECT_EQ(Given("RateLimit-Limit"), "2");
  EXPECT_EQ(Given("RateLimit-Remaining"), "1");
  EXPECT_EQ(Given("RateLimit-Reset"), "2");
  EXPECT_EQ(Ask(kInfer, key), 0);
  EXPECT_EQ(Ask(kInfer, key), 429);
  EXPECT_EQ(Header(answer_->headers, "Retry-After"), "2");
  EXPECT_EQ(Given("RateLimit-Remaining"), "0");
  EXPECT_EQ(Ask(kInfer, other), 0);
  clock_.Advance(2'000'000);
  EXPECT_EQ(Ask(kInfer, key), 0);
}

TEST_F(AccessGateTest, ConcurrencyIsWhatIsWorkedOn) {
  const std::string key = "Bearer " + AddKey(KeyRole::kInfer, {.concurrency = 1});
  Open();
  EXPECT_EQ(Ask(kInfer, key), 0);
  const auto held = request_.context;  // the model works on
  EXPECT_EQ(Ask(kInfer, key), 429);
  EXPECT_FALSE(Header(answer_->headers, "Retry-After").empty());
  held->ticket.reset();
  EXPECT_EQ(Ask(kInfer, key), 0);
}

TEST_F(AccessGateTest, WithoutKeysAddressesHaveLimits) {
  options_.address_limits = {.rate_per_s = 1, .burst = 1};
  Open();
  EXPECT_EQ(Ask(kInfer, ""), 0);
  EXPECT_EQ(Ask(kInfer, ""), 429);
  EXPECT_EQ(Ask(kInfer, "Bearer another"), 429) << "what nobody checks makes nobody another";
  client_ = "192.0.2.2";
  EXPECT_EQ(Ask(kInfer, ""), 0);
  client_ = "2001:db8::1";
  EXPECT_EQ(Ask(kInfer, ""), 0);
  const uint32_t source = request_.context->source;
  client_ = "2001:db8::1:2:3:4";
  EXPECT_EQ(Ask(kInfer, ""), 429) << "the other addresses of a network are its own";
  EXPECT_EQ(request_.context->source, source);
  client_ = "2001:db8:0:1::1";
  EXPECT_EQ(Ask(kInfer, ""), 0);
}

TEST_F(AccessGateTest, WhoAsksIsTheSameSource) {
  const std::string one = "Bearer " + AddKey(KeyRole::kInfer);
  const std::string two = "Bearer " + AddKey(KeyRole::kInfer);
  Open();
  Ask(kInfer, one);
  const uint32_t first = request_.context->source;
  Ask(kInfer, two);
  EXPECT_NE(request_.context->source, first);
  Ask(kInfer, one);
  EXPECT_EQ(request_.context->source, first);
  EXPECT_NE(first, 0u);
}

TEST_F(AccessGateTest, ABusyModelIsRefusedBeforeTheBody) {
  Open();
  busy_us_ = 1'500'000;
  EXPECT_EQ(Ask(kInfer, "", "busy"), 503);
  EXPECT_EQ(Header(answer_->headers, "Retry-After"), "2");
  EXPECT_EQ(Ask(kViewer, "", "busy"), 0);
  EXPECT_EQ(Ask(kInfer, "", "idle"), 0);
}

TEST_F(AccessGateTest, WhoListensMayGoOnAsLongAsTheKeyAllowsIt) {
  const std::string key = AddKey(KeyRole::kInfer, {}, {"m"});
  Open();
  ASSERT_EQ(Ask(kInfer, "Bearer " + key), 0);
  HttpExchange listens;
  listens.role = kInfer;
  listens.context = request_.context;
  EXPECT_TRUE(gate_->MayGoOn(listens));
  const auto may_with = [&](const std::function<void(KeyRecord&)>& change) {
    KeyRecord before;
    const auto edit = [&](const std::function<void(KeyRecord&)>& with) {
      ASSERT_TRUE(EditKeyFile(options_.keys, [&](std::vector<KeyRecord>& keys) {
                    with(keys.at(0));
                    return absl::OkStatus();
                  }).ok());
    };
    edit([&](KeyRecord& record) {
      before = record;
      change(record);
    });
    Open();
    const bool may = gate_->MayGoOn(listens);
    edit([&](KeyRecord& record) { record = before; });
    return may;
  };
  EXPECT_TRUE(may_with([](KeyRecord& key) { key.limits.rate_per_s = 1; }));
  EXPECT_TRUE(may_with([](KeyRecord& key) { key.role = KeyRole::kAdmin; }));
  EXPECT_FALSE(may_with([](KeyRecord& key) { key.role = KeyRole::kViewer; }));
  EXPECT_FALSE(may_with([](KeyRecord& key) { key.revoked_utc_us = 1; }));
  EXPECT_FALSE(may_with([&](KeyRecord& key) { key.expires_utc_us = clock_.NowUtcUs(); }));
  EXPECT_FALSE(may_with([](KeyRecord& key) { key.models.clear(); })) << "it hears of others now";
  EXPECT_FALSE(may_with([](KeyRecord& key) { key.id = "000000000000"; }));
  ASSERT_TRUE(EditKeyFile(options_.keys, [&](std::vector<KeyRecord>& keys) {
                keys[0].expires_utc_us = clock_.NowUtcUs() + 1;
                return absl::OkStatus();
              }).ok());
  Open();
  EXPECT_TRUE(gate_->MayGoOn(listens));
  clock_.Advance(1);
  EXPECT_FALSE(gate_->MayGoOn(listens)) << "without the file being another one";
  options_.keys = "";
  Open();
  ASSERT_EQ(Ask(kInfer, ""), 0);
  listens.context = request_.context;
  EXPECT_TRUE(gate_->MayGoOn(listens));
}

TEST_F(AccessGateTest, RequestIdsComeBack) {
  Open();
  headers_ = {{"x-request-id", "my-id.1"}};
  Ask(kViewer, "");
  EXPECT_EQ(Given("X-Request-Id"), "my-id.1");
  headers_ = {{"x-request-id", "evil\"id"}};
  Ask(kViewer, "");
  EXPECT_EQ(Given("X-Request-Id").size(), 16u);
  EXPECT_EQ(Given("traceparent"), "") << "nobody asked for a trace";
}

TEST_F(AccessGateTest, TracesGoOn) {
  Open();
  headers_ = {{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
              {"tracestate", "rojo=1"}};
  Ask(kViewer, "");
  const std::string given = Given("traceparent");
  EXPECT_TRUE(given.starts_with("00-0af7651916cd43dd8448eb211c80319c-")) << given;
  EXPECT_TRUE(given.ends_with("-01"));
  EXPECT_THAT(given, Not(HasSubstr("b7ad6b7169203331")));
  EXPECT_EQ(Given("tracestate"), "rojo=1");
  headers_ = {{"traceparent", "00-bad"}, {"tracestate", "rojo=1"}};
  Ask(kViewer, "");
  EXPECT_EQ(Given("traceparent"), "");
  EXPECT_EQ(Given("tracestate"), "");
}

TEST_F(AccessGateTest, TheLogSaysWhatHappenedAndNoSecret) {
  const std::string key = AddKey(KeyRole::kViewer);
  options_.access_log = folder_ + "/access.log";
  Open();
  const std::string odd[] = {"Basic " + key,  "Bearer  " + key + " ", "Bearer\t" + key, key + key,
                             "bearer " + key, "Token " + key,         "Bearer x" + key};
  Ask(kInfer, "Bearer " + key, "m");
  for (const std::string& one : odd) Ask(kInfer, one);
  gate_.reset();  // writes what waits
  const auto text = ReadWholeFile(options_.access_log, 1 << 20);
  ASSERT_TRUE(text.ok());
  EXPECT_THAT(*text, Not(HasSubstr(key.substr(key.size() - kKeySecretSize))));
  EXPECT_EQ(std::count(text->begin(), text->end(), '\n'), 1 + std::ssize(odd));
  const auto first = nlohmann::json::parse(text->substr(0, text->find('\n')));
  EXPECT_EQ(first["key"], KeyIdOf(key));
  EXPECT_EQ(first["status"], 403);
  EXPECT_EQ(first["refused"], "role");
  EXPECT_EQ(first["model"], "m");
  EXPECT_EQ(first["route"], "/route");
  EXPECT_EQ(first["client"], "192.0.2.1");
}

}  // namespace
}  // namespace sightline::serve
