// For tests: a clock that moves when it is told to; both times are one.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/time.h"

namespace sightline {

struct MovedClock final : Clock {
  int64_t NowUtcUs() const override { return now_us; }
  int64_t NowMonotonicUs() const override { return now_us; }
  std::atomic<int64_t> now_us{1'000'000};
};

}  // namespace sightline
