// What a detector found in one frame.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "types/frame.h"
#include "types/geometry.h"

namespace sightline {

struct Detection {
  Box box_px;            // in the source picture, clipped to it
  float confidence = 0;  // 0..1, as the model's family defines it
  int32_t class_id = 0;  // index into the labels
};

// Class names by class_id. Shared and immutable.
struct LabelSet {
  std::vector<std::string> names;
  // "class 7" for an id without a name.
  std::string NameOf(int32_t class_id) const {
    if (class_id >= 0 && static_cast<size_t>(class_id) < names.size()) return names[class_id];
    return "class " + std::to_string(class_id);
  }
};

// Ordered by falling confidence unless the producer says otherwise.
struct Detections {
  FrameMeta frame;
  std::shared_ptr<const LabelSet> labels;
  std::vector<Detection> items;
};

}  // namespace sightline
