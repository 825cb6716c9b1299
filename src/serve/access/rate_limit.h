// How much each caller may ask: a token bucket for the rate, and a count of what is being worked on.
//
// A bucket of `burst` tokens fills with `rate` tokens a second; a request takes one, and more afterwards
// where it turns out to be several (Charge()): the bucket may then owe some. A caller is a key's id or a
// client's address.
//
// Threads: safe; one lock for a look-up. Memory: callers that are back at a full bucket with nothing under
// way are forgotten when there are many; beyond max_callers with none to forget, new ones are refused.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/time.h"
#include "serve/access/key_file.h"

namespace sightline::serve {

struct RateAnswer {
  bool admitted = true;
  bool by_concurrency = false;  // refused because too many are under way
  int64_t retry_after_us = 0;   // of a refusal by rate: when there is a token
  // Of the bucket after this request; `has_rate` false: there is none.
  bool has_rate = false;
  int64_t limit = 0;
  int64_t remaining = 0;
  int64_t reset_us = 0;  // until it is full
  // Held while the request is worked on; null where there is no such limit, or it was refused.
  std::shared_ptr<const void> ticket;
};

class RateLimiter {
 public:
  explicit RateLimiter(const Clock& clock = Clock::Real(), size_t max_callers = 65'536)
      : clock_(clock), max_callers_(max_callers) {}

  // A request of that caller. Limits may change from one to the next: a fuller bucket is cut.
  RateAnswer Take(const std::string& caller, const CallerLimits& limits) EXCLUDES(mutex_);
  // So many tokens more of that caller, whether they are there or not: its next requests wait for them.
  void Charge(const std::string& caller, int64_t tokens) EXCLUDES(mutex_);
  size_t callers() const EXCLUDES(mutex_);

 private:
  struct Caller {
    double tokens = 0;
    int64_t filled_us = 0;  // when `tokens` was right
    CallerLimits limits;
    std::shared_ptr<const void> working;  // its use count is 1 + the requests under way
  };
  static void Fill(Caller& caller, int64_t now_us);
  void Forget(int64_t now_us) REQUIRES(mutex_);

  const Clock& clock_;
  const size_t max_callers_;
  mutable Mutex mutex_;
  std::unordered_map<std::string, Caller> callers_ GUARDED_BY(mutex_);
};

// The headers of the IETF draft "RateLimit header fields for HTTP" in the form that clients know
// (RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset in seconds); nothing without a rate.
std::vector<std::pair<std::string, std::string>> RateHeaders(const RateAnswer& answer);

// "100/s", "0.5/s", "100", "6000/m", "10/h" into a number a second; false for others, for 0 and for more
// than `most`.
bool ParseRate(std::string_view text, double most, double* per_s);

// Whole seconds for Retry-After, rounded up, at least 1.
int64_t RetryAfterS(int64_t us);

}  // namespace sightline::serve
