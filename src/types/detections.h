// What a model found in one frame: objects with boxes, what some families say of an object beside
// its box, and what others say of the whole picture.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "types/frame.h"
#include "types/geometry.h"

namespace sightline {

struct Detection {
  Box box_px;            // in the source picture, clipped to it
  float confidence = 0;  // 0..1, as the model's family defines it
  int32_t class_id = 0;  // index into the labels
  // Where the arrays of its Detections hold what is known beside the box, -1: nothing. Between a
  // head's steps: the row of the model's output that it comes from.
  int32_t detail = -1;
};

struct Keypoint {
  PointF at_px;
  float confidence = 1;  // 0..1; 1 from models that give none
};

// A box turned about its centre. angle_rad: from the x axis to the side of length `width`, growing
// clockwise as seen (y is down).
struct RotatedBox {
  PointF center_px;
  float width_px = 0;
  float height_px = 0;
  float angle_rad = 0;
};

// One object's pixels, on a grid of their own: the model's, not the picture's.
struct InstanceMask {
  Box extent_px;  // where the whole grid lies in the source picture
  int width = 0;  // of the grid, in cells
  int height = 0;
  // Lengths of background, object, background, ..., row after row; they add up to width * height.
  std::vector<uint32_t> runs;
};

struct ClassScore {
  int32_t class_id = 0;
  float confidence = 0;  // 0..1
};

// A class for each cell of a grid over the picture.
struct ClassMap {
  Box extent_px;  // where the whole grid lies in the source picture
  int width = 0;
  int height = 0;
  std::vector<uint16_t> class_ids;  // row after row
};

// How unlike what is usual each place of a picture is. The numbers have no upper bound and mean
// something beside those of the same model alone.
struct AnomalyMap {
  float score = 0;  // of the whole picture
  Box extent_px;    // where the whole grid lies in the source picture
  int width = 0;
  int height = 0;
  std::vector<float> values;  // row after row, at least 0
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

struct StageResult;

// Ordered by falling confidence unless the producer says otherwise.
struct Detections {
  FrameMeta frame;
  std::shared_ptr<const LabelSet> labels;
  std::vector<Detection> items;

  // Beside the boxes, at Detection::detail; empty from families that do not give it.
  int keypoints_per_item = 0;
  std::vector<Keypoint> keypoints;  // those of an item begin at detail * keypoints_per_item
  std::vector<RotatedBox> rotated_boxes;
  std::vector<InstanceMask> masks;

  // Of the whole picture; empty from families that do not give it.
  std::vector<ClassScore> classes;  // best first
  std::vector<float> embedding;     // of length 1
  ClassMap class_map;
  AnomalyMap anomaly;

  // What further models said of single items.
  std::vector<StageResult> stages;

  // Exchanges all but frame and labels with `other`; room goes along.
  inline void SwapResults(Detections& other);
  // Empties all but frame and labels; room is kept.
  inline void ClearResults();
};

// What a further model said of one item, of which it was shown a crop. Places are those of the source
// picture.
struct StageResult {
  std::shared_ptr<const std::string> stage;  // its name, as configured
  int32_t item = 0;                          // index into Detections::items
  Detections result;                         // with labels of its own
};

void Detections::SwapResults(Detections& other) {
  items.swap(other.items);
  std::swap(keypoints_per_item, other.keypoints_per_item);
  keypoints.swap(other.keypoints);
  rotated_boxes.swap(other.rotated_boxes);
  masks.swap(other.masks);
  classes.swap(other.classes);
  embedding.swap(other.embedding);
  std::swap(class_map, other.class_map);
  std::swap(anomaly, other.anomaly);
  stages.swap(other.stages);
}

void Detections::ClearResults() {
  items.clear();
  keypoints_per_item = 0;
  keypoints.clear();
  rotated_boxes.clear();
  masks.clear();
  classes.clear();
  embedding.clear();
  class_map.width = class_map.height = 0;
  class_map.class_ids.clear();
  anomaly.score = 0;
  anomaly.width = anomaly.height = 0;
  anomaly.values.clear();
  stages.clear();
}

}  // namespace sightline
