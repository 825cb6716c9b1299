// Every route of `sightline serve` behind the gate.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/test_until.h"
#include "base/whole_file.h"
#include "serve/access/access_gate.h"
#include "serve/access/api_key.h"
#include "serve/cameras/push_camera_routes.h"
#include "serve/http/openapi.h"
#include "serve/http/test_http_client.h"
#include "serve/inference/test_backend.h"
#include "serve/pictures/picture_routes.h"
#include "serve/rest/rest_routes.h"
#include "serve/serving_metrics.h"

namespace sightline::serve {
namespace {

using ::testing::HasSubstr;

// The routes of pictures, before nothing.
class NoPictures final : public PictureService {
 public:
  void Answer(PictureRequest&&, PictureDone done) override { done(NotFound("no model")); }
  absl::StatusOr<PictureModelId> Identify(std::string_view, std::string_view) const override {
    return NotFound("no model");
  }
};

class GuardedRoutesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("sightline-guarded-" + std::to_string(getpid()) + "-" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "double.onnx") << "not looked at by this backend";
    access_.keys = (folder_ / "keys.json").string();
    access_.access_log = (folder_ / "access.log").string();
    for (const KeyRole role : {KeyRole::kViewer, KeyRole::kInfer, KeyRole::kAdmin}) {
      keys_[role] = *MakeApiKey();
      ASSERT_TRUE(EditKeyFile(access_.keys, [&](std::vector<KeyRecord>& keys) {
                    KeyRecord record;
                    record.id = KeyIdOf(keys_[role]);
                    record.name = ToString(role);
                    record.role = role;
                    record.sha256 = HashOfKey(keys_[role]);
                    keys.push_back(std::move(record));
                    return absl::OkStatus();
                  }).ok());
    }
  }
  void TearDown() override {
    server_.reset();
    gate_.reset();
    service_.reset();
    std::filesystem::remove_all(folder_);
  }

  void Start(int64_t max_wait_us = ModelSettings::kWaitByLoad) {
    InferenceServiceOptions options;
    options.version = "test";
    options.models.store = ModelStore((folder_ / "store").string());
    options.models.backend = [this](const std::string&, const std::string&) {
      return absl::StatusOr<InferenceBackend*>(&backend_);
    };
    ServedModelChoice choice;
    choice.reference = (folder_ / "double.onnx").string();
    choice.settings.instances = 1;
    choice.settings.max_wait_us = max_wait_us;
    options.choices.push_back(choice);
    service_ = *InferenceService::Create(std::move(options));
    std::promise<absl::Status> loaded;
    service_->Start([&](const absl::Status& status) { loaded.set_value(status); });
    ASSERT_TRUE(loaded.get_future().get().ok());
    AccessParts parts;
    parts.reserve = [this](std::string_view model, std::string_view version) {
      return service_->Reserve(model, version);
    };
    auto gate = AccessGate::Open(access_, std::move(parts));
    ASSERT_TRUE(gate.ok()) << gate.status();
    gate_ = *std::move(gate);
    HttpServerOptions http;
    http.tcp = ListenAddress{.address = "127.0.0.1", .port = 0};
    http.gate = gate_.get();
    server_ = *HttpServer::Create(http);
    ASSERT_TRUE(AddRestRoutes(*service_, {}, *server_).ok());
    ASSERT_TRUE(AddPictureRoutes(pictures_, {}, *server_).ok());
    ASSERT_TRUE(AddServingMetrics(*service_, server_.get(), *server_, gate_.get()).ok());
    ASSERT_TRUE(AddPushCameraRoutes(cameras_, {}, *server_).ok());
    ASSERT_TRUE(AddOpenApiRoute({.title = "t", .version = "1", .summary = ""}, *server_).ok());
    ASSERT_TRUE(server_->Start().ok());
  }
  // "/a/{b}/*" with something for what is open.
  static std::string PathOf(const std::string& pattern) {
    std::string path;
    for (size_t i = 0; i < pattern.size(); ++i) {
      if (pattern[i] == '{') {
        i = pattern.find('}', i);
        path += "double";
      } else {
        path += pattern[i] == '*' ? 'x' : pattern[i];
      }
    }
    return path;
  }
  std::string Ask(const std::string& method, const std::string& path, const std::string& headers,
                  const std::string& body = "") {
    RawClient client = RawClient::Tcp(server_->address()->port);
    client.SetPatience(60);
    std::string request = method + " " + path + " HTTP/1.1\r\nHost: h\r\n" + headers;
    if (method != "GET") request += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    return client.Ask(request + "\r\n" + body);
  }
  std::string Bearer(KeyRole role) { return "Authorization: Bearer " + keys_[role] + "\r\n"; }

