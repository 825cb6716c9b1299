// For tests: pictures, and detectors that ask tests/servers/chat_server.py.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "net/test_server_process.h"
#include "remote/vision_language_model.h"

namespace sightline {

constexpr int64_t kSecondUs = 1'000'000;

// A picture of its own for each `seed`.
inline Frame MakeFrame(int width, int height, int seed = 0) {
  auto pixels = std::make_shared<std::vector<uint8_t>>();
  for (int i = 0; i < width * height * 3; ++i) {
    pixels->push_back(static_cast<uint8_t>(i / 7 + seed * 31));
  }
  Frame frame;
  frame.meta = {.ordinal = static_cast<uint64_t>(seed), .width = width, .height = height};
  frame.image = {.format = PixelFormat::kBgr24,
                 .range = ColorRange::kFull,
                 .width = width,
                 .height = height,
                 .planes = {pixels->data(), nullptr, nullptr},
                 .strides = {width * 3, 0, 0}};
  frame.pixels = pixels;
  return frame;
}

struct Found {
  Detections detections;
  absl::Status status;
  DropReason failure = DropReason::kInferenceError;
};

inline std::vector<Found> DetectAll(Detector* detector, const std::vector<Frame>& frames) {
  std::vector<Found> found(frames.size());
  std::vector<DetectJob> jobs;
  for (size_t i = 0; i < frames.size(); ++i) {
    jobs.push_back({.frame = &frames[i], .result = &found[i].detections});
  }
  detector->Detect(jobs);
  for (size_t i = 0; i < frames.size(); ++i) {
    found[i].status = jobs[i].status;
    found[i].failure = jobs[i].failure;
  }
  return found;
}

class VisionLanguage : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_UNLESS_STARTED(server_);
    auto client = net::HttpClient::Create({.use_environment_proxy = false});
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = std::move(client).value();
    counters_ = std::make_shared<VisionLanguageCounters>();
  }

  VisionLanguageOptions Options(const std::string& scenario) const {
    return {.endpoint = server_.Url("/" + scenario + "/v1"),
            .model = "small-vl",
            .use_environment_proxy = false,
            .labels = {"dog", "cat"},
            .timeout_us = 60 * kSecondUs,
            .retry = {.first_wait_us = 1000, .longest_wait_us = 2000},
            .counters = counters_};
  }
  static DetectorFactory Open(const VisionLanguageOptions& options) {
    absl::StatusOr<DetectorFactory> factory = OpenVisionLanguageModel(options);
    EXPECT_TRUE(factory.ok()) << factory.status();
    return *factory;
  }
  static std::unique_ptr<Detector> Make(const DetectorFactory& factory) {
    absl::StatusOr<std::unique_ptr<Detector>> detector = factory();
    EXPECT_TRUE(detector.ok()) << detector.status();
    return std::move(detector).value();
  }
  static Found Detect(const VisionLanguageOptions& options, const Frame& frame) {
    return DetectAll(Make(Open(options)).get(), {frame}).at(0);
  }
  Found Detect(const std::string& scenario) { return Detect(Options(scenario), MakeFrame(80, 60)); }

  nlohmann::json Log() {
    const auto answer = client_->Fetch({.url = server_.Url("/log"), .max_answer_bytes = 64 << 20});
    EXPECT_TRUE(answer.ok()) << answer.status();
    return nlohmann::json::parse(answer->body);
  }
  // pictures = cache_hits + answers + errors + refused_*
  void ExpectLedgerAddsUp() const {
    const VisionLanguageCounters& c = *counters_;
    EXPECT_EQ(c.pictures.value(), c.cache_hits.value() + c.answers.value() + c.errors.value() +
                                      c.refused_by_budget.value() + c.refused_while_paused.value() +
                                      c.refused_waiting.value());
  }

  net::test::ServerProcess server_{"chat_server.py"};
  std::unique_ptr<net::HttpClient> client_;
  std::shared_ptr<VisionLanguageCounters> counters_;
};

}  // namespace sightline
