// Grids of anchor boxes as detectors from YOLOv3 to YOLOv7 have them before their last layer: one
// output for each stride, and in each cell for each of (usually) three anchors x, y, width, height,
// objectness and class scores. With column and row of the cell and the anchor's size in pixels:
//   Darknet (YOLOv3, YOLOv4): centre = (scale_xy * sigmoid(x, y) - (scale_xy - 1) / 2 + cell) * stride
//                             size = exp(w, h) * anchor
//   square (YOLOv5, YOLOv7):  centre = (2 * sigmoid(x, y) - 0.5 + cell) * stride
//                             size = (2 * sigmoid(w, h))^2 * anchor
//   confidence = sigmoid(objectness) * best sigmoid(class)
// Layouts: "maps", nothing of that is done; "maps_scored", the scores' sigmoid is; "maps_activated",
// every sigmoid is; "maps_decoded", all is, and boxes are cx, cy, w, h in pixels of the input.
// An output is [B, A * (5 + C), rows, columns], [B, rows, columns, A * (5 + C)],
// [B, A, rows, columns, 5 + C], [B, rows, columns, A, 5 + C] or [B, A, 5 + C, rows, columns], all of
// a file in the same order.
// Sources: AlexeyAB/darknet src/yolo_layer.c; ultralytics/yolov5 v7.0 models/yolo.py.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "detect/family.h"
#include "detect/heads/head.h"

namespace sightline::anchor_maps {

inline constexpr size_t kMostLevels = 5;  // chosen; models have two to four

enum class BoxLaw : uint8_t { kDarknet, kSquare };

// The anchors of a project's published models, the smallest stride first.
struct AnchorSet {
  std::vector<float> sizes;     // width, height, width, ..., in pixels of the input
  std::vector<float> scale_xy;  // one a stride
};

struct FamilyMaps {
  BoxLaw law = BoxLaw::kDarknet;
  AnchorSet three;  // at strides 8, 16, 32
  AnchorSet two;    // at strides 16, 32; empty: the project has no such models
};

// One output, and where number k of anchor a of cell c lies in it: a * anchor_step + k * number_step
// + c * cell_step.
struct Level {
  size_t output = 0;
  int rows = 0;
  int columns = 0;
  float stride = 0;
  int64_t anchor_step = 0;
  int64_t number_step = 0;
  int64_t cell_step = 0;
};

struct Form {
  std::vector<Level> levels;  // by rising stride
  int classes = 0;
};

// The outputs as three anchors' maps at strides 8, 16, 32 or 16, 32; nothing when one of them is
// something else.
std::optional<Form> FindForm(const SeenModel& seen);

// What a family answers for such outputs. MatchShapes: nothing when they are none.
std::optional<FamilyMatch> MatchShapes(const SeenModel& seen, std::string_view family,
                                       const FamilyMaps& maps);
absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen, std::string_view family,
                                           const FamilyMaps& maps);

// The anchors that the head uses unless the description has others, written into it.
void WriteAnchors(const SeenModel& seen, const FamilyMaps& maps, ModelSpec* spec);

bool IsLayout(std::string_view layout);

// InvalidArgument: outputs that are no such maps, anchors that do not fit their number, numbers of
// classes that nothing says.
absl::StatusOr<std::unique_ptr<Head>> MakeHead(const ModelSpec& spec,
                                               std::span<const TensorInfo> outputs,
                                               const FamilyMaps& maps);

// 10,13 16,30 33,23 30,61 62,45 59,119 116,90 156,198 373,326: YOLOv3's, YOLOv5's and
// YOLOv7-tiny's, found on COCO.
std::vector<float> CocoAnchors();
// 12,16 19,36 40,28 36,75 76,55 72,146 142,110 192,243 459,401: YOLOv4's and YOLOv7's.
std::vector<float> WiderCocoAnchors();

}  // namespace sightline::anchor_maps
