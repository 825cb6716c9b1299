#include "infer/waiting_jobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <vector>

namespace sightline {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Job final : BatchJob {
  Job(uint32_t from, int its_priority, int64_t deadline = 0) {
    source = from;
    priority = its_priority;
    deadline_us = deadline;
  }
  void Done(const absl::Status&) override {}
};

TEST(WaitingJobs, ThePrioritiesAreApart) {
  WaitingJobs waiting(8);
  EXPECT_EQ(waiting.priority(), kPriorityLevels + 1);
  Job low(1, 9), high(1, 2), high_too(2, 2);
  waiting.Add(&low, 9);
  waiting.Add(&high, 2);
  waiting.Add(&high_too, 2);
  EXPECT_EQ(waiting.priority(), 2);
  std::vector<BatchJob*> batch;
  waiting.Take(2, 8, 0, batch);
  EXPECT_THAT(batch, ElementsAre(&high, &high_too));
  EXPECT_EQ(waiting.priority(), 9);
  waiting.Take(9, 2, 0, batch);
  EXPECT_EQ(batch.size(), 2u) << "it was full";
  waiting.Take(9, 3, 0, batch);
  EXPECT_EQ(batch.back(), &low);
  EXPECT_EQ(waiting.size(), 0u);
}

TEST(WaitingJobs, WhatIsLateIsTakenOutOfTheMiddle) {
  WaitingJobs waiting(8);
  Job a(1, 1), b(1, 1, 100), c(1, 1), d(2, 1, 100), e(2, 1, 101);
  for (Job* job : {&a, &b, &c, &d, &e}) waiting.Add(job, 1);
  EXPECT_EQ(waiting.next_deadline_us(), 100);
  std::vector<BatchJob*> late, batch;
  waiting.TakeLate(99, late);
  EXPECT_THAT(late, IsEmpty());
  waiting.TakeLate(100, late);
  EXPECT_THAT(late, ElementsAre(&b, &d));
  EXPECT_EQ(waiting.next_deadline_us(), 101);
  waiting.Take(1, 8, 0, batch);
  EXPECT_THAT(batch, ElementsAre(&a, &e, &c));
  EXPECT_EQ(waiting.next_deadline_us(), INT64_MAX);
}

TEST(WaitingJobs, TheOldAreTakenOutOfEveryPriority) {
  WaitingJobs waiting(8);
  Job a(1, 1, 100), b(1, 9), c(1, 1), d(1, 1);
  int64_t now_us = 10;
  for (Job* job : {&a, &b, &c, &d}) {
    job->added_us = now_us++;
    waiting.Add(job, job->priority);
  }
  std::vector<BatchJob*> old, batch;
  waiting.TakeOld(10, 8, old);
  EXPECT_THAT(old, IsEmpty());
  waiting.TakeOld(12, 1, old);
  EXPECT_THAT(old, ElementsAre(&a)) << "no more than was asked for";
  waiting.TakeOld(12, 8, old);
  EXPECT_THAT(old, ElementsAre(&a, &b));
  EXPECT_EQ(waiting.next_deadline_us(), INT64_MAX);
  waiting.Take(1, 8, 0, batch);
  EXPECT_THAT(batch, ElementsAre(&c, &d));
  EXPECT_EQ(waiting.size(), 0u);
}

TEST(WaitingJobs, OfTheOldEachSourceKeepsItsShare) {
  WaitingJobs waiting(6);
  Job few(1, 1), a(2, 1), b(2, 1), c(2, 1), d(2, 1), fresh(2, 1);
  int64_t now_us = 0;
  for (Job* job : {&few, &a, &b, &c, &d, &fresh}) {
    job->added_us = now_us++;
    waiting.Add(job, 1);
  }
  std::vector<BatchJob*> old;
  waiting.TakeOld(5, 8, old);
  EXPECT_THAT(old, ElementsAre(&a, &b)) << "three of six places are the share of each";
}

// Anything, in any order, beside a list that is searched from end to end.
TEST(WaitingJobs, AgreesWithAPlainList) {
  struct Plain {
    std::vector<Job*> jobs;  // the oldest first
    std::vector<std::pair<int, uint32_t>> turns;
    void Forget(std::pair<int, uint32_t> key) {
      const bool there = std::any_of(jobs.begin(), jobs.end(), [&](const Job* job) {
        return job->priority == key.first && job->source == key.second;
      });
      if (!there) std::erase(turns, key);
    }
    void Add(Job* job) {
      jobs.push_back(job);
      const std::pair key{job->priority, job->source};
      if (std::find(turns.begin(), turns.end(), key) == turns.end()) turns.push_back(key);
    }
    std::vector<BatchJob*> Take(int priority, size_t most) {
      std::vector<BatchJob*> batch;
      while (batch.size() < most) {
        const auto turn = std::find_if(turns.begin(), turns.end(),
                                       [&](const auto& key) { return key.first == priority; });
        if (turn == turns.end()) break;
        const auto key = *turn;
        const auto job = std::find_if(jobs.begin(), jobs.end(), [&](const Job* one) {
          return one->priority == key.first && one->source == key.second;
        });
        batch.push_back(*job);
        jobs.erase(job);
        turns.erase(turn);
        turns.push_back(key);
        Forget(key);
      }
      return batch;
    }
    std::vector<BatchJob*> TakeLate(int64_t now_us) {
      std::vector<BatchJob*> late;
      for (size_t i = 0; i < jobs.size();) {
        Job* const job = jobs[i];
        if (job->deadline_us == 0 || job->deadline_us > now_us) {
          ++i;
          continue;
        }
        late.push_back(job);
        jobs.erase(jobs.begin() + static_cast<std::ptrdiff_t>(i));
        Forget({job->priority, job->source});
      }
      return late;
    }
  };
  std::mt19937 random(3);
  for (int round = 0; round < 50; ++round) {
    WaitingJobs waiting(20);
    Plain plain;
    std::deque<Job> all;
    for (int64_t step = 1; step < 2000; ++step) {
      if (random() % 2 == 0 && waiting.size() < waiting.capacity()) {
        const auto source = static_cast<uint32_t>(random() % 5);
        const int priority = static_cast<int>(1 + random() % 3);
        const int64_t deadline_us =
            random() % 3 == 0 ? step + static_cast<int64_t>(random() % 20) : 0;
        Job& job = all.emplace_back(source, priority, deadline_us);
        job.added_us = step;
        waiting.Add(&job, priority);
        plain.Add(&job);
      } else if (random() % 3 == 0) {
        std::vector<BatchJob*> late;
        waiting.TakeLate(step, late);
        ASSERT_EQ(late, plain.TakeLate(step));
      } else {
        const int priority = waiting.priority();
        if (priority > kPriorityLevels) continue;
        std::vector<BatchJob*> batch;
        const size_t most = 1 + random() % 6;
        waiting.Take(priority, most, 0, batch);
        ASSERT_EQ(batch, plain.Take(priority, most));
      }
      ASSERT_EQ(waiting.size(), plain.jobs.size());
      if (!plain.jobs.empty()) {
        ASSERT_EQ(waiting.oldest_us(), plain.jobs.front()->added_us);
      }
    }
    WaitingJobs larger(40);
    waiting.MoveTo(larger);
    EXPECT_EQ(waiting.size(), 0u);
    EXPECT_EQ(larger.size(), plain.jobs.size());
  }
}

}  // namespace
}  // namespace sightline
