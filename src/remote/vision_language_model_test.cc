// Detectors against tests/servers/chat_server.py, a real endpoint on this machine that answers well
// and badly.
#include "remote/vision_language_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "net/test_server_process.h"
#include "remote/test_clock.h"

namespace sightline {
namespace {

using net::test::ServerProcess;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kSecondUs = 1'000'000;

// A picture of its own for each `seed`.
Frame MakeFrame(int width, int height, int seed = 0) {
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

std::vector<Found> DetectAll(Detector* detector, const std::vector<Frame>& frames) {
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

  json Log() {
    const auto answer = client_->Fetch({.url = server_.Url("/log"), .max_answer_bytes = 64 << 20});
    EXPECT_TRUE(answer.ok()) << answer.status();
    return json::parse(answer->body);
  }
  // pictures = cache_hits + answers + errors + refused_*
  void ExpectLedgerAddsUp() const {
    const VisionLanguageCounters& c = *counters_;
    EXPECT_EQ(c.pictures.value(), c.cache_hits.value() + c.answers.value() + c.errors.value() +
                                      c.refused_by_budget.value() + c.refused_while_paused.value() +
                                      c.refused_waiting.value());
  }

  ServerProcess server_{"chat_server.py"};
  std::unique_ptr<net::HttpClient> client_;
  std::shared_ptr<VisionLanguageCounters> counters_;
};

TEST_F(VisionLanguage, AsksAndUnderstands) {
  VisionLanguageOptions options = Options("say/%7B%22answer%22:%22Cat%22%7D");
  options.api_key = "key-of-the-test";
  const Found found = Detect(options, MakeFrame(80, 60, 7));
  ASSERT_TRUE(found.status.ok()) << found.status;
  ASSERT_EQ(found.detections.classes.size(), 1u);
  EXPECT_EQ(found.detections.classes[0].class_id, 1);
  // {"answer":"Cat"} in tokens of four: `":"C` and `at"}`.
  EXPECT_NEAR(found.detections.classes[0].confidence, 0.81, 1e-6);
  EXPECT_EQ(found.detections.labels->NameOf(1), "cat");
  EXPECT_EQ(found.detections.frame.ordinal, 7u);
  EXPECT_TRUE(found.detections.items.empty());
  const json log = Log();
  ASSERT_EQ(log.size(), 1u);
  EXPECT_EQ(log[0].at("headers").at("authorization"), "Bearer key-of-the-test");
  EXPECT_EQ(log[0].at("headers").at("content-type"), "application/json");
  EXPECT_EQ(log[0].at("request").at("model"), "small-vl");
  const json& parts = log[0].at("request").at("messages").at(0).at("content");
  EXPECT_THAT(parts.at(0).at("text").get<std::string>(), HasSubstr("[\"dog\",\"cat\"]"));
  EXPECT_EQ(parts.at(1).at("image_url").at("size"), json({80, 60}));
  EXPECT_EQ(counters_->requests.value(), 1u);
  EXPECT_EQ(counters_->prompt_tokens.value(), 100u);
  EXPECT_EQ(counters_->answer_tokens.value(), 10u);
  ExpectLedgerAddsUp();
}

TEST_F(VisionLanguage, PicturesAreScaledToFit) {
  VisionLanguageOptions options = Options("say/cat");
  options.max_picture_side_px = 200;
  const std::unique_ptr<Detector> detector = Make(Open(options));
  const std::vector<Frame> frames = {MakeFrame(1000, 500), MakeFrame(100, 150), MakeFrame(8, 16),
                                     MakeFrame(1, 1)};
  for (const Frame& frame : frames) {
    EXPECT_TRUE(DetectAll(detector.get(), {frame}).at(0).status.ok());
  }
  std::vector<json> sizes;
  for (const json& one : Log()) {
    sizes.push_back(one.at("request").at("messages").at(0).at("content").at(1).at("image_url"));
  }
  EXPECT_THAT(sizes, testing::ElementsAre(json{{"size", {200, 100}}}, json{{"size", {100, 150}}},
                                          json{{"size", {32, 64}}}, json{{"size", {64, 64}}}));
}

TEST_F(VisionLanguage, APictureWithoutPixelsIsNotSent) {
  const Found found = Detect(Options("say/cat"), Frame{});
  EXPECT_FALSE(found.status.ok());
  EXPECT_EQ(found.failure, DropReason::kPreprocessError);
  EXPECT_TRUE(Log().empty());
  ExpectLedgerAddsUp();
}

TEST_F(VisionLanguage, BoxesAreInPixelsOfTheFrame) {
  VisionLanguageOptions options =
      Options("say/%7B%22objects%22:[%7B%22label%22:%22dog%22,%22box%22:[100,200,300,1000]%7D]%7D");
  options.answer = AnswerKind::kBoxes;
  options.max_picture_side_px = 64;
  const Found found = Detect(options, MakeFrame(640, 480));
  ASSERT_TRUE(found.status.ok()) << found.status;
  ASSERT_EQ(found.detections.items.size(), 1u);
  EXPECT_EQ(found.detections.items[0].box_px, (Box{64, 96, 192, 480}));
  EXPECT_EQ(found.detections.items[0].class_id, 0);
  EXPECT_TRUE(found.detections.classes.empty());
}

TEST_F(VisionLanguage, WhatFitsNoLabelIsAnError) {
  for (const std::string scenario :
       {"say/a%20dog", "say/none", "raw/cat", "raw/%7B%7D", "deep", "raw/%1B%5B31m", "endless"}) {
    const Found found = Detect(scenario);
    EXPECT_TRUE(absl::IsDataLoss(found.status)) << scenario << ": " << found.status;
    EXPECT_EQ(found.failure, DropReason::kPostprocessError);
    EXPECT_TRUE(found.detections.classes.empty());
    EXPECT_LT(MessageOf(found.status).size(), 400u);
    EXPECT_THAT(std::string(MessageOf(found.status)), Not(HasSubstr("\x1b")));
  }
  EXPECT_EQ(counters_->requests.value(), 7u) << "such answers are not asked for again";
  ExpectLedgerAddsUp();
}

TEST_F(VisionLanguage, TheServersDialectIsFoundOutOnce) {
  const std::unique_ptr<Detector> detector =
      Make(Open(Options("wants/temperature,logprobs,response_format,max_tokens")));
  for (int i = 0; i < 3; ++i) {
    const Found found = DetectAll(detector.get(), {MakeFrame(80, 60, i)}).at(0);
    EXPECT_TRUE(found.status.ok()) << found.status;
  }
  EXPECT_EQ(Log().size(), 5u + 2u);
  EXPECT_EQ(counters_->retries.value(), 0u);
  EXPECT_TRUE(Detect("vague").status.ok());
}

TEST_F(VisionLanguage, WhereNoWordsHelpTheErrorSaysSo) {
  const Found found = Detect("never");
  EXPECT_TRUE(absl::IsInvalidArgument(found.status)) << found.status;
  EXPECT_THAT(std::string(MessageOf(found.status)), HasSubstr("bad request"));
  EXPECT_EQ(Log().size(), 3u);
}

TEST_F(VisionLanguage, WhatMayPassIsAskedAgain) {
  for (const std::string scenario : {"flaky/500/2", "flaky/429/1/0", "flaky/503/1"}) {
    const Found found = Detect(scenario);
    EXPECT_TRUE(found.status.ok()) << scenario << ": " << found.status;
  }
  EXPECT_EQ(counters_->retries.value(), 4u);
  const Found found = Detect("flaky/500/3");
  EXPECT_TRUE(absl::IsUnavailable(found.status)) << found.status;
  EXPECT_EQ(counters_->requests.value(), 3u + 2u + 2u + 3u);
  ExpectLedgerAddsUp();
}

TEST_F(VisionLanguage, WhatCannotPassIsNot) {
  const std::pair<std::string, absl::StatusCode> cases[] = {
      {"status/401", absl::StatusCode::kUnauthenticated},
      {"status/403", absl::StatusCode::kPermissionDenied},
      {"status/404", absl::StatusCode::kNotFound},
      {"status/413", absl::StatusCode::kInvalidArgument},
      {"status/302", absl::StatusCode::kFailedPrecondition},
      {"status/418", absl::StatusCode::kFailedPrecondition}};
  for (const auto& [scenario, code] : cases) {
    const Found found = Detect(scenario);
    EXPECT_EQ(found.status.code(), code) << found.status;
    EXPECT_EQ(found.failure, DropReason::kInferenceError);
    EXPECT_THAT(std::string(MessageOf(found.status)), Not(HasSubstr("\x1b")));
  }
  EXPECT_EQ(counters_->requests.value(), 6u);
}

TEST_F(VisionLanguage, TheKeyIsNeverShown) {
  VisionLanguageOptions options = Options("leak");
  options.api_key = "key-that-must-not-be-seen";
  const Found found = Detect(options, MakeFrame(80, 60));
  EXPECT_TRUE(absl::IsUnauthenticated(found.status));
  EXPECT_THAT(std::string(MessageOf(found.status)), HasSubstr("bad key Bearer ***"));
  EXPECT_THAT(std::string(MessageOf(found.status)), Not(HasSubstr("must-not-be-seen")));
  EXPECT_THAT(Make(Open(options))->info().describe, Not(HasSubstr("must-not-be-seen")));
}

TEST_F(VisionLanguage, ALongRetryAfterIsKeptToByAll) {
  TestClock clock;
  VisionLanguageOptions options = Options("flaky/429/1/120");
  options.clock = &clock;
  const DetectorFactory factory = Open(options);
  const std::unique_ptr<Detector> one = Make(factory);
  const std::unique_ptr<Detector> other = Make(factory);
  EXPECT_TRUE(absl::IsUnavailable(DetectAll(one.get(), {MakeFrame(80, 60, 1)}).at(0).status));
  clock.Advance(119 * kSecondUs);
  const Found refused = DetectAll(other.get(), {MakeFrame(80, 60, 2)}).at(0);
  EXPECT_TRUE(absl::IsUnavailable(refused.status));
  EXPECT_THAT(std::string(MessageOf(refused.status)), HasSubstr("not asked"));
  EXPECT_EQ(counters_->refused_while_paused.value(), 1u);
  EXPECT_EQ(Log().size(), 1u);
  clock.Advance(kSecondUs);
  EXPECT_TRUE(DetectAll(other.get(), {MakeFrame(80, 60, 3)}).at(0).status.ok());
  ExpectLedgerAddsUp();
}

TEST_F(VisionLanguage, AnEndpointThatOnlyFailsIsLeftAlone) {
  TestClock clock;
  VisionLanguageOptions options = Options("flaky/500/7");
  options.clock = &clock;
  options.retry.max_attempts = 1;
  const std::unique_ptr<Detector> detector = Make(Open(options));
  int seed = 0;
  const auto ask = [&] { return DetectAll(detector.get(), {MakeFrame(80, 60, ++seed)}).at(0); };
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(absl::IsUnavailable(ask().status));
  EXPECT_EQ(counters_->requests.value(), 5u);
  clock.Advance(kSecondUs);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(absl::IsUnavailable(ask().status));
  EXPECT_EQ(counters_->requests.value(), 6u) << "one tries; the next pause is twice as long";
  clock.Advance(kSecondUs);
  EXPECT_TRUE(absl::IsUnavailable(ask().status));
  EXPECT_EQ(counters_->requests.value(), 6u);
  clock.Advance(kSecondUs);
  EXPECT_TRUE(absl::IsUnavailable(ask().status));
  EXPECT_EQ(counters_->requests.value(), 7u);
  clock.Advance(4 * kSecondUs);
  EXPECT_TRUE(ask().status.ok());
  EXPECT_TRUE(ask().status.ok()) << "and all is well";
  ExpectLedgerAddsUp();
}

TEST_F(VisionLanguage, TheBudgetIsSharedAndSaysThatNobodyWasAsked) {
  TestClock clock;
  VisionLanguageOptions options = Options("say/cat");
  options.clock = &clock;
  options.budget.requests_per_hour = 3;
  const DetectorFactory factory = Open(options);
  int answered = 0;
  int refused = 0;
  for (int i = 0; i < 10; ++i) {
    const Found found = DetectAll(Make(factory).get(), {MakeFrame(80, 60, i)}).at(0);
    answered += found.status.ok() ? 1 : 0;
    refused += absl::IsResourceExhausted(found.status) ? 1 : 0;
  }
  EXPECT_EQ(answered, 3);
  EXPECT_EQ(refused, 7);
  EXPECT_EQ(counters_->refused_by_budget.value(), 7u);
  EXPECT_EQ(Log().size(), 3u);
  clock.Advance(3600 * kSecondUs);
  EXPECT_TRUE(DetectAll(Make(factory).get(), {MakeFrame(80, 60, 11)}).at(0).status.ok());
  ExpectLedgerAddsUp();
}

TEST_F(VisionLanguage, RetriesAreWithinTheBudget) {
  TestClock clock;
  VisionLanguageOptions options = Options("status/500");
  options.clock = &clock;
  options.budget.requests_per_day = 2;
  options.retry.max_attempts = 10;
  const Found found = Detect(options, MakeFrame(80, 60));
  EXPECT_TRUE(absl::IsUnavailable(found.status)) << found.status;
  EXPECT_EQ(Log().size(), 2u);
}

TEST_F(VisionLanguage, TokensOfTheDay) {
  TestClock clock;
  VisionLanguageOptions options = Options("say/cat");
  options.clock = &clock;
  options.budget.tokens_per_day = 200;  // a reply costs 110
  const std::unique_ptr<Detector> detector = Make(Open(options));
  std::vector<bool> ok;
  for (int i = 0; i < 4; ++i) {
    ok.push_back(DetectAll(detector.get(), {MakeFrame(80, 60, i)}).at(0).status.ok());
  }
  EXPECT_THAT(ok, testing::ElementsAre(true, true, false, false));
}

TEST_F(VisionLanguage, KnownPicturesAreNotAskedAboutAgain) {
  TestClock clock;
  VisionLanguageOptions options = Options("say/cat");
  options.clock = &clock;
  const DetectorFactory factory = Open(options);
  for (int i = 0; i < 6; ++i) {
    const Found found = DetectAll(Make(factory).get(), {MakeFrame(80, 60, i % 2)}).at(0);
    ASSERT_TRUE(found.status.ok()) << found.status;
    EXPECT_EQ(found.detections.classes.at(0).class_id, 1);
    EXPECT_EQ(found.detections.frame.ordinal, static_cast<uint64_t>(i % 2));
  }
  EXPECT_EQ(Log().size(), 2u);
  EXPECT_EQ(counters_->cache_hits.value(), 4u);
  clock.Advance(options.cache_ttl_us);
  EXPECT_TRUE(DetectAll(Make(factory).get(), {MakeFrame(80, 60, 0)}).at(0).status.ok());
  EXPECT_EQ(Log().size(), 3u);
  ExpectLedgerAddsUp();
}

TEST_F(VisionLanguage, ErrorsAreNotKept) {
  VisionLanguageOptions options = Options("flaky/400/3");  // three dialects
  const std::unique_ptr<Detector> detector = Make(Open(options));
  EXPECT_FALSE(DetectAll(detector.get(), {MakeFrame(80, 60)}).at(0).status.ok());
  EXPECT_TRUE(DetectAll(detector.get(), {MakeFrame(80, 60)}).at(0).status.ok());
}

TEST_F(VisionLanguage, SeveralPicturesAtOnce) {
  VisionLanguageOptions options = Options("gate");
  options.max_at_once = 3;
  const std::unique_ptr<Detector> detector = Make(Open(options));
  ASSERT_EQ(detector->info().max_batch, 3);
  std::vector<Found> found;
  std::thread asking([&] {
    found = DetectAll(detector.get(), {MakeFrame(80, 60, 1), Frame{}, MakeFrame(80, 60, 2)});
  });
  while (Log().size() < 2) std::this_thread::yield();  // both are asked before one is answered
  EXPECT_TRUE(client_->Fetch({.url = server_.Url("/open")}).ok());
  asking.join();
  ASSERT_EQ(found.size(), 3u);
  EXPECT_TRUE(found[0].status.ok()) << found[0].status;
  EXPECT_FALSE(found[1].status.ok());
  EXPECT_TRUE(found[2].status.ok()) << found[2].status;
  EXPECT_EQ(found[2].detections.frame.ordinal, 2u);
  ExpectLedgerAddsUp();
}

TEST_F(VisionLanguage, NoMoreThanMaxAtOnceAndNoMoreWaitThanMay) {
  VisionLanguageOptions options = Options("gate");
  options.max_at_once = 2;
  options.max_waiting = 1;
  const DetectorFactory factory = Open(options);
  std::vector<std::thread> asking;
  std::atomic<int> answered{0};
  std::atomic<int> turned_away{0};
  for (int i = 0; i < 5; ++i) {
    asking.emplace_back([&, i] {
      const Found found = DetectAll(Make(factory).get(), {MakeFrame(80, 60, i)}).at(0);
      if (found.status.ok()) ++answered;
      if (absl::IsUnavailable(found.status)) ++turned_away;
    });
  }
  // Two are being asked about, one waits, two are turned away.
  while (counters_->refused_waiting.value() < 2 || Log().size() < 2) std::this_thread::yield();
  EXPECT_EQ(Log().size(), 2u);
  EXPECT_TRUE(client_->Fetch({.url = server_.Url("/open")}).ok());
  for (std::thread& thread : asking) thread.join();
  EXPECT_EQ(answered, 3);
  EXPECT_EQ(turned_away, 2);
  ExpectLedgerAddsUp();
}

TEST_F(VisionLanguage, TheWholeTimeIsBounded) {
  VisionLanguageOptions options = Options("silent");
  options.timeout_us = 200'000;
  EXPECT_TRUE(absl::IsDeadlineExceeded(Detect(options, MakeFrame(80, 60)).status));
  // A wait that would not end in time is not begun.
  options = Options("status/503/3600");
  EXPECT_TRUE(absl::IsUnavailable(Detect(options, MakeFrame(80, 60)).status));
  ExpectLedgerAddsUp();
}

TEST_F(VisionLanguage, BrokenConnectionsMayPass) {
  EXPECT_TRUE(absl::IsUnavailable(Detect("reset").status));
  EXPECT_EQ(Log().size(), 3u);
  EXPECT_TRUE(Detect("cut/2").status.ok());
  EXPECT_TRUE(absl::IsUnavailable(Detect("cut/3").status));
  VisionLanguageOptions options = Options("say/cat");
  {
    ServerProcess gone("chat_server.py");
    options.endpoint = gone.Url("/say/cat/v1");
  }
  EXPECT_TRUE(absl::IsUnavailable(Detect(options, MakeFrame(80, 60)).status));
  ExpectLedgerAddsUp();
}

TEST_F(VisionLanguage, CancellingEndsWhatWaits) {
  VisionLanguageOptions options = Options("silent");
  options.timeout_us = 600 * kSecondUs;
  options.cancel = std::make_shared<net::CancelSignal>();
  const std::unique_ptr<Detector> detector = Make(Open(options));
  Found found;
  std::thread asking([&] { found = DetectAll(detector.get(), {MakeFrame(80, 60)}).at(0); });
  while (Log().empty()) std::this_thread::yield();
  options.cancel->Cancel();
  asking.join();
  EXPECT_TRUE(absl::IsCancelled(found.status)) << found.status;
  EXPECT_TRUE(absl::IsCancelled(DetectAll(detector.get(), {MakeFrame(80, 60, 1)}).at(0).status));
  EXPECT_EQ(Log().size(), 1u);
  // A wait between two tries ends too.
  options = Options("status/500/500");
  options.timeout_us = 600 * kSecondUs;
  options.cancel = std::make_shared<net::CancelSignal>();
  const std::unique_ptr<Detector> other = Make(Open(options));
  std::thread waiting([&] { found = DetectAll(other.get(), {MakeFrame(80, 60)}).at(0); });
  while (Log().size() < 2) std::this_thread::yield();
  options.cancel->Cancel();
  waiting.join();
  EXPECT_TRUE(absl::IsCancelled(found.status)) << found.status;
}

}  // namespace
}  // namespace sightline
