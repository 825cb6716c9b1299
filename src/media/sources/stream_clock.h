// A recording's time stamps made into stream and capture time.
//
// What it guarantees, whatever the stream says:
//   - pts_us starts at 0 in every epoch and is strictly increasing within it;
//   - capture_utc_us is strictly increasing over the whole recording: the start plus the stream
//     time added up over the epochs, an epoch's first frame standing one frame period after the
//     last frame before it;
//   - the same stamps give the same times; no wall clock is read.
// A new epoch starts when a stamp is kMaxBackUs or more before, or more than kMaxAheadUs after what
// was expected (the last frame plus one frame period). A smaller step back (mixed-up or double
// stamps) becomes one microsecond forward. A counter that wraps (33 bits in MPEG-TS) is unwrapped:
// no epoch. A missing stamp is made up from the frame rate, exactly: n frames after a known one are
// n periods.
//
// Threads: one. Cost: a few integer operations.
#pragma once

#include <cstdint>
#include <optional>

#include "types/frame.h"

namespace sightline {

class StreamClock {
 public:
  static constexpr int64_t kMaxAheadUs = 10'000'000;  // chosen
  static constexpr int64_t kMaxBackUs = 200'000;      // chosen: a few frames mixed up, not a loop

  struct Options {
    int64_t time_base_num = 1;  // of the stamps, in seconds
    int64_t time_base_den = 1'000'000;
    int wrap_bits = 64;        // the counter's width; 63 and more never wraps
    double fps = 25;           // for missing stamps; not positive = 25 (chosen)
    int64_t start_utc_us = 0;  // capture time of the first frame
    ClockSource clock = ClockSource::kEpoch;
  };
  explicit StreamClock(const Options& options);

  // The time of the next frame in presentation order, from its stamp in units of the time base.
  FrameTime Next(std::optional<int64_t> stamp);

 private:
  using Wide = __int128;  // stamps of hostile files must not overflow
  Wide ToUs(Wide ticks) const;
  Wide ToTicks(int64_t us) const;
  bool IsNear(Wide us) const;
  int64_t ExpectedUs() const;
  void StartEpoch(Wide ticks);
  FrameTime Emit(int64_t pts_us);

  const Options options_;
  double period_us_;
  uint32_t epoch_ = 0;
  int64_t epoch_start_us_ = 0;      // stream time added up before this epoch
  std::optional<Wide> base_ticks_;  // the stamp that is pts_us 0 in this epoch
  Wide wrap_ticks_ = 0;             // added to the stamps since the counter wrapped
  int64_t last_us_ = -1;            // of the last frame; -1 before the first
  int64_t anchor_us_ = 0;           // the last frame with a stamp of its own
  int64_t since_anchor_ = 0;        // frames since then
};

}  // namespace sightline
