// What detectors do when the endpoint refuses, fails, is too slow or costs too much.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "remote/test_clock.h"
#include "remote/vision_language_test_support.h"

namespace sightline {
namespace {

using net::test::ServerProcess;
using ::testing::HasSubstr;
using ::testing::Not;

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

// A picture that the server refuses says nothing about the next one.
TEST_F(VisionLanguage, AServerThatRefusesPicturesIsNotLeftAlone) {
  TestClock clock;
  int seed = 0;
  for (const std::string scenario : {"filter/0", "filter/1", "takes/1", "takes/1/another"}) {
    VisionLanguageOptions options = Options(scenario);
    options.clock = &clock;
    const std::unique_ptr<Detector> detector = Make(Open(options));
    const auto ask = [&] { return DetectAll(detector.get(), {MakeFrame(80, 60, ++seed)}).at(0); };
    if (scenario != "filter/0") {
      EXPECT_TRUE(ask().status.ok());
    }
    const uint64_t before = counters_->requests.value();
    for (int i = 0; i < 20; ++i) {
      const Found refused = ask();
      EXPECT_TRUE(absl::IsInvalidArgument(refused.status)) << refused.status;
      EXPECT_EQ(refused.failure, DropReason::kInferenceError);
    }
    EXPECT_EQ(counters_->requests.value() - before, 20u)
        << scenario << ": each is asked about once";
  }
  EXPECT_EQ(counters_->refused_while_paused.value(), 0u);
  ExpectLedgerAddsUp();
}

// Nor is a server of use that never took any, or whose key is wrong.
TEST_F(VisionLanguage, AServerThatRefusesEverythingIsLeftAlone) {
  for (const std::string scenario : {"never", "status/401", "status/403", "status/404"}) {
    TestClock clock;
    VisionLanguageOptions options = Options(scenario);
    options.clock = &clock;
    const std::unique_ptr<Detector> detector = Make(Open(options));
    const uint64_t before = counters_->refused_while_paused.value();
    for (int i = 0; i < 8; ++i) {
      EXPECT_FALSE(DetectAll(detector.get(), {MakeFrame(80, 60, i)}).at(0).status.ok());
    }
    EXPECT_EQ(counters_->refused_while_paused.value() - before, 3u) << scenario;
  }
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

TEST_F(VisionLanguage, ErrorsAreNotKept) {
  VisionLanguageOptions options = Options("flaky/400/3");  // three dialects
  const std::unique_ptr<Detector> detector = Make(Open(options));
  EXPECT_FALSE(DetectAll(detector.get(), {MakeFrame(80, 60)}).at(0).status.ok());
  EXPECT_TRUE(DetectAll(detector.get(), {MakeFrame(80, 60)}).at(0).status.ok());
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
  // Whether the server was asked that often before a minute was over.
  const auto wait_for_log = [&](size_t times) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (Log().size() < times) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  };
  VisionLanguageOptions options = Options("silent");
  options.timeout_us = 600 * kSecondUs;
  options.cancel = std::make_shared<net::CancelSignal>();
  const std::unique_ptr<Detector> detector = Make(Open(options));
  Found found;
  std::thread asking([&] { found = DetectAll(detector.get(), {MakeFrame(80, 60)}).at(0); });
  const bool asked = wait_for_log(1);
  options.cancel->Cancel();
  asking.join();
  ASSERT_TRUE(asked);
  EXPECT_TRUE(absl::IsCancelled(found.status)) << found.status;
  EXPECT_TRUE(absl::IsCancelled(DetectAll(detector.get(), {MakeFrame(80, 60, 1)}).at(0).status));
  EXPECT_EQ(Log().size(), 1u);
  // A wait between two tries ends too.
  options = Options("status/500/500");
  options.timeout_us = 600 * kSecondUs;
  options.cancel = std::make_shared<net::CancelSignal>();
  const std::unique_ptr<Detector> other = Make(Open(options));
  std::thread waiting([&] { found = DetectAll(other.get(), {MakeFrame(80, 60)}).at(0); });
  const bool tried = wait_for_log(2);
  options.cancel->Cancel();
  waiting.join();
  ASSERT_TRUE(tried);
  EXPECT_TRUE(absl::IsCancelled(found.status)) << found.status;
}

}  // namespace
}  // namespace sightline
