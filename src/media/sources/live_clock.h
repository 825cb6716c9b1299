// Stamps, sender reports and arrival times of a live stream made into stream and capture time.
//
// Stream time is StreamClock's: pts_us starts at 0 in every epoch and is strictly increasing in it.
// Capture time is the sender's where it reports one that can be believed, else the time of arrival.
// A sender whose clock is more than max_sender_skew_us from this machine's has none that was set.
// Capture time is strictly increasing within an epoch: what lies up to kMaxHoldUs before the last
// frame is held (the switch from arrival to sender time, a clock that was corrected); a larger step
// back of the clock starts a new epoch.
//
// Threads: one. Cost: a few integer operations.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "media/sources/stream_clock.h"
#include "types/frame.h"

namespace sightline {

// The sender's wall clock as a line over the stream's stamps, from single readings of it.
class SenderClock {
 public:
  // ticks_per_s: of the counter behind the readings (RTP: the stream's clock rate); its width is 32
  // bits, and a reading taken while it wraps is wrong by a whole turn.
  explicit SenderClock(int64_t ticks_per_s);
  // The sender's clock showed utc_us at stamp_us (microseconds of the stream's own stamps).
  void Read(int64_t utc_us, int64_t stamp_us);
  // What it shows at stamp_us; nullopt before the first reading.
  std::optional<int64_t> At(int64_t stamp_us) const;

 private:
  int64_t turn_us_;
  std::optional<int64_t> offset_us_;
};

class LiveClock {
 public:
  static constexpr int64_t kMaxHoldUs = 5'000'000;  // chosen: a few seconds of old pictures come
                                                    // at once from cameras that keep a group
  struct Options {
    StreamClock::Options stream;  // its start and clock are not used
    int64_t last_capture_utc_us = std::numeric_limits<int64_t>::min();  // of an earlier connection
    int64_t max_sender_skew_us = 60'000'000;  // chosen: no live picture is that long on its way
  };
  explicit LiveClock(const Options& options);

  FrameTime Next(std::optional<int64_t> stamp, int64_t arrival_utc_us,
                 std::optional<int64_t> sender_utc_us);

  // Sender times that were not believed.
  uint64_t disbelieved() const { return disbelieved_; }

 private:
  const Options options_;
  StreamClock stream_;
  FrameTime last_;
  bool first_ = true;
  uint32_t stream_epoch_ = 0;   // of stream_, of the last frame
  uint32_t clock_epochs_ = 0;   // begun because a wall clock stepped back
  int64_t epoch_start_us_ = 0;  // stream_'s pts_us where such an epoch began
  uint64_t disbelieved_ = 0;
};

}  // namespace sightline
