// Counters, gauges and histograms that the hot path can afford, and how they are collected.
//
// Whoever measures owns its metrics as members; whoever exports walks the owners with a MetricWriter.
// Nothing is registered anywhere, so what goes away takes its series along.
//
// Threads: safe; every change is one or two relaxed atomic additions. Memory: fixed, nothing allocates.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

namespace sightline {

class Counter {
 public:
  void Add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

class Gauge {
 public:
  void Set(int64_t value) { value_.store(value, std::memory_order_relaxed); }
  void Add(int64_t n) { value_.fetch_add(n, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

// What a histogram has seen. buckets[i] counts the values in (bounds[i-1], bounds[i]], the last one
// those above every bound.
struct HistogramCounts {
  static constexpr size_t kMostBounds = 20;
  std::span<const int64_t> bounds;
  std::array<uint64_t, kMostBounds + 1> buckets{};
  int64_t sum = 0;
  double per_unit = 1;  // so many are one of the metric's unit: 1e6 for us in seconds
};

// Counts whole numbers into fixed buckets. Cost: a comparison a bucket, two additions.
class Histogram {
 public:
  // `bounds` rise, are at most kMostBounds, and live for ever.
  explicit Histogram(std::span<const int64_t> bounds, double per_unit = 1e6)
      : bounds_(bounds), per_unit_(per_unit) {}

  void Observe(int64_t value) {
    size_t i = 0;
    while (i < bounds_.size() && value > bounds_[i]) ++i;
    buckets_[i].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
  }
  // Buckets and sum may be some observations apart while others count.
  HistogramCounts Counts() const;

 private:
  const std::span<const int64_t> bounds_;
  const double per_unit_;
  std::array<std::atomic<uint64_t>, HistogramCounts::kMostBounds + 1> buckets_{};
  std::atomic<int64_t> sum_{0};
};

// In us. Chosen: steps of 1-2.5-5, so that a quantile is known to within a factor of 2.5.
// Work of a stage on a frame: 50 us to 2.5 s.
inline constexpr int64_t kStageBoundsUs[] = {50,      100,     250,       500,      1'000,
                                             2'500,   5'000,   10'000,    25'000,   50'000,
                                             100'000, 250'000, 1'000'000, 2'500'000};
// Waiting, and the way from the camera to the rows: 1 ms to 60 s.
inline constexpr int64_t kWaitBoundsUs[] = {1'000,     2'500,     5'000,      10'000,    25'000,
                                            50'000,    100'000,   250'000,    500'000,   1'000'000,
                                            2'500'000, 5'000'000, 10'000'000, 60'000'000};

enum class MetricType { kCounter, kGauge, kHistogram };

// A metric's name, after Prometheus' conventions: sightline_, the thing, the unit, _total for
// counters. `help` is one line. docs/metrics.md explains each.
struct MetricInfo {
  std::string_view name;
  MetricType type = MetricType::kCounter;
  std::string_view help;
};

struct MetricLabel {
  std::string_view name;   // [a-z_]+
  std::string_view value;  // any bytes
};

// Takes the values of a walk, in any order of metrics. What it is given need not live on.
class MetricWriter {
 public:
  using Labels = std::initializer_list<MetricLabel>;
  virtual ~MetricWriter() = default;
  virtual void Write(const MetricInfo& metric, Labels labels, double value) = 0;
  virtual void Write(const MetricInfo& metric, Labels labels, const HistogramCounts& counts) = 0;
};

}  // namespace sightline
