#include "serve/pictures/picture_routes.h"

#include <absl/strings/escaping.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "serve/http/http_gate.h"
#include "serve/http/test_http_client.h"
#include "serve/pictures/picture_upload.h"
#include "serve/pictures/test_detector.h"

namespace sightline::serve {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int kPatienceS = 60;
constexpr char kDetect[] = "/v1/detect/double";

class PictureRoutesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(world_.Start().ok());
    auto server = HttpServer::Create({.tcp = ListenAddress{.address = "127.0.0.1", .port = 0}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    ASSERT_TRUE(AddPictureRoutes(*world_.pictures, {}, *server_).ok());
    ASSERT_TRUE(server_->Start().ok());
  }
  void TearDown() override { server_.reset(); }

  struct Heard {
    int status = 0;
    std::string head;
    std::string body;
    json parsed() const { return json::parse(body, nullptr, false); }
  };
  Heard Post(const std::string& path, const std::string& body, const std::string& headers = "") {
    RawClient client = RawClient::Tcp(server_->address()->port);
    client.SetPatience(kPatienceS);
    client.Say("POST " + path + " HTTP/1.1\r\nHost: h\r\n" + headers +
               "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    const std::string all = client.HearAnswer();
    Heard heard;
    if (all.size() > 12) heard.status = std::atoi(all.c_str() + 9);
    const size_t end = all.find("\r\n\r\n");
    if (end == std::string::npos) return heard;
    heard.head = all.substr(0, end);
    heard.body = all.substr(end + 4);
    return heard;
  }

  test::PictureWorld world_{::testing::UnitTest::GetInstance()->current_test_info()->name()};
  std::unique_ptr<HttpServer> server_;
  const std::string jpeg_ = test::JpegOf(90, 60);
};

TEST_F(PictureRoutesTest, ALonePictureIsAnsweredAsOneObject) {
  for (const std::string type : {"image/jpeg", "application/octet-stream", "image/png", ""}) {
    const Heard heard = Post(kDetect, jpeg_, type.empty() ? "" : "Content-Type: " + type + "\r\n");
    ASSERT_EQ(heard.status, 200) << heard.body;
    EXPECT_EQ(heard.parsed(),
              json::parse(R"({"model":"double","version":"1","width":90,"height":60,"detections":[
                {"class_id":1,"class":"dog","confidence":0.9,"box_xyxy_px":[22.5,15,67.5,45]}]})"));
    EXPECT_THAT(heard.head, HasSubstr("Server-Timing: queue;dur="));
  }
  EXPECT_EQ(Post("/v1/detect/double/versions/1", jpeg_).status, 200);
  EXPECT_EQ(Post("/v1/detect/double/versions/2", jpeg_).status, 404);
  EXPECT_EQ(Post("/v1/detect/other", jpeg_).status, 404);
}

TEST_F(PictureRoutesTest, WishesComeInTheQueryAndInTheBody) {
  const auto count = [&](const Heard& heard) {
    EXPECT_EQ(heard.status, 200) << heard.body;
    return heard.parsed()["detections"].size();
  };
  EXPECT_EQ(count(Post("/v1/detect/double?confidence=0.1", jpeg_)), 2u);
  EXPECT_EQ(count(Post("/v1/detect/double?confidence=0.1&max=1", jpeg_)), 1u);
  EXPECT_EQ(count(Post("/v1/detect/double?confidence=0.1&classes=cat,1", jpeg_)), 2u);
  const std::string encoded = absl::Base64Escape(jpeg_);
  const json body = {{"image", "data:image/jpeg;base64," + encoded},
                     {"confidence", 0.1},
                     {"max", 5},
                     {"classes", {"cat"}},
                     {"priority", 1},
                     {"timeout_ms", 60000}};
  EXPECT_EQ(count(Post("/v1/detect/double?confidence=0.99", body.dump(),
                       "Content-Type: application/json\r\n")),
            1u);
  for (const std::string query :
       {"confidence=2", "confidence=nan", "max=-1", "max=x", "classes=horse", "priority=17"}) {
    const Heard heard = Post("/v1/detect/double?" + query, jpeg_);
    EXPECT_EQ(heard.status, 400) << query << heard.body;
  }
}

TEST_F(PictureRoutesTest, AFormIsAnsweredAsAListWithErrorsOfTheirOwn) {
  const std::string body =
      "--b\r\nContent-Disposition: form-data; name=\"confidence\"\r\n\r\n0.1\r\n"
      "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.jpg\"\r\nContent-Type: "
      "image/jpeg\r\n\r\n" +
      jpeg_ +
      "\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"b.txt\"\r\n\r\ntext\r\n"
      "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"c.jpg\"\r\n\r\n" +
      jpeg_.substr(0, jpeg_.size() - 20) + "\r\n--b--\r\n";
  const std::string type = "Content-Type: multipart/form-data; boundary=b\r\n";
  const Heard heard = Post(kDetect, body, type);
  ASSERT_EQ(heard.status, 200) << heard.body;
  const json results = heard.parsed()["results"];
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[0]["name"], "a.jpg");
  EXPECT_EQ(results[0]["detections"].size(), 2u);
  EXPECT_EQ(results[1]["status"], 415);
  EXPECT_EQ(results[2]["status"], 400);
  EXPECT_THAT(results[2]["error"].get<std::string>(), HasSubstr("truncated"));
  const Heard drawn = Post(kDetect, body, type + "Accept: image/jpeg\r\n");
  EXPECT_EQ(drawn.status, 400) << drawn.body;
  EXPECT_EQ(Post(kDetect, "--b--", type).status, 400);
  EXPECT_EQ(Post("/v1/detect/other", body, type).status, 404);
}

