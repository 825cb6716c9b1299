// For tests: a clock that stands still until it is told otherwise.
#pragma once

#include <atomic>

#include "base/time.h"

namespace sightline {

class TestClock : public Clock {
 public:
  int64_t NowUtcUs() const override { return utc_us_; }
  int64_t NowMonotonicUs() const override { return monotonic_us_; }
  void Advance(int64_t us) {
    utc_us_ += us;
    monotonic_us_ += us;
  }
  void SetUtcUs(int64_t us) { utc_us_ = us; }

 private:
  std::atomic<int64_t> utc_us_{1'800'000'000'000'000};  // a full minute, 08:00 of a day
  std::atomic<int64_t> monotonic_us_{5'000'000};
};

}  // namespace sightline
