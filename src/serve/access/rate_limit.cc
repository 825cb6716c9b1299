#include "serve/access/rate_limit.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>

namespace sightline::serve {

void RateLimiter::Fill(Caller& caller, int64_t now_us) {
  const double seconds = static_cast<double>(std::max<int64_t>(0, now_us - caller.filled_us)) / 1e6;
  caller.tokens =
      std::min(caller.limits.capacity(), caller.tokens + seconds * caller.limits.rate_per_s);
  caller.filled_us = std::max(caller.filled_us, now_us);
}

// Cost: a look at every caller, once for many new ones.
void RateLimiter::Forget(int64_t now_us) {
  std::erase_if(callers_, [&](const auto& entry) {
    if (entry.second.working.use_count() > 1) return false;
    Caller caller = entry.second;
    Fill(caller, now_us);
    return caller.limits.rate_per_s <= 0 || caller.tokens >= caller.limits.capacity();
  });
}

RateAnswer RateLimiter::Take(const std::string& name, const CallerLimits& limits) {
  RateAnswer answer;
  if (limits.rate_per_s <= 0 && limits.concurrency <= 0) return answer;
  const int64_t now_us = clock_.NowMonotonicUs();
  const MutexLock lock(mutex_);
  auto at = callers_.find(name);
  if (at == callers_.end()) {
    if (callers_.size() >= max_callers_) Forget(now_us);
    if (callers_.size() >= max_callers_) {
      answer.admitted = false;
      answer.retry_after_us = 1'000'000;
      return answer;
    }
    at = callers_.emplace(name, Caller{}).first;
    at->second.working = std::make_shared<const char>();
    at->second.filled_us = now_us;
    at->second.limits = limits;
    at->second.tokens = limits.capacity();
  }
  Caller& caller = at->second;
  Fill(caller, now_us);
  caller.limits = limits;
  caller.tokens = std::min(caller.tokens, limits.capacity());
  if (limits.concurrency > 0 && caller.working.use_count() - 1 >= limits.concurrency) {
    answer.admitted = false;
    answer.by_concurrency = true;
    answer.retry_after_us = 1'000'000;
  }
  if (limits.rate_per_s > 0) {
    if (answer.admitted && caller.tokens < 1) {
      answer.admitted = false;
      answer.retry_after_us =
          static_cast<int64_t>(std::ceil((1 - caller.tokens) / limits.rate_per_s * 1e6));
    }
    if (answer.admitted) caller.tokens -= 1;
    answer.has_rate = true;
    answer.limit = static_cast<int64_t>(limits.capacity());
    answer.remaining = std::max<int64_t>(0, static_cast<int64_t>(caller.tokens));
    answer.reset_us =
        static_cast<int64_t>((limits.capacity() - caller.tokens) / limits.rate_per_s * 1e6);
  }
  if (answer.admitted && limits.concurrency > 0) answer.ticket = caller.working;
  return answer;
}

void RateLimiter::Charge(const std::string& name, int64_t tokens) {
  const MutexLock lock(mutex_);
  const auto at = callers_.find(name);
  if (at == callers_.end()) return;  // back at a full bucket, long ago
  Fill(at->second, clock_.NowMonotonicUs());
  at->second.tokens -= static_cast<double>(tokens);
}

size_t RateLimiter::callers() const {
  const MutexLock lock(mutex_);
  return callers_.size();
}

bool ParseRate(std::string_view text, double most, double* per_s) {
  double divisor = 1;
  if (text.size() > 2 && text[text.size() - 2] == '/') {
    const char unit = text.back();
    if (unit != 's' && unit != 'm' && unit != 'h') return false;
    divisor = unit == 's' ? 1 : (unit == 'm' ? 60 : 3600);
    text.remove_suffix(2);
  }
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !(value > 0 && value / divisor <= most)) return false;
  *per_s = value / divisor;
  return true;
}

int64_t RetryAfterS(int64_t us) { return std::max<int64_t>(1, (us + 999'999) / 1'000'000); }

std::vector<std::pair<std::string, std::string>> RateHeaders(const RateAnswer& answer) {
  if (!answer.has_rate) return {};
  return {{"RateLimit-Limit", std::to_string(answer.limit)},
          {"RateLimit-Remaining", std::to_string(answer.remaining)},
          {"RateLimit-Reset", std::to_string((answer.reset_us + 999'999) / 1'000'000)}};
}

}  // namespace sightline::serve