TEST_F(PictureRoutesTest, JsonWithSeveralPictures) {
  const std::string type = "Content-Type: application/json\r\n";
  const json two = {{"images", {absl::Base64Escape(jpeg_), absl::Base64Escape(jpeg_)}}};
  const Heard heard = Post(kDetect, two.dump(), type);
  ASSERT_EQ(heard.status, 200) << heard.body;
  EXPECT_EQ(heard.parsed()["results"].size(), 2u);
  const json bad = {{"images", {absl::Base64Escape("no picture")}}};
  const Heard refused = Post(kDetect, bad.dump(), type);
  EXPECT_EQ(refused.status, 415);
  EXPECT_EQ(refused.parsed()["results"][0]["status"], 415);
  json many = {{"images", json::array()}};
  for (size_t i = 0; i <= kMostPictures; ++i) many["images"].push_back(absl::Base64Escape(jpeg_));
  EXPECT_EQ(Post(kDetect, many.dump(), type).status, 400);
  for (const std::string body :
       {"", "[]", "{", R"({"image":5})", R"({"image":"%%%"})", R"({})", R"({"images":[]})",
        R"({"picture":"aa"})", R"({"image":"aa","max":"x"})",
        R"({"image":[[[[[[[[[[1]]]]]]]]]]})"}) {
    EXPECT_EQ(Post(kDetect, body, type).status, 400) << body;
  }
}

// Gives every request a context that counts what it is charged for.
class ChargingGate final : public HttpGate {
 public:
  std::optional<HttpResponse> Admit(HttpRequest& head, std::string_view,
                                    const RouteOptions&) override {
    head.context = std::make_shared<RequestContext>();
    head.context->charge = [this](int64_t more) { charged += more; };
    return std::nullopt;
  }
  void Ended(const HttpExchange&) override {}
  std::atomic<int64_t> charged{0};
};

TEST_F(PictureRoutesTest, EachPictureIsCharged) {
  ChargingGate gate;
  HttpServerOptions options;
  options.tcp = ListenAddress{.address = "127.0.0.1", .port = 0};
  options.gate = &gate;
  auto server = HttpServer::Create(options);
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  ASSERT_TRUE(AddPictureRoutes(*world_.pictures, {}, *server_).ok());
  ASSERT_TRUE(server_->Start().ok());
  EXPECT_EQ(Post(kDetect, jpeg_).status, 200);
  EXPECT_EQ(gate.charged, 0) << "but for the token that it was let in with";
  const std::string one = absl::Base64Escape(jpeg_);
  const json body = {{"images", {one, one, one, absl::Base64Escape("no picture")}}};
  EXPECT_EQ(Post(kDetect, body.dump(), "Content-Type: application/json\r\n").status, 200);
  EXPECT_EQ(gate.charged, 3);
  server_.reset();  // before its gate
}

// On which threads it was asked.
class ThreadsOfCallers final : public PictureService {
 public:
  void Answer(PictureRequest&&, PictureDone done) override {
    asked.push_back(std::this_thread::get_id());
    PictureAnswer answer;
    answer.model = "double";
    done(std::move(answer));
  }
  absl::StatusOr<PictureModelId> Identify(std::string_view model, std::string_view) const override {
    return PictureModelId{std::string(model), "1"};
  }
  std::vector<std::thread::id> asked;  // one request after the other
};

