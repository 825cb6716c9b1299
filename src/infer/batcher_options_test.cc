// Priorities, deadlines, preferred sizes, and options that change while jobs wait.
#include "infer/batcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <random>
#include <thread>
#include <utility>

#include "base/test_clock.h"
#include "infer/batcher_test_parts.h"

namespace sightline {
namespace {

using batcher_test::HeldBatcher;
using batcher_test::One;
using batcher_test::P;
using batcher_test::RecordingRunner;
using batcher_test::Seen;
using batcher_test::Started;
using batcher_test::TestJob;
using ::testing::ElementsAre;

TEST(Batcher, UrgentJobsGoFirst) {
  HeldBatcher held({.name = "m", .queue_capacity = 16, .max_batch = 2});
  held.Submit(1, 0);
  held.Submit(1, 1, /*priority=*/kUsualPriority);  // the same as none
  held.Submit(2, 2, /*priority=*/3);
  held.Submit(3, 3, /*priority=*/99);  // as the last there is
  held.Submit(4, 4, /*priority=*/1);
  EXPECT_THAT(held.Finish(), ElementsAre(ElementsAre(P{4, 4}, P{2, 2}),
                                         ElementsAre(P{1, 0}, P{1, 1}), ElementsAre(P{3, 3})));
}

TEST(Batcher, LateJobsAreNotRun) {
  MovedClock clock;
  HeldBatcher held({.name = "m", .queue_capacity = 16, .max_batch = 4, .clock = &clock});
  TestJob late(1, 0), in_time(1, 1);
  late.deadline_us = clock.now_us + 1000;
  in_time.deadline_us = clock.now_us + 1001;
  ASSERT_TRUE(held.batcher->Submit(&late).ok());
  ASSERT_TRUE(held.batcher->Submit(&in_time).ok());
  held.Submit(1, 2);
  clock.now_us += 1000;
  EXPECT_THAT(held.Finish(), ElementsAre(ElementsAre(P{1, 1}, P{1, 2})));
  EXPECT_EQ(late.done, 1);
  EXPECT_EQ(late.code, absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(in_time.code, absl::StatusCode::kOk);
  const BatcherCounts counts = held.batcher->Counts();
  EXPECT_EQ(counts.late, 1u);
  EXPECT_EQ(counts.queue.dropped, 1u);
  EXPECT_EQ(counts.queue.popped, 3u);
  EXPECT_EQ(counts.batch_size.sum, 3);
  EXPECT_EQ(counts.queue_us.sum, 2000);
}

// A job with a deadline is begun before it, however long the delay.
TEST(Batcher, ADelayEndsBeforeADeadline) {
  Seen seen;
  const auto batcher =
      Started({.name = "m", .max_batch = 3, .max_delay_us = 3'600'000'000, .adaptive_delay = false},
              One(std::make_unique<RecordingRunner>(8, &seen)));
  TestJob job;
  job.deadline_us = Clock::Real().NowMonotonicUs() + 50'000;
  ASSERT_TRUE(batcher->Submit(&job).ok());
  while (job.done == 0) std::this_thread::yield();
}

TEST(Batcher, PreferredSizes) {
  HeldBatcher held({.name = "m", .queue_capacity = 16, .max_batch = 8, .preferred_sizes = {4, 2}});
  for (int i = 0; i < 7; ++i) held.Submit(1, i);
  held.LetGo();
  while (held.batcher->Stats().popped < 8) std::this_thread::yield();
  std::vector<size_t> sizes;
  for (const auto& batch : held.Finish()) sizes.push_back(batch.size());
  EXPECT_THAT(sizes, ElementsAre(4, 2, 1));
}

TEST(Batcher, ARunnerFailsOnSomeJobs) {
  class FailingRunner : public BatchRunner {
   public:
    int max_batch() const override { return 8; }
    void Run(std::span<BatchJob* const> batch, std::span<absl::Status> statuses) override {
      for (size_t i = 0; i < batch.size(); ++i) {
        if (static_cast<TestJob*>(batch[i])->number % 2 == 1) statuses[i] = Internal("odd");
      }
    }
  };
  const auto batcher =
      Started({.name = "m", .max_batch = 8}, One(std::make_unique<FailingRunner>()));
  std::deque<TestJob> jobs;
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(batcher->Submit(&jobs.emplace_back(0, i)).ok());
  batcher->Stop(/*discard=*/false);
  for (const TestJob& job : jobs) {
    EXPECT_EQ(job.code, job.number % 2 == 1 ? absl::StatusCode::kInternal : absl::StatusCode::kOk);
  }
}

TEST(Batcher, OtherOptionsHoldForWhatWaits) {
  HeldBatcher held({.name = "m", .queue_capacity = 2, .max_batch = 1});
  held.Submit(1, 0);
  held.Submit(2, 1);
  TestJob more(3, 2);
  EXPECT_FALSE(held.batcher->TrySubmit(&more).ok());
  BatcherOptions options = held.batcher->options();
  options.name = "another";
  options.queue_capacity = 6;
  options.max_batch = 3;
  ASSERT_TRUE(held.batcher->Reconfigure(options).ok());
  EXPECT_EQ(held.batcher->options().name, "m");
  EXPECT_EQ(held.batcher->options().max_batch, 3);
  for (int i = 2; i < 6; ++i) held.Submit(1, i);
  options.queue_capacity = 1;
  ASSERT_TRUE(held.batcher->Reconfigure(options).ok());
  EXPECT_FALSE(held.batcher->TrySubmit(&more).ok());
  EXPECT_THAT(held.Finish(), ElementsAre(ElementsAre(P{1, 0}, P{2, 1}, P{1, 2}),
                                         ElementsAre(P{1, 3}, P{1, 4}, P{1, 5})));
}

TEST(Batcher, OptionsThatMakeNoSenseAreRefused) {
  HeldBatcher held({.name = "m", .queue_capacity = 4, .max_batch = 4});
  const BatcherOptions good = held.batcher->options();
  const auto refused = [&](auto change) {
    BatcherOptions options = good;
    change(options);
    std::vector<std::unique_ptr<BatchRunner>> none;
    return absl::IsInvalidArgument(held.batcher->Reconfigure(options)) &&
           absl::IsInvalidArgument(Batcher::Create(options, std::move(none)).status());
  };
  EXPECT_TRUE(refused([](BatcherOptions& o) { o.queue_capacity = 0; }));
  EXPECT_TRUE(refused([](BatcherOptions& o) { o.queue_capacity = SIZE_MAX; }));
  EXPECT_TRUE(refused([](BatcherOptions& o) { o.max_batch = 0; }));
  EXPECT_TRUE(refused([](BatcherOptions& o) { o.preferred_sizes = {5}; }));
  EXPECT_TRUE(refused([](BatcherOptions& o) { o.preferred_sizes = {0}; }));
  EXPECT_TRUE(refused([](BatcherOptions& o) { o.preferred_sizes.assign(33, 1); }));
  EXPECT_TRUE(refused([](BatcherOptions& o) { o.max_delay_us = -1; }));
  EXPECT_TRUE(refused([](BatcherOptions& o) { o.default_priority = 0; }));
  EXPECT_TRUE(refused([](BatcherOptions& o) { o.default_priority = kPriorityLevels + 1; }));
  EXPECT_EQ(held.batcher->options().max_batch, 4);
}

// Changed all the time while jobs come and go.
TEST(Batcher, OtherOptionsAtAnyMoment) {
  Seen seen;
  std::vector<std::unique_ptr<BatchRunner>> runners;
  for (int i = 0; i < 2; ++i) runners.push_back(std::make_unique<RecordingRunner>(8, &seen));
  const auto batcher =
      Started({.name = "m", .queue_capacity = 3, .max_batch = 3}, std::move(runners));
  std::vector<std::deque<TestJob>> jobs(3);
  std::atomic<size_t> running{jobs.size()};
  std::vector<std::thread> producers;
  for (size_t p = 0; p < jobs.size(); ++p) {
    producers.emplace_back([&, p] {
      for (int i = 0; i < 3000; ++i) {
        TestJob& job = jobs[p].emplace_back(static_cast<uint32_t>(p), i);
        job.priority = i % 3;
        EXPECT_TRUE((p == 0 ? batcher->SubmitLatest(&job, 2) : batcher->Submit(&job)).ok());
      }
      --running;
    });
  }
  std::mt19937 random(5);
  while (running > 0) {
    BatcherOptions options = batcher->options();
    options.queue_capacity = 1 + random() % 12;
    options.max_batch = static_cast<int>(1 + random() % 10);
    options.max_delay_us = random() % 2 == 0 ? 0 : 500;
    options.adaptive_delay = random() % 2 == 0;
    options.preferred_sizes.clear();
    if (random() % 2 == 0) options.preferred_sizes = {1, options.max_batch};
    ASSERT_TRUE(batcher->Reconfigure(options).ok());
    std::this_thread::yield();
  }
  for (std::thread& producer : producers) producer.join();
  batcher->Stop(/*discard=*/false);
  for (const auto& source : jobs) {
    for (const TestJob& job : source) ASSERT_EQ(job.done, 1);
  }
}

}  // namespace
}  // namespace sightline
