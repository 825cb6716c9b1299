#include "serve/inference/admission.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <vector>

namespace sightline::serve {
namespace {

constexpr int64_t kNowUs = 0;  // where there are no reservations
constexpr int64_t kBatchUs = 4000;

TEST(Admission, NothingWaitsWhereNothingWasMeasured) {
  Admission admission(1);
  EXPECT_EQ(admission.ExpectedWaitUs(8, kNowUs), 0);
  admission.Accepted(8, 1, 0);
  admission.Accepted(8, 1, 0);
  EXPECT_EQ(admission.ExpectedWaitUs(8, kNowUs), 0);
}

TEST(Admission, WhatIsAheadWaitsByTheRate) {
  Admission admission(2);
  for (int i = 0; i < 10; ++i) admission.Accepted(8, 1, 0);
  admission.Answered(8, 1, kBatchUs, 4000);
  admission.Answered(8, 1, kBatchUs, 8000);  // one every 4 ms
  EXPECT_EQ(admission.ExpectedWaitUs(8, kNowUs), 8 * 4000);
}

TEST(Admission, AnIdleInstanceMakesNobodyWait) {
  Admission admission(2);
  admission.Accepted(8, 1, 0);
  admission.Accepted(8, 1, 0);
  admission.Answered(8, 1, kBatchUs, 60'000'000);  // a minute
  EXPECT_EQ(admission.ExpectedWaitUs(8, kNowUs), 0)
      << "a slow run must not close the door for ever";
}

TEST(Admission, RowsCountAndNotRequests) {
  Admission admission(1);
  admission.Accepted(8, 10, 0);
  admission.Accepted(8, 30, 0);
  admission.Answered(8, 10, kBatchUs, 10'000);  // 1 ms a row
  EXPECT_EQ(admission.ExpectedWaitUs(8, kNowUs), 30'000);
}

TEST(Admission, TheUrgentWaitForTheUrgentAlone) {
  Admission admission(1);
  admission.Accepted(1, 1, 0);
  for (int i = 0; i < 9; ++i) admission.Accepted(8, 1, 0);
  for (int i = 0; i < 3; ++i) admission.Accepted(12, 1, 0);
  admission.Answered(8, 1, kBatchUs, 1000);
  EXPECT_EQ(admission.ExpectedWaitUs(1, kNowUs), 1000);
  EXPECT_EQ(admission.ExpectedWaitUs(8, kNowUs), 9000);
  EXPECT_EQ(admission.ExpectedWaitUs(16, kNowUs), 12'000);
  EXPECT_EQ(admission.ExpectedWaitUs(99, kNowUs), 12'000);
}

TEST(Admission, IdleTimeIsNoServiceTime) {
  Admission admission(1);
  int64_t now_us = 0;
  for (int i = 0; i < 100; ++i) {
    admission.Accepted(8, 1, now_us);
    admission.Answered(8, 1, kBatchUs, now_us + 2000);
    now_us += 1'000'000;  // and then nobody comes for a second
  }
  admission.Accepted(8, 1, now_us);
  EXPECT_EQ(admission.ExpectedWaitUs(8, kNowUs), 2000);
}

TEST(Admission, TheRateFollowsTheMachine) {
  Admission admission(1);
  int64_t now_us = 0;
  const auto run = [&](int64_t took_us, int times) {
    for (int i = 0; i < times; ++i) {
      admission.Accepted(8, 1, now_us);
      now_us += took_us;
      admission.Answered(8, 1, kBatchUs, now_us);
    }
  };
  run(1000, 5000);
  run(10'000, 1000);  // ten seconds: the window is one to two
  admission.Accepted(8, 1, now_us);
  EXPECT_NEAR(static_cast<double>(admission.ExpectedWaitUs(8, kNowUs)), 10'000, 100);
}

TEST(Admission, BodiesOnTheirWayCountForAWhile) {
  Admission admission(1);
  admission.Accepted(8, 1, 0);
  admission.Answered(8, 1, kBatchUs, 1000);  // 1 ms a row
  int64_t now_us = 1000;
  for (int i = 0; i < 5; ++i) admission.Reserve(now_us);
  EXPECT_EQ(admission.ExpectedWaitUs(8, now_us), 5000);
  admission.Redeem();
  admission.Accepted(8, 3, now_us);
  EXPECT_EQ(admission.ExpectedWaitUs(8, now_us), 7000);
  admission.Reserve(now_us + 1);
  now_us += Admission::kReservedUs;
  EXPECT_EQ(admission.ExpectedWaitUs(8, now_us), 4000) << "the first five are forgotten";
  EXPECT_EQ(admission.ExpectedWaitUs(8, now_us + 1), 3000);
  admission.Redeem();  // of one that was forgotten
  EXPECT_EQ(admission.ExpectedWaitUs(8, now_us + 1), 3000);
}

TEST(Admission, ErrorsSayWhenToComeBack) {
  const absl::Status status = Overloaded("m", 300'000, 100'000);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(RetryAfterUsOf(status), 200'000);
  EXPECT_EQ(RetryAfterUsOf(ResourceExhausted("full")), 0);
}

TEST(Admission, AFullQueueBeginsAnOverloadAndCalmEndsIt) {
  Admission admission(1);
  EXPECT_FALSE(admission.Overflowed(0)) << "nothing was measured";
  EXPECT_FALSE(admission.IsOverloaded(0));
  admission.Accepted(8, 1, 0);
  admission.Answered(8, 1, kBatchUs, 0);
  EXPECT_TRUE(admission.Overflowed(1000));
  EXPECT_TRUE(admission.IsOverloaded(1000));
  EXPECT_FALSE(admission.Overflowed(2000)) << "it lasts";
  int64_t now_us = 2000;
  for (int i = 0; i < 5; ++i) {
    now_us += Admission::kCalmUs - 1;
    EXPECT_TRUE(admission.IsOverloaded(now_us));
    admission.Refused(now_us, /*by_overload=*/true);
  }
  EXPECT_EQ(admission.refused(), 5u);
  now_us += Admission::kCalmUs - 1;
  admission.Refused(now_us);  // for a timeout of its own, which says nothing of others
  EXPECT_FALSE(admission.IsOverloaded(++now_us));
  admission.Refused(now_us, /*by_overload=*/true);  // looked at before it ended
  EXPECT_FALSE(admission.IsOverloaded(now_us)) << "a refusal alone is no overload";
  EXPECT_TRUE(admission.Overflowed(now_us)) << "a new one";
}

TEST(Admission, WhatWasNotBegunWasNoWork) {
  Admission admission(1);
  for (int i = 0; i < 100; ++i) admission.Accepted(8, 1, 0);
  admission.Answered(8, 1, 1000, 1000);
  for (int i = 0; i < 97; ++i) admission.NotBegun(8, 1, 1000);
  EXPECT_EQ(admission.ExpectedWaitUs(8, kNowUs), 2000) << "1 ms a row, and two are there";
}

TEST(Admission, AnOverloadLetsAFewBatchesWait) {
  Admission admission(1);
  EXPECT_EQ(admission.OverloadWaitUs(), Admission::kLeastOverloadWaitUs);
  for (int i = 0; i < 200; ++i) {
    admission.Accepted(8, 1, 0);
    admission.Answered(8, 1, i < 100 ? 50'000 : 10'000, 0);
    admission.Answered(8, 0, /*batch_us=*/0, 0);  // what is not known says nothing
  }
  EXPECT_NEAR(static_cast<double>(admission.OverloadWaitUs()), 25'000, 100);
}

// A queue before one server that takes 1 to 8 jobs at once, on simulated time: requests come at a
// multiple of what it can do, and are let in while the expected wait is within the limit.
struct Simulated {
  double goodput_per_s = 0;
  int64_t p99_us = 0;
};

Simulated Simulate(double load, int64_t limit_us) {
  constexpr int64_t kBatchUs = 8000;  // + 2000 a job: at most 8 in 24 ms, 333/s
  constexpr int64_t kJobUs = 2000;
  constexpr size_t kMostBatch = 8;
  constexpr int64_t kEndUs = 60'000'000;
  Admission admission(1);
  std::deque<int64_t> waiting;
  std::vector<int64_t> running, took;
  int64_t free_us = -1;  // when the batch ends; -1: idle
  const double gap_us = 1e6 / (333.0 * load);
  double next_us = 0;
  while (next_us < kEndUs) {
    const auto now_us = free_us >= 0 && static_cast<double>(free_us) <= next_us
                            ? free_us
                            : static_cast<int64_t>(next_us);
    if (now_us == free_us) {
      for (const int64_t came_us : running) {
        admission.Answered(8, 1, kBatchUs, now_us);
        if (now_us > kEndUs / 6) took.push_back(now_us - came_us);
      }
      running.clear();
      free_us = -1;
    } else {
      next_us += gap_us;
      if (admission.ExpectedWaitUs(8, now_us) <= limit_us) {
        admission.Accepted(8, 1, now_us);
        waiting.push_back(now_us);
      }
    }
    if (free_us < 0 && !waiting.empty()) {
      while (!waiting.empty() && running.size() < kMostBatch) {
        running.push_back(waiting.front());
        waiting.pop_front();
      }
      free_us = now_us + kBatchUs + kJobUs * static_cast<int64_t>(running.size());
    }
  }
  std::sort(took.begin(), took.end());
  return {static_cast<double>(took.size()) / (kEndUs / 1e6 * 5 / 6), took[took.size() * 99 / 100]};
}

TEST(Admission, UnderOverloadAsMuchIsDoneAndNobodyWaitsLong) {
  constexpr int64_t kLimitUs = 50'000;
  const Simulated nominal = Simulate(0.9, kLimitUs);
  EXPECT_NEAR(nominal.goodput_per_s, 300, 15);
  for (const double load : {3.0, 10.0}) {
    const Simulated over = Simulate(load, kLimitUs);
    EXPECT_GE(over.goodput_per_s, 0.95 * 333) << load;
    // The limit, a batch under way, and its own.
    EXPECT_LE(over.p99_us, kLimitUs + 24'000 + 24'000) << load;
  }
}

}  // namespace
}  // namespace sightline::serve
