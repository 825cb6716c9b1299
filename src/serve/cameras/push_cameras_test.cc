#include "serve/cameras/push_cameras.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/test_clock.h"
#include "base/test_until.h"
#include "serve/cameras/push_camera_routes.h"
#include "serve/http/http_server.h"
#include "serve/http/test_http_client.h"

namespace sightline::serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

// Answers when the test says so. The bytes of a picture are where its one object begins.
class HeldPictures final : public PictureService {
 public:
  void Answer(PictureRequest&& request, PictureDone done) override {
    const MutexLock lock(mutex_);
    held_.push_back({std::move(request), std::move(done)});
  }
  absl::StatusOr<PictureModelId> Identify(std::string_view model,
                                          std::string_view version) const override {
    if (model != "cars") return NotFound("there is no model {}", model);
    return PictureModelId{std::string(model), std::string(version)};
  }
  size_t held() const {
    const MutexLock lock(mutex_);
    return held_.size();
  }
  // The n-th of those that are held.
  void Release(size_t n) {
    Held one;
    {
      const MutexLock lock(mutex_);
      one = std::move(held_[n]);
      held_.erase(held_.begin() + static_cast<int64_t>(n));
    }
    if (one.request.bytes == "broken") return one.done(InvalidArgument("no picture"));
    if (one.request.bytes == "full") return one.done(ResourceExhausted("too many wait"));
    PictureAnswer answer;
    answer.model = one.request.model;
    answer.version = "1";
    answer.width = 640;
    answer.height = 480;
    const float x = std::stof(std::string(one.request.bytes));
    auto labels = std::make_shared<LabelSet>();
    labels->names = {"car"};
    answer.results.labels = labels;
    answer.results.items.push_back({.box_px = {x, 10, x + 50, 60}, .confidence = 0.9f});
    one.done(std::move(answer));
  }

 private:
  struct Held {
    PictureRequest request;
    PictureDone done;
  };
  mutable Mutex mutex_;
  std::vector<Held> held_ GUARDED_BY(mutex_);
};

class TestFeed final : public HttpFeed {
 public:
  bool Send(std::shared_ptr<const FeedMessage> message) override {
    if (!open_) return false;
    messages.push_back(std::move(message));
    return true;
  }
  void End() override { open_ = false; }
  bool open() const override { return open_; }
  uint64_t lost() const override { return 0; }
  std::vector<std::string> ids() const {
    std::vector<std::string> ids;
    for (const auto& message : messages) ids.push_back(message->event + " " + message->id);
    return ids;
  }
  std::vector<std::shared_ptr<const FeedMessage>> messages;

 private:
  bool open_ = true;
};

PushedFrame FrameAt(const std::string& bytes, int64_t capture_utc_us) {
  PushedFrame frame;
  const auto kept = std::make_shared<const std::string>(bytes);
  frame.picture.model = "cars";
  frame.picture.bytes = *kept;
  frame.picture.backing = kept;
  frame.capture_utc_us = capture_utc_us;
  return frame;
}