TEST_F(PictureRoutesTest, LargeFormsAndJsonAreReadOnThreadsOfTheirOwn) {
  ThreadsOfCallers callers;
  auto server = HttpServer::Create({.tcp = ListenAddress{.address = "127.0.0.1", .port = 0}});
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  ASSERT_TRUE(AddPictureRoutes(callers, {}, *server_).ok());
  ASSERT_TRUE(server_->Start().ok());
  const std::string large = jpeg_ + std::string(60'000, 'x');
  const auto json_of = [](const std::string& picture) {
    return json{{"image", absl::Base64Escape(picture)}}.dump();
  };
  const std::string json_type = "Content-Type: application/json\r\n";
  const std::string form_type = "Content-Type: multipart/form-data; boundary=b\r\n";
  const std::string form =
      "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n"
      "\r\n" +
      large + "\r\n--b--\r\n";
  EXPECT_EQ(Post(kDetect, large, "Content-Type: image/jpeg\r\n").status, 200);
  EXPECT_EQ(Post(kDetect, json_of(jpeg_), json_type).status, 200);
  EXPECT_EQ(Post(kDetect, json_of(large), json_type).status, 200);
  EXPECT_EQ(Post(kDetect, form, form_type).status, 200);
  EXPECT_EQ(Post(kDetect, json_of(large) + "x", json_type).status, 400);
  ASSERT_EQ(callers.asked.size(), 4u);
  const std::thread::id servers = callers.asked[0];
  EXPECT_EQ(callers.asked[1], servers) << "small";
  EXPECT_NE(callers.asked[2], servers);
  EXPECT_NE(callers.asked[3], servers);
  server_.reset();  // before what it asks
}

TEST_F(PictureRoutesTest, TheDrawnPictureWhereItIsAskedFor) {
  const Heard jpeg = Post(kDetect, jpeg_, "Accept: image/jpeg\r\n");
  ASSERT_EQ(jpeg.status, 200);
  EXPECT_THAT(jpeg.head, HasSubstr("image/jpeg"));
  const auto picture =
      DecodeImage({reinterpret_cast<const uint8_t*>(jpeg.body.data()), jpeg.body.size()});
  ASSERT_TRUE(picture.ok()) << picture.status();
  EXPECT_EQ(picture->width, 90);
  EXPECT_EQ(PictureTypeOf(Post(kDetect, jpeg_, "Accept: image/png\r\n").body), "image/png");
  EXPECT_EQ(DrawnAsOf(""), DrawnAs::kNone);
  EXPECT_EQ(DrawnAsOf("*/*"), DrawnAs::kNone);
  EXPECT_EQ(DrawnAsOf("text/html,image/avif,*/*;q=0.8"), DrawnAs::kNone);
  EXPECT_EQ(DrawnAsOf("application/json;q=0.5, image/png"), DrawnAs::kPng);
  EXPECT_EQ(DrawnAsOf("image/*"), DrawnAs::kJpeg);
  EXPECT_EQ(DrawnAsOf("image/png, image/*;q=0.9"), DrawnAs::kPng);
  EXPECT_EQ(DrawnAsOf("image/avif,image/webp,image/*,*/*;q=0.8"), DrawnAs::kJpeg);
  EXPECT_EQ(DrawnAsOf("image/jpeg;q=0"), DrawnAs::kNone);
}

TEST_F(PictureRoutesTest, WhatIsRefusedSaysWhy) {
  EXPECT_EQ(Post(kDetect, "GIF89a-and-more").status, 415);
  EXPECT_EQ(Post(kDetect, "").status, 400);
  EXPECT_EQ(Post(kDetect, jpeg_.substr(0, 60)).status, 400);
  EXPECT_EQ(Post(kDetect, jpeg_, "Content-Encoding: gzip\r\n").status, 415);
  const Heard large = Post(kDetect, test::JpegOf(8, 4097));
  EXPECT_EQ(large.status, 400);
  EXPECT_THAT(large.body, HasSubstr("4097"));
  const Heard mistyped = Post("/v1/detect/double?confidense=0.5", jpeg_);
  EXPECT_EQ(mistyped.status, 400);
  EXPECT_THAT(mistyped.body, HasSubstr("\\\"confidense\\\""));
  EXPECT_THAT(mistyped.body, HasSubstr("\\\"confidence\\\""));
  const Heard task = Post("/v1/embed/double", jpeg_);
  EXPECT_EQ(task.status, 400);
  EXPECT_THAT(task.body, HasSubstr("POST /v1/detect/double"));
  ASSERT_TRUE(world_.Unload().ok());
  EXPECT_EQ(Post(kDetect, jpeg_).status, 503);
}

}  // namespace
}  // namespace sightline::serve
