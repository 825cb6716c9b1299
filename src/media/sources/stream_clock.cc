#include "media/sources/stream_clock.h"

#include <algorithm>
#include <cmath>

namespace sightline {
namespace {

constexpr double kDefaultFps = 25;              // chosen; PAL's rate, as other tools assume
constexpr double kMaxPeriodUs = 3'600'000'000;  // a picture an hour: time lapse

StreamClock::Options Sane(StreamClock::Options options) {
  if (options.time_base_num <= 0 || options.time_base_den <= 0) {
    options.time_base_num = 1;
    options.time_base_den = 1'000'000;
  }
  return options;
}

}  // namespace

StreamClock::StreamClock(const Options& options) : options_(Sane(options)) {
  const double fps = options_.fps > 0 && std::isfinite(options_.fps) ? options_.fps : kDefaultFps;
  period_us_ = std::clamp(1e6 / fps, 1.0, kMaxPeriodUs);
}

// Rounds to nearest, halves up; |ticks| < 2^65 and the time base's terms < 2^31 fit in 128 bits.
StreamClock::Wide StreamClock::ToUs(Wide ticks) const {
  const Wide scaled = ticks * options_.time_base_num * 1'000'000 * 2 + options_.time_base_den;
  const Wide divisor = static_cast<Wide>(options_.time_base_den) * 2;
  Wide us = scaled / divisor;
  if (scaled % divisor < 0) --us;
  return us;
}

StreamClock::Wide StreamClock::ToTicks(int64_t us) const {
  return static_cast<Wide>(us) * options_.time_base_den /
         (options_.time_base_num * Wide{1'000'000});
}

int64_t StreamClock::ExpectedUs() const {
  if (last_us_ < 0) return 0;
  const int64_t exact =
      anchor_us_ + std::llround(period_us_ * static_cast<double>(since_anchor_ + 1));
  return std::max(exact, last_us_ + 1);
}

bool StreamClock::IsNear(Wide us) const {
  return us > last_us_ - kMaxBackUs && us <= Wide{ExpectedUs()} + kMaxAheadUs;
}

void StreamClock::StartEpoch(Wide ticks) {
  epoch_start_us_ += ExpectedUs();
  ++epoch_;
  base_ticks_ = ticks;
  last_us_ = -1;
}

FrameTime StreamClock::Emit(int64_t pts_us) {
  last_us_ = pts_us;
  return {.pts_us = pts_us,
          .epoch = epoch_,
          .capture_utc_us = options_.start_utc_us + epoch_start_us_ + pts_us,
          .clock = options_.clock};
}

FrameTime StreamClock::Next(std::optional<int64_t> stamp) {
  if (!stamp.has_value()) {
    const int64_t us = ExpectedUs();
    if (last_us_ < 0) {
      anchor_us_ = 0;
      since_anchor_ = 0;
    } else {
      ++since_anchor_;
    }
    return Emit(us);
  }
  Wide ticks = Wide{*stamp} + wrap_ticks_;
  if (!base_ticks_.has_value()) base_ticks_ = ticks - ToTicks(ExpectedUs());
  Wide us = ToUs(ticks - *base_ticks_);
  if (last_us_ >= 0 && !IsNear(us) && options_.wrap_bits < 63) {
    const Wide turn = Wide{1} << options_.wrap_bits;
    for (const Wide shift : {turn, -turn}) {
      const Wide unwrapped = ToUs(ticks + shift - *base_ticks_);
      if (!IsNear(unwrapped)) continue;
      wrap_ticks_ += shift;
      ticks += shift;
      us = unwrapped;
      break;
    }
  }
  if (last_us_ >= 0 && !IsNear(us)) {
    StartEpoch(ticks);
    us = 0;
  }
  anchor_us_ = std::max(static_cast<int64_t>(us), last_us_ + 1);
  since_anchor_ = 0;
  return Emit(anchor_us_);
}

}  // namespace sightline
