// When to ask a server again, and how long to wait before.
//
// Threads: reentrant. Source of the statuses: RFC 9110, section 15, and RFC 6585, section 4.
#pragma once

#include <cstdint>
#include <optional>

namespace sightline::net {

// Waits double from first_wait_us to longest_wait_us. All chosen, not measured.
struct RetryPolicy {
  int max_attempts = 3;  // the first included; 1: never again
  int64_t first_wait_us = 500'000;
  int64_t longest_wait_us = 20'000'000;
};

// True for statuses that the same request may not get next time: 408, 425, 429, 500, 502, 503, 504
// and what others use for "overloaded" (529).
bool MayPass(int http_status);

// Before attempt `attempt` (2 is the first one that waits). What the server asked for goes before
// what we would do, also when it is longer than the policy's longest. `chance`, 0 to 1, spreads our
// own wait over its upper half, so that many clients do not come back at once.
int64_t RetryWaitUs(const RetryPolicy& policy, int attempt, std::optional<int64_t> retry_after_us,
                    double chance);

}  // namespace sightline::net
