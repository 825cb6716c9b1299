// One line of YOLO's text files (yolo_files.h). Threads: reentrant.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "evaluate/labelled_pictures.h"

namespace sightline::evaluate {

struct YoloFormat {
  int32_t classes = 0;       // how many there are; 0: not known
  int key_points = 0;        // kpt_shape
  int key_point_values = 0;  // 2 or 3
  bool with_confidence = false;
};

struct YoloObject {
  int32_t class_id = 0;
  PlacedBox box_px;
  double area_px2 = 0;
  double confidence = 0;
};

// InvalidArgument says what is wrong with the line, not where it stands.
absl::StatusOr<YoloObject> ParseYoloLine(std::string_view line, const YoloFormat& format,
                                         PictureSize picture);

}  // namespace sightline::evaluate
