// One zone: whether a track is inside, with hysteresis at the boundary.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "events/rules.h"

namespace sightline {

// The distance beyond a boundary that counts as having passed it, for a box of this height.
float MarginPx(const BoundaryMargin& margin, float box_height_px);
absl::Status CheckMargin(const BoundaryMargin& margin);

class ZoneRule {
 public:
  // Per track.
  struct State {
    bool inside = false;
    int32_t run = 0;       // frames in a row that speak for a change
    int32_t class_id = 0;  // at the entry
    int64_t entered_pts_us = 0;
  };
  enum class Change : uint8_t { kNone, kEntered, kExited };

  // InvalidArgument for a polygon that is none, or impossible settings.
  static absl::StatusOr<ZoneRule> Create(const ZoneSpec& spec);

  const ZoneSpec& spec() const { return spec_; }
  bool Admits(int32_t class_id) const;

  // A sighting. `admitted`: it may enter. Changes state->inside and ->run alone.
  Change Watch(PointF anchor_px, float box_height_px, bool admitted, State* state) const;

 private:
  explicit ZoneRule(ZoneSpec spec);
  bool Contains(PointF p) const;
  bool IsBeyond(PointF p, float margin_px) const;

  ZoneSpec spec_;
  Box bounds_px_;
};

}  // namespace sightline
