#include "net/retry.h"

#include <algorithm>

namespace sightline::net {

bool MayPass(int http_status) {
  switch (http_status) {
    case 408:
    case 425:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
    case 529:
      return true;
    default:
      return false;
  }
}

int64_t RetryWaitUs(const RetryPolicy& policy, int attempt, std::optional<int64_t> retry_after_us,
                    double chance) {
  if (retry_after_us) return std::max<int64_t>(0, *retry_after_us);
  int64_t wait_us = std::max<int64_t>(0, policy.first_wait_us);
  for (int i = 2; i < attempt && wait_us < policy.longest_wait_us; ++i) wait_us *= 2;
  wait_us = std::min(wait_us, std::max<int64_t>(0, policy.longest_wait_us));
  return wait_us / 2 + static_cast<int64_t>(std::clamp(chance, 0.0, 1.0) *
                                            static_cast<double>(wait_us - wait_us / 2));
}

}  // namespace sightline::net