TEST(PushCameras, ResultsComeInTheOrderOfThePictures) {
  HeldPictures pictures;
  PushCameras cameras(pictures, {});
  const auto feed = std::make_shared<TestFeed>();
  ASSERT_TRUE(cameras.Listen("door", feed, nullptr).ok());
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(cameras.Push("door", FrameAt(i == 2 ? "broken" : "10", i * 40'000), {}).value_or(0),
              static_cast<uint64_t>(i));
  }
  pictures.Release(2);
  EXPECT_TRUE(feed->messages.empty());
  pictures.Release(0);
  EXPECT_THAT(feed->ids(), ElementsAre("result 1"));
  pictures.Release(0);
  EXPECT_THAT(feed->ids(), ElementsAre("result 1", "error 2", "result 3"));
  const Json error = Json::parse(feed->messages[1]->data);
  EXPECT_EQ(error["camera"], "door");
  EXPECT_EQ(error["sequence"], 2);
  EXPECT_EQ(error["error"], "no picture");
  EXPECT_EQ(cameras.stats().results, 2u);
  EXPECT_EQ(cameras.stats().failed, 1u);
}

TEST(PushCameras, ObjectsKeepTheirIds) {
  HeldPictures pictures;
  PushCameras cameras(pictures, {});
  const auto feed = std::make_shared<TestFeed>();
  ASSERT_TRUE(cameras.Listen("door", feed, nullptr).ok());
  for (int i = 0; i < 5; ++i) {
    PushedFrame frame = FrameAt(std::to_string(10 + 2 * i), 1'000'000 + i * 40'000);
    frame.track = i < 4;
    ASSERT_TRUE(cameras.Push("door", std::move(frame), {}).ok());
    pictures.Release(0);
  }
  const Json first = Json::parse(feed->messages[2]->data);
  const Json second = Json::parse(feed->messages[3]->data);
  EXPECT_EQ(first["capture_time"], "1970-01-01T00:00:01.080000Z");
  EXPECT_EQ(first["model"], "cars");
  EXPECT_EQ(first["width"], 640);
  EXPECT_EQ(first["detections"][0]["class"], "car");
  EXPECT_EQ(first["detections"][0]["track_id"], 1);
  EXPECT_EQ(second["detections"][0]["track_id"], 1);
  EXPECT_FALSE(Json::parse(feed->messages[4]->data)["detections"][0].contains("track_id"));
}

TEST(PushCameras, AFastCameraIsRefusedAndNoOther) {
  HeldPictures pictures;
  PushCameras cameras(pictures, {.most_in_work = 2});
  ASSERT_TRUE(cameras.Push("fast", FrameAt("1", 1), {}).ok());
  ASSERT_TRUE(cameras.Push("fast", FrameAt("1", 2), {}).ok());
  EXPECT_EQ(cameras.Push("fast", FrameAt("1", 3), {}).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(cameras.Push("other", FrameAt("1", 1), {}).ok());
  pictures.Release(0);
  EXPECT_EQ(cameras.Push("fast", FrameAt("1", 4), {}).value_or(0), 3u);
  EXPECT_EQ(cameras.stats().refused, 1u);
  EXPECT_EQ(cameras.stats().frames, 4u);
}

TEST(PushCameras, IdleCamerasMakeRoom) {
  HeldPictures pictures;
  MovedClock clock;
  PushCameras cameras(pictures, {.most_cameras = 3, .most_listeners = 1, .idle_us = 100}, clock);
  const auto feed = std::make_shared<TestFeed>();
  ASSERT_TRUE(cameras.Listen("heard", feed, nullptr).ok());
  EXPECT_EQ(cameras.Listen("heard", std::make_shared<TestFeed>(), nullptr).code(),
            absl::StatusCode::kResourceExhausted);
  ASSERT_TRUE(cameras.Push("heard", FrameAt("1", 1), {}).ok());
  pictures.Release(0);
  ASSERT_TRUE(cameras.Push("working", FrameAt("1", 1), {}).ok());
  ASSERT_TRUE(cameras.Push("silent", FrameAt("1", 1), {}).ok());
  pictures.Release(1);
  EXPECT_FALSE(cameras.Push("new", FrameAt("1", 1), {}).ok());
  clock.now_us += 100;
  EXPECT_TRUE(cameras.Push("new", FrameAt("1", 1), {}).ok());
  EXPECT_FALSE(cameras.Push("newer", FrameAt("1", 1), {}).ok()) << "all three are in use";
  feed->End();
  EXPECT_TRUE(cameras.Push("newer", FrameAt("1", 1), {}).ok());
  EXPECT_FALSE(cameras.Push("", FrameAt("1", 1), {}).ok());
  EXPECT_FALSE(cameras.Push(std::string(129, 'x'), FrameAt("1", 1), {}).ok());
}

TEST(PushCameras, WhoListensToNothingKeepsNoCameraOut) {
  HeldPictures pictures;
  MovedClock clock;
  PushCameras cameras(pictures, {.most_cameras = 2, .most_awaited = 2}, clock);
  std::vector<std::shared_ptr<TestFeed>> feeds;
  const auto listen = [&](const std::string& camera) {
    feeds.push_back(std::make_shared<TestFeed>());
    return cameras.Listen(camera, feeds.back(), nullptr).code();
  };
  EXPECT_EQ(listen("a"), absl::StatusCode::kOk);
  EXPECT_EQ(listen("b"), absl::StatusCode::kOk);
  EXPECT_EQ(listen("b"), absl::StatusCode::kOk);
  EXPECT_EQ(listen("c"), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(cameras.stats().awaited, 2u);
  EXPECT_EQ(cameras.stats().cameras, 0u);
  EXPECT_TRUE(cameras.Push("x", FrameAt("1", 1), {}).ok());
  EXPECT_TRUE(cameras.Push("a", FrameAt("1", 1), {}).ok()) << "now it sends";
  pictures.Release(1);
  EXPECT_THAT(feeds[0]->ids(), ElementsAre("result 1"));
  EXPECT_EQ(cameras.Push("b", FrameAt("1", 1), {}).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(cameras.stats().awaited, 1u);
  EXPECT_EQ(cameras.stats().cameras, 2u);
  EXPECT_EQ(listen("c"), absl::StatusCode::kOk);
  EXPECT_EQ(listen("d"), absl::StatusCode::kResourceExhausted);
  feeds[1]->End();
  EXPECT_EQ(listen("d"), absl::StatusCode::kResourceExhausted) << "b has another listener";
  feeds[2]->End();
  EXPECT_EQ(listen("d"), absl::StatusCode::kOk) << "a camera that sent nothing goes with the last";
}

TEST(PushCameras, AModelThatThereIsNotLeavesNoCamera) {
  HeldPictures pictures;
  PushCameras cameras(pictures, {.most_cameras = 2});
  for (int i = 0; i < 10; ++i) {
    PushedFrame frame = FrameAt("1", 1);
    frame.picture.model = "none";
    EXPECT_TRUE(
        absl::IsNotFound(cameras.Push(fmt::format("camera {}", i), std::move(frame), {}).status()));
  }
  EXPECT_EQ(cameras.stats().cameras, 0u);
  EXPECT_EQ(cameras.stats().bytes, 0u);
  EXPECT_TRUE(cameras.Push("door", FrameAt("1", 1), {}).ok());
}

TEST(PushCameras, FilesOfAllCamerasAreBoundedInBytes) {
  HeldPictures pictures;
  PushCameras cameras(pictures, {.most_in_work = 2, .most_bytes = 10});
  const auto push = [&](const char* camera, const std::string& bytes) {
    return cameras.Push(camera, FrameAt(bytes, 1), {}).status().code();
  };
  EXPECT_EQ(push("a", "1234"), absl::StatusCode::kOk);
  EXPECT_EQ(push("b", "1234"), absl::StatusCode::kOk);
  EXPECT_EQ(push("c", "1234"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(cameras.stats().no_room, 1u);
  EXPECT_EQ(cameras.stats().cameras, 2u) << "one without room does not begin";
  EXPECT_EQ(push("a", "12"), absl::StatusCode::kOk);
  EXPECT_EQ(cameras.stats().bytes, 10u);
  pictures.Release(0);
  EXPECT_EQ(cameras.stats().bytes, 6u);
  EXPECT_EQ(push("b", "12"), absl::StatusCode::kOk);
  EXPECT_EQ(push("b", "12"), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(cameras.stats().bytes, 8u) << "a picture that its camera is too fast for holds nothing";
  for (int i = 0; i < 3; ++i) pictures.Release(0);
  EXPECT_EQ(cameras.stats().bytes, 0u);
  EXPECT_EQ(push("d", "1234567890"), absl::StatusCode::kOk);
  EXPECT_EQ(push("d", "1"), absl::StatusCode::kUnavailable);
}

TEST(PushCameras, ListenersHearOfTheirModelsAlone) {
  HeldPictures pictures;
  PushCameras cameras(pictures, {});
  const auto all = std::make_shared<TestFeed>(), few = std::make_shared<TestFeed>();
  ASSERT_TRUE(cameras.Listen("door", all, nullptr).ok());
  const auto others = std::make_shared<const std::vector<std::string>>(1, "faces");
  ASSERT_TRUE(cameras.Listen("door", few, others).ok());
  ASSERT_TRUE(cameras.Push("door", FrameAt("1", 1), {}).ok());
  pictures.Release(0);
  EXPECT_EQ(all->messages.size(), 1u);
  EXPECT_TRUE(few->messages.empty());
}

TEST(PushCameraRoutes, PicturesInAndEventsOut) {
  HeldPictures pictures;
  PushCameras cameras(pictures, {.most_in_work = 2});
  auto made = HttpServer::Create({.tcp = ListenAddress{.address = "127.0.0.1", .port = 0}});
  ASSERT_TRUE(made.ok()) << made.status();
  HttpServer& server = **made;
  ASSERT_TRUE(AddPushCameraRoutes(cameras, {}, server).ok());
  ASSERT_TRUE(server.Start().ok());
  const uint16_t port = server.address()->port;
  const auto post = [&](RawClient& client, const std::string& query, const std::string& body,
                        const std::string& headers = "") {
    return client.Say("POST /v1/cameras/a%20b/frames" + query + " HTTP/1.1\r\nHost: h\r\n" +
                      headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
                      body);
  };
  RawClient listener = RawClient::Tcp(port);
  listener.SetPatience(30);
  ASSERT_TRUE(listener.Say("GET /v1/cameras/a%20b/results HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_THAT(listener.HearUntil("\r\n\r\n"), HasSubstr("Content-Type: text/event-stream\r\n"));
  RawClient camera = RawClient::Tcp(port);
  camera.SetPatience(30);
  ASSERT_TRUE(post(camera, "?model=cars", "10", "X-Capture-Time: 2026-01-31T12:00:00Z\r\n"));
  const std::string taken = camera.HearAnswer();
  EXPECT_EQ(StatusOf(taken), 202);
  EXPECT_EQ(BodyOf(taken), "{\"sequence\":1}\n");
  pictures.Release(0);
  EXPECT_THAT(listener.HearUntil("\n\n"),
              HasSubstr("event: result\nid: 1\ndata: {\"camera\":\"a b\","
                        "\"sequence\":1,\"capture_time\":\"2026-01-31T12:"
                        "00:00.000000Z\",\"model\":\"cars\""));
  ASSERT_TRUE(post(camera, "?model=cars&wait=true", "11"));
  EXPECT_TRUE(Until([&] { return pictures.held() == 1; }));
  pictures.Release(0);
  const std::string waited = camera.HearAnswer();
  EXPECT_EQ(StatusOf(waited), 200);
  EXPECT_EQ(Json::parse(BodyOf(waited))["sequence"], 2);
  EXPECT_THAT(listener.HearUntil("\n\n"), HasSubstr("id: 2\n"));

  ASSERT_TRUE(post(camera, "", "10"));
  EXPECT_EQ(StatusOf(camera.HearAnswer()), 400);
  ASSERT_TRUE(post(camera, "?model=none", "10"));
  EXPECT_EQ(StatusOf(camera.HearAnswer()), 404);
  ASSERT_TRUE(post(camera, "?model=cars&wait=perhaps", "10"));
  EXPECT_EQ(StatusOf(camera.HearAnswer()), 400);
  ASSERT_TRUE(post(camera, "?modle=cars", "10"));
  const std::string mistyped = camera.HearAnswer();
  EXPECT_EQ(StatusOf(mistyped), 400);
  EXPECT_THAT(mistyped, HasSubstr("did you mean \\\"model\\\"?"));
  EXPECT_EQ(StatusOf(RawClient::Tcp(port).Get("/v1/cameras/x/results?since=1")), 400);
  EXPECT_EQ(cameras.stats().awaited, 0u);
  // A model's queue that is full is not this camera's doing.
  ASSERT_TRUE(post(camera, "?model=cars&wait=true", "full"));
  EXPECT_TRUE(Until([&] { return pictures.held() == 1; }));
  pictures.Release(0);
  const std::string full = camera.HearAnswer();
  EXPECT_EQ(StatusOf(full), 503);
  EXPECT_THAT(full, HasSubstr("Retry-After: 1\r\n"));
  ASSERT_TRUE(post(camera, "?model=cars", "10", "X-Capture-Time: noon\r\n"));
  EXPECT_EQ(StatusOf(camera.HearAnswer()), 400);
  for (const int status : {202, 202, 429}) {
    ASSERT_TRUE(post(camera, "?model=cars", "10"));
    EXPECT_EQ(StatusOf(camera.HearAnswer()), status);
  }
  server.Stop();
}

}  // namespace
}  // namespace sightline::serve