  std::filesystem::path folder_;
  AccessOptions access_;
  std::map<KeyRole, std::string> keys_;
  std::shared_ptr<TestModelState> state_ = std::make_shared<TestModelState>();
  TestBackend backend_{state_};
  NoPictures pictures_;
  PushCameras cameras_{pictures_, {}};
  std::unique_ptr<InferenceService> service_;
  std::unique_ptr<AccessGate> gate_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(GuardedRoutesTest, EveryRouteIsRefusedWithoutAKey) {
  Start();
  const std::vector<Router::Listed> routes = server_->routes();
  ASSERT_GT(routes.size(), 30u);
  for (const Router::Listed& route : routes) {
    const std::string path = PathOf(route.pattern);
    const std::string where = route.method + " " + path;
    const std::string answer = Ask(route.method, path, "");
    EXPECT_EQ(StatusOf(answer), 401) << where;
    EXPECT_THAT(answer, HasSubstr("WWW-Authenticate: Bearer")) << where;
    EXPECT_EQ(StatusOf(Ask(route.method, path, "Authorization: Bearer wrong\r\n")), 401) << where;
    EXPECT_EQ(StatusOf(Ask(route.method, path, "x-api-key: " + *MakeApiKey() + "\r\n")), 401);
    for (const KeyRole role : {KeyRole::kViewer, KeyRole::kInfer}) {
      const int status = StatusOf(Ask(route.method, path, Bearer(role)));
      EXPECT_NE(status, 401) << where;
      EXPECT_EQ(status == 403, !MayDo(role, route.options.role)) << where << " " << ToString(role);
    }
  }
  EXPECT_EQ(StatusOf(Ask("GET", "/nothing", "")), 401);
  EXPECT_EQ(StatusOf(Ask("GET", "/nothing", Bearer(KeyRole::kViewer))), 404);
}

TEST_F(GuardedRoutesTest, RolesAreThoseOfTheDocument) {
  Start();
  std::map<std::string, std::set<RouteRole>> roles;
  for (const Router::Listed& route : server_->routes()) {
    roles[route.pattern].insert(route.options.role);
  }
  using Roles = std::set<RouteRole>;
  EXPECT_EQ(roles["/v2/health/live"], Roles{RouteRole::kHealth});
  EXPECT_EQ(roles["/v2/health/ready"], Roles{RouteRole::kHealth});
  EXPECT_EQ(roles["/metrics"], Roles{RouteRole::kMetrics});
  EXPECT_EQ(roles["/v2"], Roles{RouteRole::kViewer});
  EXPECT_EQ(roles["/v2/models/{model}/stats"], Roles{RouteRole::kViewer});
  EXPECT_EQ(roles["/v2/repository/index"], Roles{RouteRole::kViewer});
  EXPECT_EQ(roles["/v2/models/{model}/infer"], Roles{RouteRole::kInfer});
  EXPECT_EQ(roles["/v2/models/{model}/versions/{version}/infer"], Roles{RouteRole::kInfer});
  EXPECT_EQ(roles["/v1/detect/{model}"], Roles{RouteRole::kInfer});
  EXPECT_EQ(roles["/v1/cameras/{id}/frames"], Roles{RouteRole::kInfer});
  EXPECT_EQ(roles["/openapi.json"], Roles{RouteRole::kViewer});
  EXPECT_EQ(roles["/v2/repository/models/{model}/load"], Roles{RouteRole::kControl});
  EXPECT_EQ(roles["/v2/repository/models/{model}/unload"], Roles{RouteRole::kControl});
  EXPECT_EQ(roles["/v2/systemsharedmemory/region/{region}/register"], Roles{RouteRole::kAdmin});
  EXPECT_EQ(roles["/v2/logging"], (Roles{RouteRole::kViewer, RouteRole::kControl}));
  EXPECT_EQ(roles["/v2/trace/setting"], (Roles{RouteRole::kViewer, RouteRole::kControl}));
}

TEST_F(GuardedRoutesTest, ARevokedKeyStopsWhileTheServerRuns) {
  Start();
  EXPECT_EQ(StatusOf(Ask("GET", "/v2", Bearer(KeyRole::kViewer))), 200);
  ASSERT_TRUE(EditKeyFile(access_.keys, [](std::vector<KeyRecord>& keys) {
                for (KeyRecord& key : keys) key.revoked_utc_us = 1;
                return absl::OkStatus();
              }).ok());
  EXPECT_TRUE(Until([&] { return StatusOf(Ask("GET", "/v2", Bearer(KeyRole::kViewer))) == 401; }));
}

TEST_F(GuardedRoutesTest, WhoListensWithARevokedKeyHearsNothingMore) {
  Start();
  RawClient client = RawClient::Tcp(server_->address()->port);
  client.SetPatience(60);
  ASSERT_TRUE(client.Say("GET /v1/cameras/door/results HTTP/1.1\r\nHost: h\r\n" +
                         Bearer(KeyRole::kInfer) + "\r\n"));
  EXPECT_EQ(StatusOf(client.HearUntil("\r\n\r\n")), 200);
  ASSERT_TRUE(EditKeyFile(access_.keys, [](std::vector<KeyRecord>& keys) {
                for (KeyRecord& key : keys) key.revoked_utc_us = 1;
                return absl::OkStatus();
              }).ok());
  EXPECT_EQ(client.HearAll(), "");
  EXPECT_TRUE(Until([&] { return server_->stats().feeds == 0; }));
  server_.reset();
  gate_.reset();
  const auto line = nlohmann::json::parse(*ReadWholeFile(access_.access_log, 1 << 20));
  EXPECT_EQ(line["status"], 200);
  EXPECT_EQ(line["refused"], "key");
  EXPECT_GT(line["bytes_out"], 100);
}

TEST_F(GuardedRoutesTest, AnInferenceLeavesItsTimesInTheLog) {
  Start();
  const std::string answer =
      Ask("POST", "/v2/models/double/infer", Bearer(KeyRole::kInfer) + "X-Request-Id: mine\r\n",
          R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]})");
  EXPECT_EQ(StatusOf(answer), 200) << answer;
  EXPECT_THAT(answer, HasSubstr("X-Request-Id: mine\r\n"));
  server_.reset();
  gate_.reset();
  const auto line = nlohmann::json::parse(*ReadWholeFile(access_.access_log, 1 << 20));
  EXPECT_EQ(line["route"], "/v2/models/{model}/infer");
  EXPECT_EQ(line["model"], "double");
  EXPECT_EQ(line["status"], 200);
  EXPECT_EQ(line["key"], KeyIdOf(keys_[KeyRole::kInfer]));
  EXPECT_EQ(line["request_id"], "mine");
  EXPECT_EQ(line["client"], "127.0.0.1");
  EXPECT_GT(line["bytes_in"], 0);
  EXPECT_EQ(line["bytes_out"], answer.size());
  EXPECT_TRUE(line.contains("queue_ms"));
  EXPECT_TRUE(line.contains("compute_ms"));
}

