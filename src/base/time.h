// Time: microseconds everywhere, in int64. "utc_us" is microseconds since 1970-01-01T00:00:00Z.
//
// Clock is injected wherever the wall clock or waiting matters, so that tests run on their own time.
// Threads: safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sightline {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t NowUtcUs() const = 0;
  virtual int64_t NowMonotonicUs() const = 0;
  static const Clock& Real();
};

// "2026-01-31T12:34:56.789012Z"
std::string FormatUtc(int64_t utc_us);

// RFC 3339 with "Z" or an offset, with or without a fraction of the second ("2026-01-31T12:34:56Z",
// "2026-01-31T12:34:56.5+02:00"). InvalidArgument for anything else.
absl::StatusOr<int64_t> ParseUtc(std::string_view text);

// The longest time that may be asked for: a leap year. Sums of some of them fit.
inline constexpr int64_t kLongestDurationUs = int64_t{366} * 24 * 3600 * 1'000'000;

// "250ms", "30s", "5m", "2h", "1.5s" to microseconds; InvalidArgument for anything else, for
// negative durations and for those of more than 100 years.
absl::StatusOr<int64_t> ParseDurationUs(std::string_view text);

// CPU time of this process so far, user plus system, all threads.
double ProcessCpuSeconds();
// The same of the calling thread.
double ThreadCpuSeconds();

}  // namespace sightline
