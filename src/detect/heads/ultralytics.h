// What the families of the Ultralytics package (YOLOv5 to YOLO26) share: what its exporter writes
// into a file, and what its predictor feeds and keeps. Source: ultralytics 8.4, engine/exporter.py,
// data/augment.py (LetterBox) and cfg/default.yaml.
#pragma once

#include <optional>
#include <string_view>

#include "detect/family.h"

namespace sightline::ultralytics {

// What its exporter said of a file; nothing where another wrote it.
struct ExportNotes {
  std::string_view task;     // "detect", "segment", "pose", "obb", "classify", "semantic"; or ""
  int classes = 0;           // entries of "names"; 0: not said
  int keypoints = 0;         // "kpt_shape": [keypoints, keypoint_numbers]
  int keypoint_numbers = 0;  // 2: x, y; 3: and a confidence
  bool end_to_end = false;   // no suppression is wanted
};
ExportNotes NotesOf(const SeenModel& seen);

// Letterboxed in the middle of grey, RGB, 0..1; IoU 0.7, confidence 0.25, 300 boxes.
ModelSpec PredictorDefaults(std::string_view family, int width, int height);

// Whether `boxes` is the number of cells that an anchor-free head has for this input: two or more
// grids at strides that double, from 8 or (heads with a P2 level) from 4, up to 128.
bool IsCellCount(int64_t boxes, int width, int height);

}  // namespace sightline::ultralytics
