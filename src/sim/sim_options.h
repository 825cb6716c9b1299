// What a sim:// URL says: the world, the picture, the camera and its scripted faults.
//
//   sim://street?people=20&seed=7&fps=15&size=640x360&faults=cut@10s+3s,freeze@20s+5s
//
// docs/simulated_cameras.md explains every key with examples. The keys, every one optional:
//   people=0..500        people on foot at a time, about (12)
//   bicycles=0..50       cyclists at a time, at most: a bicycle and its rider each (2)
//   cars=0..10           cars at a time, at most (2)
//   seed=N               another world, 0 .. 2^64-1 (1)
//   fps=0.1..240         frames a second (15)
//   size=WxH             of the picture, 64x48 .. 4096x4096 (640x360)
//   render=yes|none      none: frames carry size, time and truth, but no pixels (yes)
//   night=0..1           0 = day, 1 = night: darker and noisier (0)
//   shake=0..50          the camera's trembling, px to each side (0)
//   duration=TIME        the stream ends after it (endless; 60s with pace=none)
//   start=TIME           capture time of the camera's first frame, 2026-01-31T12:00:00Z (the clock's;
//                        1970 with pace=none). In a URL a + of an offset may stand as it is.
//   pace=clock|none      none: frames as fast as they are read, as a recording (clock)
//   faults=F,F,...       KIND@AT[+FOR][:VALUE], AT and FOR as durations (10s, 1.5m), by the time since
//                        the camera's first connection:
//     cut@10s+3s           the connection breaks; until it is over every new one fails (Unavailable)
//     refuse@10s+3s        the same with a refused password (Unauthenticated)
//     stall@10s+3s         connected, but nothing comes
//     freeze@10s+3s        the same picture again and again, stamps go on
//     garbage@10s+3s       what comes cannot be decoded
//     slow@10s+9s:0.25x    only this part of the frames is sent
//     resize@10s:1280x720  pictures of another size, for good or for +FOR
//     clockstep@10s:+1h    the capture time jumps, forward or back (-1h), for good
//     wrap@10s             the stream time starts anew at 0: the next epoch
//   A FOR that is left out is 5 s for cut, refuse, stall, freeze, garbage and slow.
//
// Threads: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/uuid.h"

namespace sightline::sim {

enum class FaultKind : uint8_t {
  kCut,
  kRefuse,
  kStall,
  kFreeze,
  kGarbage,
  kSlow,
  kResize,
  kClockStep,
  kWrap
};

struct Fault {
  FaultKind kind = FaultKind::kCut;
  int64_t at_us = 0;    // since the camera's first connection
  int64_t for_us = 0;   // INT64_MAX - at_us = for good
  double factor = 1;    // kSlow
  int width = 0;        // kResize, px
  int height = 0;       // kResize, px
  int64_t step_us = 0;  // kClockStep

  int64_t end_us() const { return at_us + for_us; }
  bool Covers(int64_t life_us) const { return life_us >= at_us && life_us < end_us(); }
};

struct SimOptions {
  int people = 12;
  int bicycles = 2;
  int cars = 2;
  uint64_t seed = 1;
  double fps = 15;
  int width = 640;   // px
  int height = 360;  // px
  bool render = true;
  double night = 0;         // 0 day .. 1 night
  double shake_px = 0;      // to each side
  int64_t duration_us = 0;  // 0 = endless
  std::optional<int64_t> start_utc_us;
  bool paced = true;          // by the clock; false: as fast as it is read
  std::vector<Fault> faults;  // by rising at_us

  // When frame k of the camera's life is taken, us since the first.
  int64_t FrameTimeUs(int64_t k) const;
  // The first frame that is taken at `life_us` or later.
  int64_t FrameAtOrAfter(int64_t life_us) const;
};

// InvalidArgument in one line: the key with the nearest valid one, the value with what is allowed.
absl::StatusOr<SimOptions> ParseSimUrl(std::string_view url);

// Of everything that makes the stream what it is; not of pace.
Hash128 HashOf(const SimOptions& options);

// "people=20&seed=7..." with every key that a world depends on; the same text for the same world.
std::string CanonicalText(const SimOptions& options);

}  // namespace sightline::sim
