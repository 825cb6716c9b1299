// Rows as they wait for the commit of the SQLite sink. Internal to it.
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/uuid.h"
#include "types/camera.h"
#include "types/detections.h"
#include "types/event.h"
#include "types/frame.h"
#include "types/result_sink.h"
#include "types/tracks.h"

namespace sightline {

// Pixel coordinates become fractions in double, so that
// float(x1 * width) gives back exactly the pixel coordinate that the detector said.
struct WaitingFrame {
  std::shared_ptr<const CameraInfo> camera;
  std::shared_ptr<const LabelSet> labels;
  FrameTime time;
  uint64_t ordinal = 0;
  int width = 0;
  int height = 0;
  size_t detections = 0;
  size_t tracks = 0;
  bool end_of_stream = false;  // no row of its own, only events
};

struct WaitingDetection {
  Uuid id;
  uint32_t frame = 0;  // index of its WaitingFrame
  int32_t class_id = 0;
  float confidence = 0;
  int64_t track_id = 0;  // 0 = none
  Box box_px;
};

// One of the things that a further model said of an object.
struct WaitingStageRow {
  Uuid detection_id;
  std::shared_ptr<const std::string> stage;
  std::shared_ptr<const LabelSet> labels;  // the further model's
  uint32_t frame = 0;                      // index of its WaitingFrame
  int32_t part = 0;
  std::string_view kind;  // a literal
  bool has_class = false;
  int32_t class_id = 0;
  float confidence = 0;
  bool has_score = false;
  float score = 0;
  bool has_box = false;
  Box box_px;
  // Within the batch's bytes; details are JSON. Empty: none.
  size_t embedding_begin = 0, embedding_end = 0;
  size_t details_begin = 0, details_end = 0;
};

struct WaitingEvent {
  Event event;
  uint32_t frame = 0;
};

struct WaitingTrack {
  TrackSummary track;
  std::shared_ptr<const LabelSet> labels;
};

struct WaitingLedger {
  std::string camera_id;
  FrameCounts counts;
};

// The text of a class without allocating for ids that have no name.
class ClassName {
 public:
  std::string_view Of(const LabelSet* labels, int32_t class_id) {
    if (labels != nullptr && class_id >= 0 &&
        static_cast<size_t>(class_id) < labels->names.size()) {
      return labels->names[static_cast<size_t>(class_id)];
    }
    const auto result =
        std::to_chars(buffer_.data() + kPrefix.size(), buffer_.data() + buffer_.size(), class_id);
    return {buffer_.data(), static_cast<size_t>(result.ptr - buffer_.data())};
  }

 private:
  static constexpr std::string_view kPrefix = "class ";
  std::array<char, 24> buffer_{'c', 'l', 'a', 's', 's', ' '};
};

}  // namespace sightline
