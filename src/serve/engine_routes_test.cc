#include "serve/engine_routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "serve/http/test_http_client.h"

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;

class EngineRoutesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = HttpServer::Create({.tcp = ListenAddress{.address = "127.0.0.1", .port = 0}});
    ASSERT_TRUE(made.ok());
    server_ = *std::move(made);
    EngineView view;
    view.version = "1.2.3";
    view.health = [this] { return health_; };
    view.collect = [](MetricWriter& writer) {
      static constexpr MetricInfo kTest = {"test_total", MetricType::kCounter, "A test"};
      writer.Write(kTest, {}, 7);
    };
    ASSERT_TRUE(AddEngineRoutes(std::move(view), *server_).ok());
    health_.running = true;
    health_.cameras = {
        {.id = "door", .live = true, .state = CameraState::kLive, .last_frame_age_s = 0.01},
        {.id = "yard",
         .live = true,
         .state = CameraState::kBackingOff,
         .reason = "connection refused"}};
    ASSERT_TRUE(server_->Start().ok());
  }
  std::string Get(std::string_view path) {
    return RawClient::Tcp(server_->address()->port).Get(path);
  }
  int Status(std::string_view path) { return StatusOf(Get(path)); }

  EngineHealth health_;  // changed only between requests
  std::unique_ptr<HttpServer> server_;
};

TEST_F(EngineRoutesTest, OneLiveCameraIsEnoughToBeReady) {
  const std::string answer = Get("/readyz");
  EXPECT_EQ(StatusOf(answer), 200);
  const auto body = nlohmann::json::parse(BodyOf(answer));
  EXPECT_EQ(body["status"], "ready");
  EXPECT_EQ(body["cameras"][1]["state"], "backing_off");
  EXPECT_EQ(body["cameras"][1]["reason"], "connection refused");
  EXPECT_EQ(Status("/readyz?cameras=all"), 503);
  EXPECT_EQ(Status("/readyz?cameras=some"), 400);
}

TEST_F(EngineRoutesTest, NotReadyWhileNoCameraGivesPictures) {
  health_.cameras[0].state = CameraState::kStalled;
  EXPECT_EQ(Status("/readyz"), 503);
  EXPECT_THAT(BodyOf(Get("/readyz")), HasSubstr("no camera gives pictures"));
  health_.cameras[0].state = CameraState::kLive;
  health_.cameras[0].last_frame_age_s = -1;  // a recording that has just been opened
  EXPECT_EQ(Status("/readyz"), 503);
  EXPECT_EQ(Status("/healthz"), 200);  // starting it anew would not help
}

TEST_F(EngineRoutesTest, RecordingsThatEndedAreDone) {
  health_.cameras[1] = {
      .id = "clip", .live = false, .state = CameraState::kEnded, .last_frame_age_s = 9};
  EXPECT_EQ(Status("/readyz?cameras=all"), 200);
  health_.cameras[1].live = true;
  EXPECT_EQ(Status("/readyz?cameras=all"), 503);
}

TEST_F(EngineRoutesTest, NotReadyBeforeAndAfterTheRun) {
  health_.running = false;
  EXPECT_EQ(Status("/readyz"), 503);
  EXPECT_EQ(Status("/healthz"), 200);
}

TEST_F(EngineRoutesTest, WhatIsStuckIsNeitherHealthyNorReady) {
  health_.stuck = {"lane rows has been at one write for 31.0 s"};
  const std::string answer = Get("/healthz");
  EXPECT_EQ(StatusOf(answer), 503);
  EXPECT_THAT(BodyOf(answer), HasSubstr("lane rows"));
  EXPECT_EQ(Status("/readyz"), 503);
}

TEST_F(EngineRoutesTest, AFailedOutputIsNotReady) {
  health_.failed = {"disk full"};
  EXPECT_EQ(Status("/readyz"), 503);
  EXPECT_EQ(Status("/healthz"), 200);
}

TEST_F(EngineRoutesTest, MetricsAreText) {
  const std::string answer = Get("/metrics");
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  const std::string body = BodyOf(answer);
  EXPECT_THAT(body, HasSubstr("# TYPE test_total counter\ntest_total 7\n"));
  EXPECT_THAT(body, HasSubstr("sightline_build_info{version=\"1.2.3\"} 1\n"));
  EXPECT_THAT(body, HasSubstr("\nsightline_http_connections 1\n"));
}

}  // namespace
}  // namespace sightline::serve
