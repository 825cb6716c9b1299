// Budget and cache.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "remote/answer_cache.h"
#include "remote/request_budget.h"
#include "remote/test_clock.h"

namespace sightline {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kSecondUs = 1'000'000;

int Taken(RequestBudget* budget, int tries) {
  int taken = 0;
  for (int i = 0; i < tries; ++i) taken += budget->TakeRequest().ok() ? 1 : 0;
  return taken;
}

TEST(RequestBudget, EveryLimitHoldsInItsWindow) {
  TestClock clock;
  RequestBudget budget({.requests_per_minute = 3, .requests_per_hour = 5, .requests_per_day = 7},
                       clock);
  EXPECT_EQ(Taken(&budget, 10), 3);
  const absl::Status spent = budget.TakeRequest();
  EXPECT_TRUE(absl::IsResourceExhausted(spent));
  EXPECT_THAT(std::string(MessageOf(spent)), HasSubstr("3 requests a minute"));
  EXPECT_THAT(std::string(MessageOf(spent)), HasSubstr("60 s"));
  clock.Advance(59 * kSecondUs);
  EXPECT_EQ(Taken(&budget, 10), 0);
  clock.Advance(kSecondUs);
  EXPECT_EQ(Taken(&budget, 10), 2) << "the hour's";
  clock.Advance(3600 * kSecondUs);
  EXPECT_EQ(Taken(&budget, 10), 2) << "the day's";
  clock.Advance(86400 * kSecondUs);
  EXPECT_EQ(Taken(&budget, 10), 3);
}

TEST(RequestBudget, WhatIsRefusedSpendsNothing) {
  TestClock clock;
  RequestBudget budget({.requests_per_minute = 2, .requests_per_day = 3}, clock);
  EXPECT_EQ(Taken(&budget, 100), 2);
  clock.Advance(60 * kSecondUs);
  EXPECT_EQ(Taken(&budget, 100), 1);
}

TEST(RequestBudget, TokensOfTheDay) {
  TestClock clock;
  RequestBudget budget({.tokens_per_day = 100}, clock);
  EXPECT_TRUE(budget.TakeRequest().ok());
  budget.AddTokens(99);
  budget.AddTokens(-1000);
  EXPECT_TRUE(budget.TakeRequest().ok());
  budget.AddTokens(500);
  EXPECT_TRUE(absl::IsResourceExhausted(budget.TakeRequest()));
  clock.Advance(86400 * kSecondUs);
  EXPECT_TRUE(budget.TakeRequest().ok());
}

TEST(RequestBudget, AClockThatGoesBackGivesNothingBack) {
  TestClock clock;
  RequestBudget budget({.requests_per_minute = 1}, clock);
  EXPECT_EQ(Taken(&budget, 5), 1);
  clock.SetUtcUs(clock.NowUtcUs() - 3600 * kSecondUs);
  EXPECT_EQ(Taken(&budget, 5), 0);
}

TEST(RequestBudget, HoldsBetweenThreads) {
  TestClock clock;
  RequestBudget budget({.requests_per_day = 500}, clock);
  std::atomic<int> taken{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { taken += Taken(&budget, 1000); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(taken, 500);
}

Answer AnswerOf(int32_t class_id) { return {.classes = {{class_id, 1}}}; }
int32_t ClassAt(AnswerCache* cache, uint64_t key) {
  const std::optional<Answer> found = cache->Find({key, 0});
  return found ? found->classes.at(0).class_id : -1;
}

TEST(AnswerCache, TheLeastRecentlyUsedGoes) {
  TestClock clock;
  AnswerCache cache(2, 10 * kSecondUs, clock);
  cache.Put({1, 0}, AnswerOf(1));
  cache.Put({2, 0}, AnswerOf(2));
  EXPECT_EQ(ClassAt(&cache, 1), 1);
  cache.Put({3, 0}, AnswerOf(3));
  EXPECT_EQ(ClassAt(&cache, 2), -1);
  EXPECT_EQ(ClassAt(&cache, 1), 1);
  EXPECT_EQ(ClassAt(&cache, 3), 3);
  cache.Put({1, 0}, AnswerOf(9));
  EXPECT_EQ(ClassAt(&cache, 1), 9);
  EXPECT_EQ(cache.size(), 2u);
  EXPECT_FALSE(cache.Find({1, 1}).has_value()) << "both halves of a key count";
}

TEST(AnswerCache, NothingOutlivesItsTime) {
  TestClock clock;
  AnswerCache cache(5, 10 * kSecondUs, clock);
  cache.Put({1, 0}, AnswerOf(1));
  clock.Advance(10 * kSecondUs - 1);
  EXPECT_EQ(ClassAt(&cache, 1), 1) << "and being used does not make it younger";
  clock.Advance(1);
  EXPECT_EQ(ClassAt(&cache, 1), -1);
  EXPECT_EQ(cache.size(), 0u);
}

TEST(AnswerCache, OfNoRoomKeepsNothing) {
  TestClock clock;
  AnswerCache cache(0, 10 * kSecondUs, clock);
  cache.Put({1, 0}, AnswerOf(1));
  EXPECT_EQ(cache.size(), 0u);
}

}  // namespace
}  // namespace sightline
