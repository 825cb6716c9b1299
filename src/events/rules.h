// What a camera watches for: zones and tripwires, and what was counted at them.
//
// Coordinates are px of the source picture, x to the right, y down.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/uuid.h"
#include "types/geometry.h"

namespace sightline {

// The point of a box that a rule looks at. Feet stand where the box ends: bottom center.
enum class AnchorPoint : uint8_t {
  kBottomCenter,
  kCenter,
  kTopCenter,
  kBottomLeft,
  kBottomRight,
  kTopLeft,
  kTopRight
};

// A boundary is passed only by going this far beyond it, so that a box that trembles there counts
// once: the larger of the two. Boxes of detectors tremble with their size, by 1 to 3 % of it.
struct BoundaryMargin {
  float px = 0;
  float box_heights = 0.05f;  // as a part of the box's height; chosen, not measured
  bool operator==(const BoundaryMargin&) const = default;
};

struct ZoneSpec {
  std::string name;                // unique among the camera's zones and lines
  std::vector<PointF> polygon_px;  // 3 to 1000 corners in order, no edge crossing another
  AnchorPoint anchor = AnchorPoint::kBottomCenter;
  // A track enters when its anchor is inside, in `enter_frames` frames in a row in which it was
  // seen; it leaves when the anchor is outside by more than the margin, in `exit_frames` in a row.
  BoundaryMargin margin;
  int enter_frames = 1;
  int exit_frames = 1;
  // Who may enter; empty = all. Whoever is inside is followed until the exit.
  std::vector<int32_t> classes;
  // A track is looked at only this long (stream time) after its first confirmed sighting.
  int64_t min_track_age_us = 0;
  bool operator==(const ZoneSpec&) const = default;
};

// A tripwire from a to b. Forward is from its left to its right side, seen from a to b with y down.
struct LineSpec {
  std::string name;
  PointF a_px;
  PointF b_px;
  AnchorPoint anchor = AnchorPoint::kBottomCenter;
  std::string forward_name = "in";
  std::string backward_name = "out";
  // A side is reached when the anchor is more than the margin beyond the line.
  BoundaryMargin margin;
  std::vector<int32_t> classes;
  int64_t min_track_age_us = 0;
  bool operator==(const LineSpec&) const = default;
};

struct CameraRules {
  std::vector<ZoneSpec> zones;
  std::vector<LineSpec> lines;
  // The picture's size that the coordinates mean; where a frame's differs (a camera that switched
  // its resolution), its boxes are scaled to this one. 0 = take boxes as they are.
  int width = 0;
  int height = 0;
  // A track that was not seen for so long has left its zones, unless it was said to have ended
  // before. Longer than the tracker keeps lost tracks, so that those who come back are the same.
  int64_t forget_after_us = 2'000'000;
  // Hash of what else makes the events what they are: source, model, tracker, rules. Part of their
  // ids.
  Hash128 identity;
};

struct ZoneFlow {
  uint64_t entered = 0;
  uint64_t exited = 0;
  int32_t occupancy() const { return static_cast<int32_t>(entered - exited); }
};
struct LineFlow {
  uint64_t forward = 0;
  uint64_t backward = 0;
};

// Since the start. By class: the track's class when it entered or crossed.
struct ZoneCounts {
  std::string name;
  ZoneFlow total;
  std::map<int32_t, ZoneFlow> by_class;
};
struct LineCounts {
  std::string name;
  std::string forward_name;
  std::string backward_name;
  LineFlow total;
  std::map<int32_t, LineFlow> by_class;
};
// In the order of the rules.
struct RuleCounts {
  std::vector<ZoneCounts> zones;
  std::vector<LineCounts> lines;
};

}  // namespace sightline
