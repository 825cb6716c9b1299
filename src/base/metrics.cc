#include "base/metrics.h"

namespace sightline {

HistogramCounts Histogram::Counts() const {
  HistogramCounts counts;
  counts.bounds = bounds_;
  counts.per_unit = per_unit_;
  for (size_t i = 0; i <= bounds_.size(); ++i) {
    counts.buckets[i] = buckets_[i].load(std::memory_order_relaxed);
  }
  counts.sum = sum_.load(std::memory_order_relaxed);
  return counts;
}

}  // namespace sightline
