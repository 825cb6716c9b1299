// How many requests and tokens may be spent: counted by whole minutes, hours and days of UTC.
//
// The limit holds within each of them, so around a full minute up to twice as many requests can fall
// within 60 s. A day's tokens are known only behind each answer: those in flight when the limit is
// reached still add theirs. Counts are of this process and begin at zero with it.
//
// Threads: safe. Cost: one lock.
#pragma once

#include <array>
#include <cstdint>

#include "base/mutex.h"
#include "base/status.h"
#include "base/time.h"

namespace sightline {

// 0: without limit.
struct RequestLimits {
  int64_t requests_per_minute = 0;
  int64_t requests_per_hour = 0;
  int64_t requests_per_day = 0;
  int64_t tokens_per_day = 0;
};

class RequestBudget {
 public:
  // `clock` must live as long.
  RequestBudget(const RequestLimits& limits, const Clock& clock) : limits_(limits), clock_(clock) {}

  // Takes one request out of every limit, or out of none: ResourceExhausted with the limit that is
  // spent and when there will be more.
  absl::Status TakeRequest() EXCLUDES(mutex_);
  void AddTokens(int64_t tokens) EXCLUDES(mutex_);

 private:
  struct Window {
    int64_t index = 0;  // which minute, hour or day since 1970
    int64_t spent = 0;
  };
  // Begins the window that it is now. A clock that goes back begins none.
  void Advance(Window* window, int64_t length_us) REQUIRES(mutex_);

  const RequestLimits limits_;
  const Clock& clock_;
  Mutex mutex_;
  std::array<Window, 3> requests_ GUARDED_BY(mutex_);  // by minute, hour, day
  Window tokens_ GUARDED_BY(mutex_);
};

}  // namespace sightline
