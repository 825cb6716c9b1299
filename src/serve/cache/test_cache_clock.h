// A clock that a test moves.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/time.h"

namespace sightline::serve {

class CacheTestClock final : public Clock {
 public:
  int64_t NowUtcUs() const override { return now_us_.load(); }
  int64_t NowMonotonicUs() const override { return now_us_.load(); }
  void Move(int64_t us) { now_us_ += us; }

 private:
  std::atomic<int64_t> now_us_{1'000'000};
};

}  // namespace sightline::serve
