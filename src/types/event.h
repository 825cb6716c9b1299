// Something that a rule saw: a track entered a zone, crossed a line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/uuid.h"
#include "types/frame.h"
#include "types/geometry.h"

namespace sightline {

enum class EventKind : uint8_t {
  kZoneEnter,  // the track's anchor came into the zone
  kZoneExit,   // it left the zone, or the track ended inside
  kLineCross   // it crossed the tripwire; see direction
};
std::string_view ToString(EventKind kind);  // "zone_enter", "zone_exit", "line_cross"

// For a line from a to b, seen with y down: kForward goes from its left to its right side when
// one looks from a to b. Settings name the two ("in", "out" by default).
enum class CrossDirection : uint8_t { kNone, kForward, kBackward };

// Deterministic: the same recording, model and configuration give the same id.
struct Event {
  Uuid id;
  EventKind kind = EventKind::kZoneEnter;
  FrameMeta frame;   // the frame in which it happened
  std::string rule;  // the zone's or line's name
  int64_t track_id = 0;
  int32_t class_id = 0;
  float confidence = 0;
  Box box_px;
  PointF anchor_px;  // the point of the box that the rule looks at
  CrossDirection direction = CrossDirection::kNone;
  std::string direction_name;  // "in", "out" or as configured; empty for zones
  int64_t dwell_us = 0;        // kZoneExit: stream time since the entry
};

}  // namespace sightline
