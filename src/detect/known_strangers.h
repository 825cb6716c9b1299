// What outputs look like by their shapes alone, so that a refusal can call it by its name: families
// that are not read, and files of known families that are not as their exporters write them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "types/tensor.h"

namespace sightline {

struct Stranger {
  std::string name;  // "YOLOv8 or YOLO11 (one output [1, 4 + classes, cells])"
  std::string hint;  // what to do, where something can be done; else empty
};

// How many cells an input has at strides 8, 16, 32 (and 64).
int64_t CellsAtStrides(int width, int height, int levels);

// What outputs of these shapes, for an input of width x height, look like. An empty name when they
// look like nothing known. Shapes are those seen in a run, or the declared ones with -1.
Stranger NameStranger(int width, int height, std::span<const TensorInfo> outputs);

}  // namespace sightline
