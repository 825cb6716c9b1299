// Times in nanoseconds, counted in buckets whose width is at most 1/256 of their value.
//
// 0 to 2^44 ns (5 hours); longer ones count as that. 76 KiB, whatever is counted. Not thread-safe.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

namespace sightline::load {

class LatencyHistogram {
 public:
  void Add(int64_t ns) {
    const uint64_t value = std::min<uint64_t>(ns < 0 ? 0 : static_cast<uint64_t>(ns), kMost);
    ++buckets_[IndexOf(value)];
    ++count_;
    max_ = std::max(max_, value);
  }

  uint64_t count() const { return count_; }

  // In milliseconds: the upper end of the bucket that the part (0 to 1) of all times ends in, 0 when
  // there are none. The longest time is exact.
  double QuantileMs(double part) const {
    if (count_ == 0) return 0;
    const auto wanted = static_cast<uint64_t>(part * static_cast<double>(count_));
    uint64_t seen = 0;
    for (size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i];
      if (seen > wanted) return static_cast<double>(std::min(EndOf(i), max_)) * 1e-6;
    }
    return MaxMs();
  }
  double MaxMs() const { return static_cast<double>(max_) * 1e-6; }

 private:
  static constexpr int kBits = 8;  // of a value that are told apart, after the first that is set
  static constexpr uint64_t kMost = (uint64_t{1} << 44) - 1;

  static size_t IndexOf(uint64_t value) {
    const int above = std::bit_width(value | ((uint64_t{1} << (kBits + 1)) - 1)) - (kBits + 1);
    return (static_cast<size_t>(above) << kBits) + (value >> above);
  }
  // The highest value of a bucket.
  static uint64_t EndOf(size_t index) {
    const size_t row = index >> kBits;
    if (row < 2) return index;  // of width 1
    const size_t above = row - 1;
    const uint64_t first = (index - (above << kBits)) << above;
    return first + (uint64_t{1} << above) - 1;
  }

  std::vector<uint64_t> buckets_ = std::vector<uint64_t>(size_t{37} << kBits);
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};

}  // namespace sightline::load
