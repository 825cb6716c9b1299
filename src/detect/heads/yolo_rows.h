// Rows of one box each, as the YOLO line from v3 to v7 and YOLOX have them: [batch, rows, 5 +
// classes + extra], a row being cx, cy, w, h, objectness, class scores (both after their sigmoid)
// and what the family adds. The confidence is objectness times the best class score. Boxes are in
// pixels of the input tensor, or, where cells are given, offsets to a row's own cell:
// (cx, cy) + cell, exp(w, h), all times the stride.
#pragma once

#include <cstdint>
#include <vector>

#include "detect/heads/head.h"

namespace sightline {

struct GridCell {
  float x = 0;  // column
  float y = 0;  // row
  float stride = 8;
};

// The cells of the grids at strides 8, 16, ... in row order, one grid after the other.
std::vector<GridCell> GridCells(int width, int height, int levels);

struct YoloRows {
  size_t output = 0;  // index of it among the model's
  int classes = 0;
  int extra = 0;                // numbers behind the class scores
  int64_t rows = -1;            // -1: as many as there are
  std::vector<GridCell> cells;  // one a row; empty when the boxes come decoded
};

class YoloRowsHead : public Head {
 public:
  explicit YoloRowsHead(YoloRows rows) : rows_(std::move(rows)) {}

  int classes() const override { return rows_.classes; }
  absl::Status Decode(const RawResult& raw, float min_confidence,
                      std::vector<Detection>* out) const override;

 protected:
  int numbers() const { return 5 + rows_.classes + rows_.extra; }
  absl::StatusOr<const float*> Rows(const RawResult& raw) const;
  Box TensorBox(const float* row, int64_t index) const;  // in pixels of the input tensor

  const YoloRows rows_;
};

// The rows of an output [batch, rows, 5 + classes + extra] in pixels. InvalidArgument when it is no
// such thing, or not for as many classes as spec says.
absl::StatusOr<YoloRows> RowsFor(const ModelSpec& spec, std::span<const TensorInfo> outputs,
                                 size_t output, int extra);

}  // namespace sightline
