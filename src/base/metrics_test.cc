#include "base/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace sightline {
namespace {

TEST(MetricsTest, ValuesFallIntoTheirBuckets) {
  static constexpr int64_t kBounds[] = {10, 20};
  Histogram histogram(kBounds, 1);
  for (const int64_t value : {-5, 10, 11, 20, 21, 1000}) histogram.Observe(value);
  const HistogramCounts counts = histogram.Counts();
  EXPECT_EQ(counts.buckets[0], 2u);  // a bound belongs to the bucket below it
  EXPECT_EQ(counts.buckets[1], 2u);
  EXPECT_EQ(counts.buckets[2], 2u);
  EXPECT_EQ(counts.sum, 1057);
}

TEST(MetricsTest, BoundsRise) {
  for (const std::span<const int64_t> bounds :
       {std::span<const int64_t>(kStageBoundsUs), std::span<const int64_t>(kWaitBoundsUs)}) {
    EXPECT_LE(bounds.size(), HistogramCounts::kMostBounds);
    for (size_t i = 1; i < bounds.size(); ++i) EXPECT_LT(bounds[i - 1], bounds[i]);
  }
}

TEST(MetricsTest, NothingIsLostBetweenThreads) {
  Counter counter;
  Gauge gauge;
  Histogram histogram(kStageBoundsUs);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) {
        counter.Add();
        gauge.Add(i % 2 == 0 ? 1 : -1);
        histogram.Observe(i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter.value(), 40'000u);
  EXPECT_EQ(gauge.value(), 0);
  uint64_t sum = 0;
  for (const uint64_t n : histogram.Counts().buckets) sum += n;
  EXPECT_EQ(sum, 40'000u);
}

}  // namespace
}  // namespace sightline