// A model that works on one request, with others behind it, and a rate that was measured.
TEST_F(GuardedRoutesTest, WhoWouldWaitTooLongIsRefusedAtOnce) {
  Start(/*max_wait_us=*/1);
  const std::string body =
      R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]})";
  // Some that come while one is worked on: then a rate is known.
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(StatusOf(Ask("POST", "/v2/models/double/infer", Bearer(KeyRole::kInfer), body)), 200);
  }
  state_->Close();
  RawClient first = RawClient::Tcp(server_->address()->port);
  ASSERT_TRUE(first.Say("POST /v2/models/double/infer HTTP/1.1\r\nHost: h\r\n" +
                        Bearer(KeyRole::kInfer) + "Content-Length: " + std::to_string(body.size()) +
                        "\r\n\r\n" + body));
  state_->WaitForRuns(1);
  const std::string refused = Ask("POST", "/v2/models/double/infer", Bearer(KeyRole::kInfer), body);
  EXPECT_EQ(StatusOf(refused), 503) << refused;
  const std::string frame =
      Ask("POST", "/v1/cameras/door/frames?model=double", Bearer(KeyRole::kInfer), "frame");
  EXPECT_EQ(StatusOf(frame), 503) << frame;
  EXPECT_THAT(frame, HasSubstr("too many requests wait for this model"));
  EXPECT_EQ(cameras_.stats().cameras, 0u);
  EXPECT_THAT(refused, HasSubstr("Retry-After: 1\r\n"));
  // Nobody who is only looking is kept out, and neither is he who comes when it is idle again.
  EXPECT_EQ(StatusOf(Ask("GET", "/v2/models/double", Bearer(KeyRole::kViewer))), 200);
  state_->Open();
  EXPECT_EQ(StatusOf(first.HearAnswer()), 200);
  EXPECT_EQ(StatusOf(Ask("POST", "/v2/models/double/infer", Bearer(KeyRole::kInfer), body)), 200);
  const std::string metrics = Ask("GET", "/metrics", Bearer(KeyRole::kViewer));
  EXPECT_THAT(metrics, HasSubstr("sightline_serve_overload_refused_total{model=\"double\","
                                 "version=\"1\"} 2\n"));
  EXPECT_THAT(metrics, HasSubstr("sightline_access_refused_total{reason=\"overload\"} 2\n"));
}

}  // namespace
}  // namespace sightline::serve
