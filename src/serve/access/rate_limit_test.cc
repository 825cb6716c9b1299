#include "serve/access/rate_limit.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "remote/test_clock.h"

namespace sightline::serve {
namespace {

TEST(RateLimit, ABurstGoesAndThenTheRate) {
  TestClock clock;
  RateLimiter limiter(clock);
  const CallerLimits limits{.rate_per_s = 10, .burst = 3};
  for (int i = 2; i >= 0; --i) {
    const RateAnswer answer = limiter.Take("a", limits);
    EXPECT_TRUE(answer.admitted);
    EXPECT_EQ(answer.limit, 3);
    EXPECT_EQ(answer.remaining, i);
  }
  RateAnswer refused = limiter.Take("a", limits);
  EXPECT_FALSE(refused.admitted);
  EXPECT_FALSE(refused.by_concurrency);
  EXPECT_EQ(refused.retry_after_us, 100'000);
  EXPECT_EQ(refused.reset_us, 300'000);
  clock.Advance(99'000);
  EXPECT_FALSE(limiter.Take("a", limits).admitted);
  clock.Advance(1'001);
  EXPECT_TRUE(limiter.Take("a", limits).admitted);
  EXPECT_FALSE(limiter.Take("a", limits).admitted);
  clock.Advance(3'600'000'000);
  EXPECT_EQ(limiter.Take("a", limits).remaining, 2) << "no more than a full bucket";
}

TEST(RateLimit, OverASecondTheRateIsKeptExactly) {
  TestClock clock;
  RateLimiter limiter(clock);
  const CallerLimits limits{.rate_per_s = 100, .burst = 1};
  int admitted = 0;
  for (int i = 0; i < 100'000; ++i) {  // every 100 us for ten seconds
    admitted += limiter.Take("a", limits).admitted ? 1 : 0;
    clock.Advance(100);
  }
  EXPECT_NEAR(admitted, 1000, 1);
}

TEST(RateLimit, CallersDoNotShare) {
  TestClock clock;
  RateLimiter limiter(clock);
  const CallerLimits limits{.rate_per_s = 1, .burst = 1};
  EXPECT_TRUE(limiter.Take("a", limits).admitted);
  EXPECT_TRUE(limiter.Take("b", limits).admitted);
  EXPECT_FALSE(limiter.Take("a", limits).admitted);
}

TEST(RateLimit, ARateAloneHasABucketOfASecond) {
  TestClock clock;
  RateLimiter limiter(clock);
  EXPECT_EQ(limiter.Take("a", {.rate_per_s = 20}).limit, 20);
  EXPECT_EQ(limiter.Take("b", {.rate_per_s = 0.1}).limit, 1);
}

TEST(RateLimit, ConcurrencyEndsWithTheTicket) {
  TestClock clock;
  RateLimiter limiter(clock);
  const CallerLimits limits{.concurrency = 2};
  RateAnswer first = limiter.Take("a", limits);
  RateAnswer second = limiter.Take("a", limits);
  EXPECT_TRUE(first.admitted && second.admitted);
  EXPECT_FALSE(first.has_rate);
  const RateAnswer third = limiter.Take("a", limits);
  EXPECT_FALSE(third.admitted);
  EXPECT_TRUE(third.by_concurrency);
  EXPECT_EQ(third.ticket, nullptr);
  const std::shared_ptr<const void> copy = first.ticket;
  first.ticket.reset();
  EXPECT_TRUE(limiter.Take("a", limits).admitted == false) << "a copy counts no less";
  second.ticket.reset();
  EXPECT_TRUE(limiter.Take("a", limits).admitted);
}

TEST(RateLimit, ARefusalForConcurrencyCostsNoToken) {
  TestClock clock;
  RateLimiter limiter(clock);
  const CallerLimits limits{.rate_per_s = 1, .burst = 2, .concurrency = 1};
  RateAnswer first = limiter.Take("a", limits);
  EXPECT_FALSE(limiter.Take("a", limits).admitted);
  first.ticket.reset();
  EXPECT_TRUE(limiter.Take("a", limits).admitted);
}

TEST(RateLimit, LimitsThatChangeAreKeptAtOnce) {
  TestClock clock;
  RateLimiter limiter(clock);
  EXPECT_TRUE(limiter.Take("a", {.rate_per_s = 100, .burst = 100}).admitted);
  EXPECT_EQ(limiter.Take("a", {.rate_per_s = 1, .burst = 2}).remaining, 1);
}

TEST(RateLimit, WithoutLimitsNothingIsKept) {
  RateLimiter limiter;
  EXPECT_TRUE(limiter.Take("a", {}).admitted);
  EXPECT_EQ(limiter.callers(), 0u);
}

TEST(RateLimit, CallersAreForgottenAndBounded) {
  TestClock clock;
  RateLimiter limiter(clock, /*max_callers=*/4);
  const CallerLimits limits{.rate_per_s = 1, .burst = 1};
  for (const char* name : {"a", "b", "c", "d"}) EXPECT_TRUE(limiter.Take(name, limits).admitted);
  EXPECT_FALSE(limiter.Take("e", limits).admitted) << "all of them still pay";
  EXPECT_EQ(limiter.callers(), 4u);
  const RateAnswer held = limiter.Take("a", {.concurrency = 1});
  clock.Advance(2'000'000);
  EXPECT_TRUE(limiter.Take("e", limits).admitted);
  EXPECT_LE(limiter.callers(), 2u) << "the one under way and the new one";
}

TEST(RateLimit, RatesAreRead) {
  const auto read = [](std::string_view text) {
    double per_s = -1;
    return ParseRate(text, 1e9, &per_s) ? per_s : -1;
  };
  EXPECT_EQ(read("100/s"), 100);
  EXPECT_EQ(read("0.5"), 0.5);
  EXPECT_EQ(read("60/m"), 1);
  EXPECT_EQ(read("3600/h"), 1);
  for (const char* text :
       {"", "0", "-1", "/s", "1/x", "1/", "nan", "inf", "1e10", "1 /s", "fast"}) {
    EXPECT_EQ(read(text), -1) << text;
  }
}

TEST(RateLimit, HeadersSayWhatIsLeft) {
  EXPECT_TRUE(RateHeaders({}).empty());
  RateAnswer answer;
  answer.has_rate = true;
  answer.limit = 5;
  answer.remaining = 2;
  answer.reset_us = 1'000'001;
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"RateLimit-Limit", "5"}, {"RateLimit-Remaining", "2"}, {"RateLimit-Reset", "2"}};
  EXPECT_EQ(RateHeaders(answer), expected);
  EXPECT_EQ(RetryAfterS(0), 1);
  EXPECT_EQ(RetryAfterS(1'000'000), 1);
  EXPECT_EQ(RetryAfterS(1'000'001), 2);
}

TEST(RateLimit, WhatTurnsOutToBeMoreIsOwed) {
  TestClock clock;
  RateLimiter limiter(clock);
  const CallerLimits limits{.rate_per_s = 2, .burst = 3};
  EXPECT_TRUE(limiter.Take("a", limits).admitted);
  limiter.Charge("a", 7);  // 2 were left: 5 are owed
  const RateAnswer refused = limiter.Take("a", limits);
  EXPECT_FALSE(refused.admitted);
  EXPECT_EQ(refused.remaining, 0);
  EXPECT_EQ(refused.retry_after_us, 3'000'000) << "for 5 and its own";
  EXPECT_EQ(refused.reset_us, 4'000'000);
  EXPECT_TRUE(limiter.Take("b", limits).admitted);
  clock.Advance(2'999'000);
  EXPECT_FALSE(limiter.Take("a", limits).admitted);
  clock.Advance(1'001);
  EXPECT_TRUE(limiter.Take("a", limits).admitted);
  limiter.Charge("nobody", 5);
  EXPECT_EQ(limiter.callers(), 2u);
}

}  // namespace
}  // namespace sightline::serve
