#include "media/sources/live_clock.h"

#include <algorithm>
#include <cstdlib>

namespace sightline {
namespace {

constexpr int64_t kTurnToleranceUs = 1'000'000;  // chosen: clocks are corrected by less at a time

// Times of hostile senders must not overflow: beyond some 100,000 years is as good as nothing.
constexpr int64_t kMaxUs = std::numeric_limits<int64_t>::max() / 4;
bool IsSane(int64_t us) { return us > -kMaxUs && us < kMaxUs; }

}  // namespace

SenderClock::SenderClock(int64_t ticks_per_s)
    : turn_us_(ticks_per_s > 0 && ticks_per_s < kMaxUs
                   ? static_cast<int64_t>((__int128{1} << 32) * 1'000'000 / ticks_per_s)
                   : 0) {}

void SenderClock::Read(int64_t utc_us, int64_t stamp_us) {
  if (!IsSane(utc_us) || !IsSane(stamp_us)) return;
  const int64_t offset_us = utc_us - stamp_us;
  if (offset_us_ && turn_us_ > 0) {
    const int64_t change_us = std::abs(offset_us - *offset_us_);
    if (std::abs(change_us - turn_us_) < kTurnToleranceUs) return;
  }
  offset_us_ = offset_us;
}

std::optional<int64_t> SenderClock::At(int64_t stamp_us) const {
  if (!offset_us_ || !IsSane(stamp_us)) return std::nullopt;
  return *offset_us_ + stamp_us;
}

LiveClock::LiveClock(const Options& options) : options_(options), stream_(options.stream) {
  last_.capture_utc_us = options.last_capture_utc_us;
  last_.clock = ClockSource::kArrival;
}

FrameTime LiveClock::Next(std::optional<int64_t> stamp, int64_t arrival_utc_us,
                          std::optional<int64_t> sender_utc_us) {
  FrameTime time = stream_.Next(stamp);
  if (time.epoch != stream_epoch_) {
    stream_epoch_ = time.epoch;
    epoch_start_us_ = 0;
  }
  time.clock = ClockSource::kArrival;
  time.capture_utc_us = arrival_utc_us;
  if (sender_utc_us) {
    if (std::abs(*sender_utc_us - arrival_utc_us) <= options_.max_sender_skew_us) {
      time.clock = ClockSource::kSender;
      time.capture_utc_us = *sender_utc_us;
    } else {
      ++disbelieved_;
    }
  }
  const int64_t stream_pts_us = time.pts_us;
  const int64_t last_us = last_.capture_utc_us;
  const bool any = last_us != std::numeric_limits<int64_t>::min();
  if (any && time.capture_utc_us <= last_us) {
    if (last_us - time.capture_utc_us <= kMaxHoldUs) {
      time.capture_utc_us = last_us + 1;
    } else if (!first_) {  // a connection's first frame begins an epoch anyway
      ++clock_epochs_;
      epoch_start_us_ = stream_pts_us;
    }
  }
  time.pts_us = stream_pts_us - epoch_start_us_;
  time.epoch = stream_epoch_ + clock_epochs_;
  first_ = false;
  last_ = time;
  return time;
}

}  // namespace sightline
