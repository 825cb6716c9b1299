// Foretells, before decoding, which packets hold frames that the selection will leave out.
//
// Frames are numbered in presentation order, packets come in decoding order. A packet's place among
// the frames is known once a packet with a DTS at or after its PTS has been seen, since no later
// packet can present before that; so the planner looks a few packets ahead. Where the decoder gives
// no picture for a packet, the count is set right by what really came out (Correct).
//
// The plan only saves work. What is kept is decided by the source's own FrameSelector on what came
// out; as long as the stamps tell the truth the two agree on every frame.
//
// Threads: one. Memory: a fixed ring, allocated once.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <vector>

#include "media/sources/frame_selector.h"
#include "media/sources/stream_clock.h"

namespace sightline {

// A frame's place in presentation order. `run` counts jumps of the DTS: stamps compare within one
// run.
struct PresentationKey {
  uint32_t run = 0;
  int64_t pts = 0;
  uint64_t sequence = 0;  // of the packet; decides between equal stamps
  auto operator<=>(const PresentationKey&) const = default;
};

class SkipPlanner {
 public:
  static constexpr size_t kMaxLookahead = 64;  // packets; the longest reordering known is 16
  static constexpr size_t kRemembered = 512;  // packets whose place is known, waiting ones included

  SkipPlanner(const FrameSelection& selection, const StreamClock::Options& clock);

  struct Plan {
    PresentationKey key;
    bool may_skip = false;  // the selection will leave the frame out
  };

  // Takes the next packet in decoding order; sequences count 0, 1, 2 ... False when the stamps
  // cannot be true (no PTS, or one before its DTS): from then on the planner is of no use (see
  // broken()).
  bool Push(uint64_t sequence, std::optional<int64_t> pts, std::optional<int64_t> dts);

  // The plan of the packet pushed first among those not yet taken; nullopt when it is not known yet
  // and there is room to look further ahead. After End() always known.
  std::optional<Plan> Take();
  void End();

  // The packet's place as planned; nullopt when forgotten or never known.
  std::optional<PresentationKey> KeyOf(uint64_t sequence) const;

  // What came out as frame number `ordinal` was the packet `sequence`.
  void Correct(uint64_t sequence, uint64_t ordinal);

  bool broken() const { return broken_; }

 private:
  struct Entry {
    PresentationKey key;
    bool decided = false;
    bool may_skip = false;
    uint64_t place = 0;  // in presentation order, as planned
  };
  const Entry* Find(uint64_t sequence) const;
  void DecideUpTo(PresentationKey limit);
  void DecideAll();

  FrameSelector selector_;
  StreamClock clock_;
  std::vector<Entry> ring_;                 // by sequence modulo its size
  uint64_t pushed_ = 0;                     // sequences below this one were pushed
  uint64_t taken_ = 0;                      // and below this one also taken
  std::vector<PresentationKey> undecided_;  // sorted
  uint32_t run_ = 0;
  std::optional<int64_t> last_dts_;
  int64_t max_ahead_ticks_;
  uint64_t next_place_ = 0;
  int64_t correction_ = 0;
  bool broken_ = false;
};

}  // namespace sightline
