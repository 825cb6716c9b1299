#include "base/time.h"

#include <sys/resource.h>

#include <charconv>
#include <chrono>
#include <cmath>

#include "absl/time/time.h"

namespace sightline {
namespace {

class RealClock final : public Clock {
 public:
  int64_t NowUtcUs() const override {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
  int64_t NowMonotonicUs() const override {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
};

}  // namespace

const Clock& Clock::Real() {
  static const RealClock clock;
  return clock;
}

std::string FormatUtc(int64_t utc_us) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::FromUnixMicros(utc_us),
                          absl::UTCTimeZone());
}

absl::StatusOr<int64_t> ParseUtc(std::string_view text) {
  absl::Time time;
  std::string why;
  if (!absl::ParseTime(absl::RFC3339_full, absl::string_view(text.data(), text.size()), &time,
                       &why)) {
    return InvalidArgument("\"{}\" is no time: write it like 2026-01-31T12:34:56Z", text);
  }
  return absl::ToUnixMicros(time);
}

absl::StatusOr<int64_t> ParseDurationUs(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, text.data() + text.size() - end);
  double factor = 0;
  if (unit == "us") factor = 1;
  if (unit == "ms") factor = 1e3;
  if (unit == "s") factor = 1e6;
  if (unit == "m") factor = 60e6;
  if (unit == "h") factor = 3600e6;
  constexpr double kHundredYearsUs = 100.0 * 366 * 24 * 3600e6;
  if (error != std::errc() || factor == 0 || !(value >= 0) || value * factor > kHundredYearsUs) {
    return InvalidArgument("\"{}\" is no duration: write it like 250ms, 30s, 5m or 2h", text);
  }
  return static_cast<int64_t>(std::llround(value * factor));
}

double ProcessCpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return t.tv_sec + t.tv_usec * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double ThreadCpuSeconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + t.tv_nsec * 1e-9;
}

}  // namespace sightline
