// Objects that keep their identity from frame to frame.
#pragma once

#include <cstdint>
#include <vector>

#include "types/detections.h"

namespace sightline {

enum class TrackState : uint8_t {
  kTentative,  // seen, not yet confirmed: never counts
  kConfirmed,  // seen in this frame
  kLost        // not seen in this frame, predicted
};

// track_id: 1, 2, 3 ... per camera and run; the same input gives the same ids.
struct TrackedObject {
  int64_t track_id = 0;
  TrackState state = TrackState::kTentative;
  Box box_px;            // the tracker's estimate, in the source picture, not clipped
  float confidence = 0;  // of the detection that matched last
  int32_t class_id = 0;
  int32_t detection = -1;      // index into Detections::items of this frame, -1 when predicted
  uint64_t first_ordinal = 0;  // frame of the first sighting
  int32_t hits = 0;            // frames with a matching detection
};

// Tracks of one frame: every confirmed object seen in it, in rising track_id.
struct Tracks {
  FrameMeta frame;
  std::vector<TrackedObject> items;
};

}  // namespace sightline
