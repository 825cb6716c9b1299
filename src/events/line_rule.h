// One tripwire: which side a track is on, with hysteresis, and how it got there.
//
// A track reaches a side when its anchor is more than the margin beyond the (endless) line. When it
// reaches the other side, its way since the last settled side decides: passages through the
// segment, forward less backward, so trembling through the line cancels out and a way round the
// segment's end does not count. A track first seen within the margin has no side yet and cannot
// have crossed.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "events/rules.h"
#include "types/event.h"

namespace sightline {

class LineRule {
 public:
  // Per track.
  struct State {
    PointF anchor_px;  // at the last sighting
    bool seen = false;
    int8_t settled = 0;    // -1 left, 1 right, 0 not yet known
    int32_t passages = 0;  // through the segment since settled: forward less backward
  };

  // InvalidArgument for a line without length, or impossible settings.
  static absl::StatusOr<LineRule> Create(const LineSpec& spec);

  const LineSpec& spec() const { return spec_; }
  bool Admits(int32_t class_id) const;

  // A sighting; the way it crossed the line with it, or kNone.
  CrossDirection Watch(PointF anchor_px, float box_height_px, State* state) const;

 private:
  explicit LineRule(LineSpec spec);
  double SideOf(PointF p) const;
  int PassageOf(PointF from, PointF to) const;

  LineSpec spec_;
  double dx_ = 0;  // b - a
  double dy_ = 0;
  double length_ = 0;  // px
};

}  // namespace sightline
