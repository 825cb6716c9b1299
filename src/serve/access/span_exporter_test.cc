#include "serve/access/span_exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/test_until.h"
#include "net/test_server_process.h"
#include "serve/access/trace_context.h"

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

class SpanExporterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(server_.started()) << "python3 is needed for tests/servers/otlp_collector.py";
    client_ = *net::HttpClient::Create({});
  }
  std::unique_ptr<SpanExporter> Open(const std::string& path) {
    SpanExporterOptions options;
    options.url = server_.Url(path);
    options.version = "1.2.3";
    options.gather_us = 1000;
    options.first_wait_us = 1000;
    options.max_waiting = 100;
    auto exporter = SpanExporter::Open(options);
    EXPECT_TRUE(exporter.ok()) << exporter.status();
    return *std::move(exporter);
  }
  Json Ask(const std::string& path) {
    const auto answer = client_->Fetch({.url = server_.Url(path)});
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? Json::parse(answer->body) : Json();
  }
  static AccessRecord Record() {
    AccessRecord record;
    record.protocol = "http";
    record.method = "POST";
    record.route = "/v2/models/{model}/infer";
    record.model = "m";
    record.status = 200;
    record.client = "127.0.0.1";
    record.request_id = "id";
    record.key_id = "0f3a91c27be4";
    record.trace_id = NewTraceId();
    record.span_id = NewSpanId();
    record.sampled = true;
    record.began_utc_us = 1'769'860'800'123'456;
    record.took_us = 4200;
    return record;
  }

  net::test::ServerProcess server_{"otlp_collector.py"};
  std::unique_ptr<net::HttpClient> client_;
};

TEST_F(SpanExporterTest, ACollectorTakesTheSpansOfARequest) {
  AccessRecord record = Record();
  record.parent_span = NewSpanId();
  record.submitted_us = 100;
  record.computing_us = 400;
  record.computed_us = 3500;
  {
    const auto exporter = Open("/v1/traces");
    exporter->Add(record);
    ASSERT_TRUE(Until([&] { return exporter->stats().sent == 1; }));
  }
  const Json seen = Ask("/spans");
  EXPECT_TRUE(seen["refused"].empty()) << seen["refused"];
  ASSERT_EQ(seen["spans"].size(), 3u) << seen;
  const Json& request = seen["spans"][0];
  EXPECT_EQ(request["traceId"], record.trace_id);
  EXPECT_EQ(request["spanId"], record.span_id);
  EXPECT_EQ(request["parentSpanId"], record.parent_span);
  EXPECT_EQ(request["name"], "POST /v2/models/{model}/infer");
  EXPECT_EQ(request["kind"], 2);
  EXPECT_EQ(request["startTimeUnixNano"], "1769860800123456000");
  EXPECT_EQ(request["endTimeUnixNano"], "1769860800127656000");
  EXPECT_FALSE(request.contains("status"));
  EXPECT_THAT(request["attributes"].dump(), HasSubstr("{\"intValue\":\"200\"}"));
  const Json& queue = seen["spans"][1];
  const Json& compute = seen["spans"][2];
  EXPECT_EQ(queue["name"], "queue");
  EXPECT_EQ(compute["name"], "compute");
  for (const Json* child : {&queue, &compute}) {
    EXPECT_EQ((*child)["traceId"], record.trace_id);
    EXPECT_EQ((*child)["parentSpanId"], record.span_id);
    EXPECT_EQ((*child)["kind"], 1);
  }
  EXPECT_EQ(queue["startTimeUnixNano"], "1769860800123556000");
  EXPECT_EQ(queue["endTimeUnixNano"], compute["startTimeUnixNano"]);
  EXPECT_EQ(compute["endTimeUnixNano"], "1769860800126956000");
  EXPECT_THAT(seen["resources"].dump(), HasSubstr("service.name"));
}

TEST_F(SpanExporterTest, FailuresAreMarked) {
  AccessRecord grpc = Record();
  grpc.protocol = "grpc";
  grpc.method = "";
  grpc.route = "inference.GRPCInferenceService/ModelInfer";
  grpc.status = 13;
  const Json span =
      Json::parse(SpansJson({grpc}, "1"))["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
  EXPECT_EQ(span["status"]["code"], 2);
  EXPECT_EQ(span["name"], grpc.route);
  EXPECT_FALSE(span.contains("parentSpanId"));
}

TEST_F(SpanExporterTest, WhatMayPassIsTriedAgain) {
  const auto exporter = Open("/flaky/503/2/v1/traces");
  exporter->Add(Record());
  EXPECT_TRUE(Until([&] { return exporter->stats().sent == 1; }));
  EXPECT_EQ(Ask("/seen"), 3);
  EXPECT_EQ(Ask("/spans")["spans"].size(), 1u);
}

TEST_F(SpanExporterTest, WhatIsRefusedIsNotTriedAgain) {
  const auto exporter = Open("/flaky/400/5/v1/traces");
  exporter->Add(Record());
  EXPECT_TRUE(Until([&] { return exporter->stats().failed == 1; }));
  EXPECT_EQ(Ask("/seen"), 1);
}

TEST_F(SpanExporterTest, ACollectorThatHangsCostsSpansAndNothingElse) {
  const auto exporter = Open("/silent/v1/traces");
  for (int i = 0; i < 1000; ++i) exporter->Add(Record());
  // At most one batch is on its way, the queue is full, and the rest is counted.
  ASSERT_TRUE(Until([&] { return exporter->stats().dropped > 0; }));
  EXPECT_GE(exporter->stats().dropped, 1000u - 100u - 512u);
  EXPECT_EQ(exporter->stats().sent, 0u);
}

TEST_F(SpanExporterTest, WhatWaitsAtTheEndIsSent) {
  {
    SpanExporterOptions options;
    options.url = server_.Url("/v1/traces");
    options.gather_us = 3'600'000'000;
    auto exporter = SpanExporter::Open(options);
    ASSERT_TRUE(exporter.ok());
    for (int i = 0; i < 7; ++i) (*exporter)->Add(Record());
  }
  EXPECT_EQ(Ask("/spans")["spans"].size(), 7u);
}

TEST_F(SpanExporterTest, NobodyThereIsNoMatter) {
  SpanExporterOptions options;
  options.url = "http://127.0.0.1:1/v1/traces";
  options.gather_us = 1000;
  options.first_wait_us = 1000;
  auto exporter = SpanExporter::Open(options);
  ASSERT_TRUE(exporter.ok());
  (*exporter)->Add(Record());
  EXPECT_TRUE(Until([&] { return (*exporter)->stats().failed == 1; }));
}

TEST_F(SpanExporterTest, AnAddressThatIsNoneIsRefused) {
  for (const char* url : {"", "collector:4318", "ftp://collector/", "http://me:word@collector/"}) {
    const auto made = SpanExporter::Open({.url = url, .version = ""});
    EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument) << url;
    EXPECT_THAT(std::string(made.status().message()), ::testing::Not(HasSubstr("word")));
  }
}

}  // namespace
}  // namespace sightline::serve
