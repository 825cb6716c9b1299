#include "infer/latest_jobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

namespace sightline {
namespace {

using ::testing::ElementsAre;

struct Job final : BatchJob {
  Job(uint32_t from, int64_t at) : made_us(at) { source = from; }
  void Done(const absl::Status&) override {}
  const int64_t made_us;
};

// Cameras and one model, in steps: a job of each camera when its frame is due, one taken whenever
// the model is free.
struct Load {
  std::vector<int64_t> period_us;  // of each camera
  std::vector<int64_t> phase_us;
  int64_t service_us = 0;
  size_t most_waiting = 1;
};
struct Outcome {
  std::vector<int> taken;        // per camera
  std::vector<int64_t> ages_us;  // of the jobs taken, sorted
  int evicted = 0;
  int in = 0;
  size_t left = 0;
  int64_t AgeAt(double part) const {
    return ages_us[static_cast<size_t>(part * static_cast<double>(ages_us.size() - 1))];
  }
};

Outcome Simulate(const Load& load, int64_t duration_us) {
  LatestJobs waiting;
  Outcome outcome;
  outcome.taken.resize(load.period_us.size());
  std::vector<std::unique_ptr<Job>> jobs;
  int64_t free_at_us = 0;
  constexpr int64_t kStep = 100;
  for (int64_t now = 0; now < duration_us; now += kStep) {
    for (size_t c = 0; c < load.period_us.size(); ++c) {
      if ((now + load.phase_us[c]) % load.period_us[c] >= kStep) continue;
      jobs.push_back(std::make_unique<Job>(static_cast<uint32_t>(c), now));
      ++outcome.in;
      if (waiting.Add(jobs.back().get(), now, load.most_waiting) != nullptr) ++outcome.evicted;
    }
    if (now < free_at_us) continue;
    auto* const job = static_cast<Job*>(waiting.Take());
    if (job == nullptr) continue;
    ++outcome.taken[job->source];
    outcome.ages_us.push_back(now - job->made_us);
    free_at_us = now + load.service_us;
  }
  outcome.left = waiting.size();
  std::sort(outcome.ages_us.begin(), outcome.ages_us.end());
  return outcome;
}

Load Cameras(int count, int64_t period_us, int64_t service_us, bool together) {
  Load load;
  load.service_us = service_us;
  std::mt19937 random(7);
  for (int c = 0; c < count; ++c) {
    load.period_us.push_back(period_us);
    load.phase_us.push_back(together ? 0 : static_cast<int64_t>(random() % period_us) / 100 * 100);
  }
  return load;
}

TEST(LatestJobs, ANewJobTakesThePlaceOfTheOldestOfItsSource) {
  LatestJobs jobs;
  Job a(1, 0), b(1, 0), c(1, 0), other(2, 0);
  EXPECT_EQ(jobs.Add(&a, 10, 2), nullptr);
  EXPECT_EQ(jobs.Add(&other, 5, 2), nullptr);
  EXPECT_EQ(jobs.Add(&b, 20, 2), nullptr);
  EXPECT_EQ(jobs.Add(&c, 30, 2), &a);
  EXPECT_EQ(jobs.size(), 3u);
  EXPECT_EQ(jobs.oldest_us(), 5);
  EXPECT_EQ(jobs.Take(), &b);
  EXPECT_EQ(jobs.Take(), &c);
  EXPECT_EQ(jobs.Take(), &other);
  EXPECT_EQ(jobs.Take(), nullptr);
}

TEST(LatestJobs, WhatHasGrownStaleIsGivenBack) {
  LatestJobs jobs;
  Job a(1, 0), b(1, 0), c(2, 0);
  jobs.Add(&a, 10, 2);
  jobs.Add(&b, 20, 2);
  jobs.Add(&c, 12, 2);
  std::vector<BatchJob*> stale;
  jobs.TakeStale(13, stale);
  EXPECT_THAT(stale, ElementsAre(&a, &c));
  EXPECT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs.Take(), &b);
}

// Three times what the model can do: everybody has a third, to within the slack.
TEST(LatestJobs, OverloadIsSharedEqually) {
  for (const bool together : {true, false}) {
    const Outcome outcome = Simulate(Cameras(20, 200'000, 30'000, together), 120'000'000);
    const auto [least, most] = std::minmax_element(outcome.taken.begin(), outcome.taken.end());
    EXPECT_LE(*most - *least, 4) << together;  // of 200 each
    EXPECT_EQ(outcome.in, outcome.evicted +
                              std::accumulate(outcome.taken.begin(), outcome.taken.end(), 0) +
                              static_cast<int>(outcome.left));
  }
}

// Cameras out of step: what is run has hardly waited, though two of three frames are dropped.
TEST(LatestJobs, OverloadRunsFreshJobs) {
  const Outcome outcome = Simulate(Cameras(20, 200'000, 30'000, false), 120'000'000);
  EXPECT_LT(outcome.AgeAt(0.5), 30'000);
  const int64_t sum_us =
      std::accumulate(outcome.ages_us.begin(), outcome.ages_us.end(), int64_t{0});
  EXPECT_LT(sum_us / static_cast<int64_t>(outcome.ages_us.size()), 50'000);
}

TEST(LatestJobs, NothingIsDroppedBelowFullLoad) {
  const Outcome outcome = Simulate(Cameras(20, 200'000, 9'000, true), 60'000'000);
  EXPECT_EQ(outcome.evicted, 0);
  EXPECT_LE(outcome.ages_us.back(), 200'000);
}

// A slow camera among fast ones loses nothing; the fast ones share the rest.
TEST(LatestJobs, ASlowSourceKeepsAllItsJobs) {
  Load load = Cameras(5, 100'000, 50'000, false);
  load.period_us[0] = 1'000'000;
  const Outcome outcome = Simulate(load, 100'000'000);
  EXPECT_GE(outcome.taken[0], 99);
  const auto [least, most] = std::minmax_element(outcome.taken.begin() + 1, outcome.taken.end());
  EXPECT_LE(*most - *least, 4);
}

TEST(LatestJobs, WhoWasSilentDoesNotMakeUpForIt) {
  LatestJobs jobs;
  std::vector<std::unique_ptr<Job>> made;
  const auto add = [&](uint32_t source) {
    made.push_back(std::make_unique<Job>(source, 0));
    jobs.Add(made.back().get(), static_cast<int64_t>(made.size()), 1);
  };
  for (int i = 0; i < 100; ++i) {
    add(1);
    jobs.Take();
  }
  std::map<uint32_t, int> taken;
  for (int i = 0; i < 20; ++i) {
    add(1);
    add(2);
    ++taken[jobs.Take()->source];
  }
  EXPECT_NEAR(taken[1], taken[2], static_cast<int>(LatestJobs::kCredit + 2 * LatestJobs::kSlack));
}

}  // namespace
}  // namespace sightline
