#include "serve/cache/result_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "base/test_clock.h"
#include "serve/cache/memory_store.h"

namespace sightline::serve {
namespace {

CacheKey Key(int number) { return CacheKeyHasher().Add(number).Finish(); }
CachedBytes Bytes(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

class ResultCacheTest : public ::testing::Test {
 protected:
  using Computed = ResultCache::Computed;
  using Answer = absl::StatusOr<CachedAnswer>;

  // Holds its callers until the test answers.
  ResultCache::Compute Held() {
    return [this](Computed computed) { held_.push_back(std::move(computed)); };
  }
  ResultCache::Done Into(std::vector<Answer>& answers) {
    return [&answers](Answer&& answer) { answers.push_back(std::move(answer)); };
  }

  MovedClock clock_;
  std::shared_ptr<MemoryStore> store_ =
      std::make_shared<MemoryStore>(MemoryStoreOptions{.clock = &clock_});
  ResultCache cache_{store_, {.max_waiting = 1000, .clock = &clock_}};
  std::vector<Computed> held_;
};

TEST_F(ResultCacheTest, ComputesOnceAndHitsAfterwards) {
  std::vector<Answer> answers;
  const auto compute = [](Computed computed) { computed(Bytes("one")); };
  cache_.Get(Key(1), compute, Into(answers));
  cache_.Get(
      Key(1), [](Computed) { FAIL() << "computed twice"; }, Into(answers));
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(*answers[0]->bytes, "one");
  EXPECT_EQ(answers[0]->hit, CacheHit::kNone);
  EXPECT_EQ(*answers[1]->bytes, "one");
  EXPECT_EQ(answers[1]->hit, CacheHit::kExact);
  EXPECT_EQ(cache_.Counts().misses, 1u);
  EXPECT_EQ(cache_.Counts().exact, 1u);
  EXPECT_EQ(cache_.Counts().hits(), 1u);
}

TEST_F(ResultCacheTest, AStampedeComputesOnce) {
  std::vector<Answer> answers;
  for (int i = 0; i < 100; ++i) cache_.Get(Key(1), Held(), Into(answers));
  cache_.Get(Key(2), Held(), Into(answers));
  ASSERT_EQ(held_.size(), 2u);
  EXPECT_EQ(cache_.Counts().waiting, 99u);
  held_[0](Bytes("one"));
  ASSERT_EQ(answers.size(), 100u);
  for (const Answer& answer : answers) EXPECT_EQ(*answer->bytes, "one");
  EXPECT_EQ(answers[0]->hit, CacheHit::kNone);
  EXPECT_EQ(answers[1]->hit, CacheHit::kShared);
  EXPECT_EQ(cache_.Counts().waiting, 0u);
  EXPECT_EQ(cache_.Counts().shared, 99u);
  EXPECT_EQ(cache_.Counts().misses, 2u);
  held_[1](Bytes("two"));
  EXPECT_EQ(*answers[100]->bytes, "two");
}

TEST_F(ResultCacheTest, AFailureGoesToAllOnceAndIsNotKept) {
  std::vector<Answer> answers;
  for (int i = 0; i < 3; ++i) cache_.Get(Key(1), Held(), Into(answers));
  held_[0](Internal("the model failed"));
  held_[0](Bytes("a second answer is none"));
  ASSERT_EQ(answers.size(), 3u);
  for (const Answer& answer : answers) {
    EXPECT_EQ(answer.status(), Internal("the model failed"));
  }
  cache_.Get(Key(1), Held(), Into(answers));
  ASSERT_EQ(held_.size(), 2u) << "computed anew";
  held_[1](Bytes("one"));
  EXPECT_TRUE(answers[3].ok());
  EXPECT_EQ(cache_.Counts().failures, 1u);
}

TEST_F(ResultCacheTest, WhoseCallerWentAwayIsComputedByTheNext) {
  std::vector<Answer> answers;
  for (int i = 0; i < 3; ++i) cache_.Get(Key(1), Held(), Into(answers));
  held_[0](DeadlineExceeded("too late for the first"));
  ASSERT_EQ(held_.size(), 2u);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_TRUE(absl::IsDeadlineExceeded(answers[0].status()));
  held_[1](Bytes("one"));
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[1]->hit, CacheHit::kNone);
  EXPECT_EQ(answers[2]->hit, CacheHit::kShared);
  EXPECT_EQ(*answers[2]->bytes, "one");
}

// Each fails at once: as a recursion it would need a stack for all.
TEST_F(ResultCacheTest, ARowOfThemIsALoop) {
  ResultCache cache(store_, {.max_waiting = 200'000, .clock = &clock_});
  std::vector<Answer> answers;
  cache.Get(Key(1), Held(), Into(answers));
  for (int i = 0; i < 100'000; ++i) {
    cache.Get(
        Key(1), [](Computed computed) { computed(absl::CancelledError("gone")); }, Into(answers));
  }
  held_[0](absl::CancelledError("gone"));
  EXPECT_EQ(answers.size(), 100'001u);
  EXPECT_EQ(cache.Counts().waiting, 0u);
}

TEST_F(ResultCacheTest, NobodyIsHeldBeyondItsDeadline) {
  int woken = 0;
  cache_.OnDeadline([&] { ++woken; });
  std::vector<Answer> first, early, late;
  const int64_t now_us = clock_.NowMonotonicUs();
  cache_.Get(Key(1), Held(), Into(first));
  EXPECT_EQ(cache_.ReleaseLate(), 0);
  cache_.Get(Key(1), Held(), Into(late), now_us + 2000);
  cache_.Get(Key(1), Held(), Into(early), now_us + 1000);
  EXPECT_EQ(woken, 2);
  EXPECT_EQ(cache_.ReleaseLate(), now_us + 1000);
  clock_.now_us += 1000;
  EXPECT_EQ(cache_.ReleaseLate(), now_us + 2000);
  ASSERT_EQ(early.size(), 1u);
  EXPECT_TRUE(absl::IsDeadlineExceeded(early[0].status()));
  EXPECT_TRUE(late.empty());
  held_[0](Bytes("one"));
  EXPECT_EQ(early.size(), 1u);
  ASSERT_EQ(late.size(), 1u);
  EXPECT_EQ(*late[0]->bytes, "one");
  EXPECT_EQ(cache_.Counts().late, 1u);
  EXPECT_EQ(cache_.ReleaseLate(), 0);
}

TEST_F(ResultCacheTest, BeyondTheBoundOneComputesForItself) {
  ResultCache cache(store_, {.max_waiting = 2, .clock = &clock_});
  std::vector<Answer> answers;
  for (int i = 0; i < 4; ++i) cache.Get(Key(1), Held(), Into(answers));
  ASSERT_EQ(held_.size(), 2u);
  held_[1](Bytes("for the fourth alone"));
  ASSERT_EQ(answers.size(), 1u);
  held_[0](Bytes("one"));
  EXPECT_EQ(answers.size(), 4u);
  EXPECT_EQ(cache.Counts().alone, 1u);
}

TEST_F(ResultCacheTest, AComputationThatIsDroppedIsAnError) {
  std::vector<Answer> answers;
  for (int i = 0; i < 2; ++i) cache_.Get(Key(1), Held(), Into(answers));
  held_.clear();
  ASSERT_EQ(answers.size(), 2u);
  for (const Answer& answer : answers) EXPECT_TRUE(absl::IsInternal(answer.status()));
  cache_.Get(
      Key(1), [](Computed computed) { computed(nullptr); }, Into(answers));
  EXPECT_TRUE(absl::IsInternal(answers[2].status()));
}

TEST_F(ResultCacheTest, ComputationsOutliveTheCache) {
  std::vector<Answer> answers;
  {
    ResultCache cache(store_, {.clock = &clock_});
    for (int i = 0; i < 2; ++i) cache.Get(Key(1), Held(), Into(answers));
  }
  held_[0](Bytes("one"));
  EXPECT_EQ(answers.size(), 2u);
}

TEST_F(ResultCacheTest, FindCountsItsKindAndNoMiss) {
  CachedBytes found = Bytes("");
  cache_.Find(Key(1), CacheHit::kPerceptual, [&](CachedBytes bytes) { found = std::move(bytes); });
  EXPECT_EQ(found, nullptr);
  cache_.Put(Key(1), Bytes("one"));
  cache_.Find(Key(1), CacheHit::kPerceptual, [&](CachedBytes bytes) { found = std::move(bytes); });
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(*found, "one");
  EXPECT_EQ(cache_.Counts().perceptual, 1u);
  EXPECT_EQ(cache_.Counts().misses, 0u);
}

// Many threads, few keys, values that tell their key; computations end on other threads.
TEST(ResultCacheThreads, EveryoneHasTheRightValueOnce) {
  MemoryStoreOptions small;
  small.max_bytes = 8 * 1024;  // so that entries go all the time
  ResultCache cache(std::make_shared<MemoryStore>(small), {});
  constexpr int kThreads = 4, kCalls = 3000, kKeys = 40;
  std::atomic<int> answered{0}, wrong{0}, running{0};
  std::array<std::atomic<int>, kKeys> inside{};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      uint32_t state = static_cast<uint32_t>(t) + 1;
      for (int i = 0; i < kCalls; ++i) {
        state = state * 1664525u + 1013904223u;
        const int number = static_cast<int>(state >> 16) % kKeys;
        cache.Get(
            Key(number),
            [&, number](ResultCache::Computed computed) {
              if (inside[static_cast<size_t>(number)].fetch_add(1) != 0) ++wrong;
              inside[static_cast<size_t>(number)].fetch_sub(1);
              computed(Bytes(std::to_string(number)));
            },
            [&, number](absl::StatusOr<CachedAnswer>&& answer) {
              if (!answer.ok() || *answer->bytes != std::to_string(number)) ++wrong;
              ++answered;
            });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered, kThreads * kCalls);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(running, 0);
  const CacheCounts counts = cache.Counts();
  EXPECT_EQ(counts.hits() + counts.misses, static_cast<uint64_t>(kThreads * kCalls));
  EXPECT_EQ(counts.waiting, 0u);
  EXPECT_LE(counts.store.bytes, counts.store.limit_bytes);
}

}  // namespace
}  // namespace sightline::serve
