#include "infer/batcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "base/test_clock.h"
#include "infer/batcher_test_parts.h"

namespace sightline {
namespace {

using batcher_test::Gate;
using batcher_test::HeldBatcher;
using batcher_test::One;
using batcher_test::P;
using batcher_test::RecordingRunner;
using batcher_test::Seen;
using batcher_test::Started;
using batcher_test::TestJob;
using ::testing::ElementsAre;

TEST(Batcher, SourcesTakeTurns) {
  HeldBatcher held({.name = "m", .queue_capacity = 16, .max_batch = 4});
  for (int i = 0; i < 6; ++i) held.Submit(1, i);  // a busy camera first
  held.Submit(2, 0);
  held.Submit(3, 0);
  held.Submit(3, 1);
  EXPECT_THAT(held.Finish(),
              ElementsAre(ElementsAre(P{1, 0}, P{2, 0}, P{3, 0}, P{1, 1}),
                          ElementsAre(P{3, 1}, P{1, 2}, P{1, 3}, P{1, 4}), ElementsAre(P{1, 5})));
}

TEST(Batcher, TurnsGoOnFromBatchToBatch) {
  HeldBatcher held({.name = "m", .queue_capacity = 16, .max_batch = 1});
  for (int i = 0; i < 3; ++i) {
    for (uint32_t source = 1; source <= 3; ++source) held.Submit(source, i);
  }
  std::vector<uint32_t> order;
  for (const auto& batch : held.Finish()) order.push_back(batch[0].first);
  EXPECT_THAT(order, ElementsAre(1, 2, 3, 1, 2, 3, 1, 2, 3));
}

TEST(Batcher, TheQuotaHoldsWhileOthersWait) {
  HeldBatcher held({.name = "m", .queue_capacity = 16, .max_batch = 4, .max_per_source = 1});
  for (int i = 0; i < 3; ++i) held.Submit(1, i);
  held.Submit(2, 0);
  // One of each while both wait; then camera 1 is alone and may fill the batch.
  EXPECT_THAT(held.Finish(), ElementsAre(ElementsAre(P{1, 0}, P{2, 0}, P{1, 1}, P{1, 2})));

  HeldBatcher both({.name = "m", .queue_capacity = 16, .max_batch = 4, .max_per_source = 1});
  for (int i = 0; i < 2; ++i) both.Submit(1, i), both.Submit(2, i);
  EXPECT_THAT(both.Finish(),
              ElementsAre(ElementsAre(P{1, 0}, P{2, 0}), ElementsAre(P{1, 1}, P{2, 1})));
}

TEST(Batcher, ManySourcesWithTheSameHash) {
  HeldBatcher held({.name = "m", .queue_capacity = 300, .max_batch = 300});
  for (uint32_t i = 0; i < 300; ++i) held.Submit(i * 65536u * 600u, static_cast<int>(i));
  std::vector<int> order;
  for (const auto& batch : held.Finish()) {
    EXPECT_LE(batch.size(), 64u) << "the runner's own limit";
    for (const auto& [source, number] : batch) order.push_back(number);
  }
  ASSERT_EQ(order.size(), 300u);
  EXPECT_TRUE(std::ranges::is_sorted(order)) << "in turn";
}

TEST(Batcher, AnIdleRunnerDoesNotWaitForCompany) {
  Seen seen;
  Gate started;
  const auto batcher = Started({.name = "m", .max_batch = 8},
                               One(std::make_unique<RecordingRunner>(8, &seen, &started)));
  TestJob job;
  ASSERT_TRUE(batcher->Submit(&job).ok());
  started.Wait();  // hangs if it waited
  batcher->Stop(false);
  EXPECT_EQ(job.done, 1);
}

TEST(Batcher, WithADelayABatchFillsUp) {
  constexpr int64_t kAnHourUs = 3'600'000'000;
  Seen seen;
  const auto batcher = Started({.name = "m",
                                .queue_capacity = 8,
                                .max_batch = 3,
                                .max_delay_us = kAnHourUs,
                                .adaptive_delay = false},
                               One(std::make_unique<RecordingRunner>(8, &seen)));
  std::deque<TestJob> jobs;
  for (int i = 0; i < 4; ++i) {
    jobs.emplace_back(i, i);
    ASSERT_TRUE(batcher->Submit(&jobs.back()).ok());
  }
  batcher->Stop(false);  // does not sit out the hour for the fourth
  EXPECT_EQ(seen.batches.size(), 2u);
  EXPECT_EQ(seen.batches[0].size(), 3u);
}

TEST(Batcher, ADelayEndsWithoutCompany) {
  Seen seen;
  Gate started;
  const auto batcher =
      Started({.name = "m", .max_batch = 3, .max_delay_us = 1000, .adaptive_delay = false},
              One(std::make_unique<RecordingRunner>(8, &seen, &started)));
  TestJob job;
  ASSERT_TRUE(batcher->Submit(&job).ok());
  started.Wait();
  batcher->Stop(false);
  EXPECT_EQ(job.done, 1);
}

TEST(Batcher, AFullQueueRefusesOrBlocks) {
  HeldBatcher held({.name = "m", .queue_capacity = 2, .max_batch = 1});
  held.Submit(1, 0);
  held.Submit(1, 1);
  TestJob refused(1, 2);
  EXPECT_EQ(held.batcher->TrySubmit(&refused).code(), absl::StatusCode::kResourceExhausted);
  TestJob blocked(1, 3);
  std::atomic<bool> accepted{false};
  std::thread thread([&] {
    EXPECT_TRUE(held.batcher->Submit(&blocked).ok());
    accepted = true;
  });
  EXPECT_FALSE(accepted) << "there is no room before the runner goes on";
  held.LetGo();
  thread.join();
  held.Finish();
  EXPECT_EQ(blocked.done, 1);
  EXPECT_EQ(refused.done, 0);
  const QueueStats stats = held.batcher->Stats();
  EXPECT_EQ(stats.pushed, 4u);
  EXPECT_EQ(stats.popped, 4u);
  EXPECT_EQ(stats.dropped, 1u);
  EXPECT_EQ(stats.depth, 0u);
  EXPECT_EQ(stats.max_depth, 2u);
}

TEST(Batcher, StopRunsWhatWaits) {
  HeldBatcher held({.name = "m", .queue_capacity = 8, .max_batch = 2});
  for (int i = 0; i < 5; ++i) held.Submit(1, i);
  EXPECT_EQ(held.Finish().size(), 3u);
  TestJob late;
  EXPECT_EQ(held.batcher->Submit(&late).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(held.batcher->TrySubmit(&late).code(), absl::StatusCode::kUnavailable);
  held.batcher->Stop(true);  // once more is nothing
  EXPECT_EQ(late.done, 0);
}

TEST(Batcher, StopWithDiscardCancelsWhatWaits) {
  Seen seen;
  Gate started, go;
  const auto batcher = Started({.name = "m", .queue_capacity = 4, .max_batch = 2},
                               One(std::make_unique<RecordingRunner>(8, &seen, &started, &go)));
  TestJob running, waiting[3];
  ASSERT_TRUE(batcher->Submit(&running).ok());
  started.Wait();
  for (TestJob& job : waiting) ASSERT_TRUE(batcher->Submit(&job).ok());
  std::thread stopper([&] { batcher->Stop(/*discard=*/true); });
  // Until the stop has begun, further jobs may be taken: they then count among those that wait.
  std::deque<TestJob> probes;
  int accepted = 0;
  do {
    probes.emplace_back();
    const absl::Status status = batcher->TrySubmit(&probes.back());
    accepted += status.ok() ? 1 : 0;
    if (status.code() == absl::StatusCode::kUnavailable) break;
    std::this_thread::yield();
  } while (true);
  go.Open();
  stopper.join();
  EXPECT_EQ(running.code, absl::StatusCode::kOk);
  for (const TestJob& job : waiting) {
    EXPECT_EQ(job.done, 1);
    EXPECT_EQ(job.code, absl::StatusCode::kCancelled);
  }
  int done = 0;
  for (const TestJob& job : probes) done += job.done;
  EXPECT_EQ(done, accepted);
}

TEST(Batcher, StopLetsGoOfThoseWhoWaitForRoom) {
  HeldBatcher held({.name = "m", .queue_capacity = 1, .max_batch = 1});
  held.Submit(1, 0);
  std::deque<TestJob> jobs(3);
  std::vector<std::thread> threads;
  std::atomic<int> accepted{0}, refused{0};
  for (TestJob& job : jobs) {
    threads.emplace_back([&] {
      const absl::Status status = held.batcher->Submit(&job);
      ++(status.ok() ? accepted : refused);
      EXPECT_TRUE(status.ok() || status.code() == absl::StatusCode::kUnavailable);
    });
  }
  std::thread stopper([&] { held.batcher->Stop(/*discard=*/false); });
  TestJob probe;
  while (held.batcher->TrySubmit(&probe).code() != absl::StatusCode::kUnavailable) {
    std::this_thread::yield();
  }
  held.LetGo();
  stopper.join();
  for (std::thread& thread : threads) thread.join();
  int done = 0;
  for (const TestJob& job : jobs) done += job.done;
  EXPECT_EQ(done, accepted);
  EXPECT_EQ(accepted + refused, 3);
}

TEST(Batcher, NamesItsThreads) {
  class NamingRunner : public BatchRunner {
   public:
    explicit NamingRunner(std::string* name) : name_(name) {}
    int max_batch() const override { return 1; }
    void Run(std::span<BatchJob* const> batch, std::span<absl::Status>) override {
      char name[16] = {};
      pthread_getname_np(pthread_self(), name, sizeof name);
      *name_ = name;
    }
    std::string* name_;
  };
  std::string name;
  TestJob job;
  const auto batcher = Started({.name = "yolox_nano"}, One(std::make_unique<NamingRunner>(&name)));
  ASSERT_TRUE(batcher->Submit(&job).ok());
  batcher->Stop(false);
  EXPECT_EQ(name, "batch-yolox_nan");
}

// Eight producers, three runners: every job once, the jobs of a source dispatched in their order.
TEST(Batcher, ManyProducersManyRunners) {
  constexpr int kProducers = 8, kJobs = 500;
  struct CheckingRunner : BatchRunner {
    CheckingRunner(std::atomic<int>* most) : largest(most) {}
    int max_batch() const override { return 5; }
    void Run(std::span<BatchJob* const> batch, std::span<absl::Status>) override {
      EXPECT_LE(batch.size(), 4u);
      std::map<uint32_t, int> last;
      for (BatchJob* job : batch) {
        const int number = static_cast<TestJob*>(job)->number;
        const auto before = last.find(job->source);
        EXPECT_TRUE(before == last.end() || number == before->second + 1) << number;
        last[job->source] = number;
      }
      int seen = largest->load();
      while (static_cast<int>(batch.size()) > seen &&
             !largest->compare_exchange_weak(seen, static_cast<int>(batch.size()))) {
      }
    }
    std::atomic<int>* largest;
  };
  std::atomic<int> largest{0};
  std::vector<std::unique_ptr<BatchRunner>> runners;
  for (int i = 0; i < 3; ++i) runners.push_back(std::make_unique<CheckingRunner>(&largest));
  const auto batcher = Started(
      {.name = "m", .queue_capacity = 7, .max_batch = 4, .max_per_source = 2}, std::move(runners));
  std::vector<std::deque<TestJob>> jobs(kProducers);
  std::vector<std::thread> producers;
  for (int p = 0; p < kProducers; ++p) {
    producers.emplace_back([&, p] {
      std::mt19937 random(p);
      for (int i = 0; i < kJobs; ++i) {
        TestJob& job = jobs[p].emplace_back(p, i);
        if (random() % 4 != 0) {
          ASSERT_TRUE(batcher->Submit(&job).ok());
        } else {
          while (!batcher->TrySubmit(&job).ok()) std::this_thread::yield();
        }
      }
    });
  }
  for (std::thread& producer : producers) producer.join();
  batcher->Stop(/*discard=*/false);
  for (const auto& source : jobs) {
    for (const TestJob& job : source) {
      ASSERT_EQ(job.done, 1);
      ASSERT_EQ(job.code, absl::StatusCode::kOk);
    }
  }
  const QueueStats stats = batcher->Stats();
  EXPECT_EQ(stats.pushed, static_cast<uint64_t>(kProducers * kJobs));
  EXPECT_EQ(stats.popped, stats.pushed);
  EXPECT_LE(stats.max_depth, 7u);
}

// While the model is busy, the newest job of each live source waits and the others come back at once.
TEST(Batcher, LiveSourcesKeepTheirNewestJobs) {
  Seen seen;
  Gate started, go;
  const auto batcher = Started({.name = "m", .queue_capacity = 4, .max_batch = 1},
                               One(std::make_unique<RecordingRunner>(1, &seen, &started, &go)));
  TestJob first(9, 0);
  ASSERT_TRUE(batcher->SubmitLatest(&first, 1).ok());
  started.Wait();
  std::deque<TestJob> jobs;
  for (int i = 0; i < 5; ++i) {
    for (const uint32_t source : {1u, 2u}) {
      ASSERT_TRUE(batcher->SubmitLatest(&jobs.emplace_back(source, i), 2).ok());
    }
  }
  for (const TestJob& job : jobs) {
    EXPECT_EQ(job.done, job.number < 3 ? 1 : 0);
    if (job.number < 3) {
      EXPECT_EQ(job.code, absl::StatusCode::kDeadlineExceeded);
    }
  }
  EXPECT_EQ(batcher->Stats().dropped, 6u);
  EXPECT_EQ(batcher->Stats().depth, 4u);
  go.Open();
  batcher->Stop(/*discard=*/false);
  std::map<uint32_t, std::vector<int>> ran;
  for (const auto& batch : seen.batches) {
    for (const auto& [source, number] : batch) ran[source].push_back(number);
  }
  EXPECT_THAT(ran[1], ElementsAre(3, 4));
  EXPECT_THAT(ran[2], ElementsAre(3, 4));
  TestJob late(1, 0);
  EXPECT_FALSE(batcher->SubmitLatest(&late, 1).ok());
  EXPECT_EQ(late.done, 0);
}

TEST(Batcher, WhatIsOldCanBeShed) {
  MovedClock clock;
  clock.now_us = 1000;
  Seen seen;
  Gate started, go;
  const auto batcher = Started({.name = "m", .queue_capacity = 4, .max_batch = 1, .clock = &clock},
                               One(std::make_unique<RecordingRunner>(1, &seen, &started, &go)));
  std::deque<TestJob> jobs;
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(batcher->TrySubmit(&jobs.emplace_back(1, i)).ok());
    if (i == 0) started.Wait();  // it runs: four fit behind it
    ++clock.now_us;
  }
  TestJob more(1, 9);
  EXPECT_FALSE(batcher->TrySubmit(&more).ok());
  EXPECT_EQ(batcher->Shed(1003, ResourceExhausted("full")), 2u);
  for (const TestJob& job : jobs) EXPECT_EQ(job.done, job.number == 1 || job.number == 2 ? 1 : 0);
  EXPECT_EQ(jobs[1].code, absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(batcher->Stats().depth, 2u);
  EXPECT_EQ(batcher->Stats().dropped, 3u);
  EXPECT_TRUE(batcher->TrySubmit(&more).ok()) << "there is room again";
  go.Open();
  batcher->Stop(/*discard=*/false);
  EXPECT_THAT(seen.batches.size(), 4u);
}

// A recording beside an overloading camera gets half of the places, and loses nothing.
TEST(Batcher, LiveAndRecordedSourcesShareTheBatches) {
  Seen seen;
  Gate started, go;
  const auto batcher = Started({.name = "m", .queue_capacity = 8, .max_batch = 2},
                               One(std::make_unique<RecordingRunner>(2, &seen, &started, &go)));
  std::deque<TestJob> jobs;
  ASSERT_TRUE(batcher->Submit(&jobs.emplace_back(0, 0)).ok());
  started.Wait();
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(batcher->Submit(&jobs.emplace_back(1, i)).ok());
    ASSERT_TRUE(batcher->SubmitLatest(&jobs.emplace_back(2, i), 4).ok());
  }
  go.Open();
  batcher->Stop(/*discard=*/false);
  for (const TestJob& job : jobs) EXPECT_EQ(job.done, 1);
  ASSERT_EQ(seen.batches.size(), 5u);
  for (size_t b = 1; b < seen.batches.size(); ++b) {
    ASSERT_EQ(seen.batches[b].size(), 2u);
    EXPECT_NE(seen.batches[b][0].first, seen.batches[b][1].first) << b;
  }
}

// Any number of cameras at any moment: every accepted job is done once.
TEST(Batcher, LiveJobsAreDoneOnceEach) {
  for (int round = 0; round < 20; ++round) {
    Seen seen;
    std::vector<std::unique_ptr<BatchRunner>> runners;
    for (int i = 0; i < 2; ++i) runners.push_back(std::make_unique<RecordingRunner>(3, &seen));
    const auto batcher = Started(
        {.name = "m", .queue_capacity = 3, .max_batch = 3, .max_age_us = round % 3 == 0 ? 1 : 0},
        std::move(runners));
    std::vector<std::deque<TestJob>> jobs(4);
    std::vector<size_t> accepted(4);
    std::vector<std::thread> producers;
    for (int p = 0; p < 4; ++p) {
      producers.emplace_back([&, p] {
        for (int i = 0; i < 2000; ++i) {
          TestJob& job = jobs[p].emplace_back(p, i);
          const bool taken = (p == 0 ? batcher->Submit(&job) : batcher->SubmitLatest(&job, 2)).ok();
          if (!taken) break;
          ++accepted[p];
        }
      });
    }
    while (batcher->Stats().pushed < static_cast<uint64_t>(round * 10)) std::this_thread::yield();
    batcher->Stop(/*discard=*/round % 2 == 0);
    for (std::thread& producer : producers) producer.join();
    for (size_t p = 0; p < jobs.size(); ++p) {
      for (size_t i = 0; i < jobs[p].size(); ++i) {
        ASSERT_EQ(jobs[p][i].done, i < accepted[p] ? 1 : 0);
      }
    }
    const QueueStats stats = batcher->Stats();
    EXPECT_EQ(stats.depth, 0u);
  }
}

// Stopped in the middle, again and again: what was accepted is done once, the rest never.
TEST(Batcher, StopAtAnyMomentKeepsTheCount) {
  for (int round = 0; round < 40; ++round) {
    Seen seen;
    std::vector<std::unique_ptr<BatchRunner>> runners;
    for (int i = 0; i < 2; ++i) runners.push_back(std::make_unique<RecordingRunner>(3, &seen));
    const auto batcher =
        Started({.name = "m", .queue_capacity = 3, .max_batch = 3}, std::move(runners));
    std::vector<std::deque<TestJob>> jobs(3);
    std::vector<std::vector<bool>> accepted(3);
    std::vector<std::thread> producers;
    for (int p = 0; p < 3; ++p) {
      producers.emplace_back([&, p] {
        for (int i = 0; i < 2000; ++i) {
          TestJob& job = jobs[p].emplace_back(p, i);
          accepted[p].push_back(batcher->Submit(&job).ok());
          if (!accepted[p].back()) break;
        }
      });
    }
    while (batcher->Stats().pushed < static_cast<uint64_t>(round)) std::this_thread::yield();
    batcher->Stop(/*discard=*/round % 2 == 0);
    for (std::thread& producer : producers) producer.join();
    for (int p = 0; p < 3; ++p) {
      for (size_t i = 0; i < jobs[p].size(); ++i)
        ASSERT_EQ(jobs[p][i].done, accepted[p][i] ? 1 : 0);
    }
  }
}

TEST(Batcher, ABatchIsFullBySumOfRows) {
  Seen seen;
  Gate started, go;
  std::vector<std::unique_ptr<BatchRunner>> runners;
  runners.push_back(std::make_unique<RecordingRunner>(8, &seen, &started, &go));
  BatcherOptions options;
  options.name = "rows";
  options.max_batch = 8;
  auto batcher = Batcher::Create(options, std::move(runners));
  ASSERT_TRUE(batcher.ok());
  std::deque<TestJob> jobs;
  // The first keeps the runner busy; 3 and 4 fit together, 5 waits for the next batch, 20 goes alone.
  for (const int rows : {1, 3, 4, 5, 20, 2, 2}) {
    TestJob& job = jobs.emplace_back(0, rows);
    job.rows = rows;
    ASSERT_TRUE((*batcher)->TrySubmit(&job).ok());
    if (jobs.size() == 1) started.Wait();
  }
  go.Open();
  (*batcher)->Stop(/*discard=*/false);
  using Batch = std::vector<std::pair<uint32_t, int>>;
  EXPECT_EQ(seen.batches, (std::vector<Batch>{
                              {{0, 1}}, {{0, 3}, {0, 4}}, {{0, 5}}, {{0, 20}}, {{0, 2}, {0, 2}}}));
}

}  // namespace
}  // namespace sightline
