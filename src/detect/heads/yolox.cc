// YOLOX (Ge et al. 2021, arXiv 2107.08430; Megvii-BaseDetection/YOLOX): one output [B, N, 5 + C],
// rows cx, cy, w, h, objectness, class scores (both after their sigmoid), N = all cells of the
// grids of strides 8, 16, 32 (and 64 in the P6 models), row by row.
//   layout "raw_grid": centre = (cx, cy + cell) * stride, size = exp(w, h) * stride (the files
//                      that the project exports by default)
//   layout "decoded":  the same in input pixels already (exported with --decode_in_inference).
//                      Any N: rows of YOLOv5 and YOLOv7 read the same.
// Confidence = objectness * best class.
#include <algorithm>
#include <array>
#include <cmath>

#include "detect/heads/head.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

struct Cell {
  float x;
  float y;
  float stride;
};

// The cells in row order, or none when no set of strides gives `rows`.
std::vector<Cell> CellsOf(int width, int height, int64_t rows) {
  for (const int levels : {3, 4}) {
    std::vector<Cell> cells;
    for (int level = 0; level < levels; ++level) {
      const int stride = 8 << level;
      for (int y = 0; y < height / stride; ++y) {
        for (int x = 0; x < width / stride; ++x) {
          cells.push_back(
              {static_cast<float>(x), static_cast<float>(y), static_cast<float>(stride)});
        }
      }
    }
    if (static_cast<int64_t>(cells.size()) == rows || rows == -1) return cells;
  }
  return {};
}

class YoloxHead : public Head {
 public:
  YoloxHead(size_t output, int classes, int64_t rows, std::vector<Cell> cells)
      : output_(output), classes_(classes), rows_(rows), cells_(std::move(cells)) {}

  int classes() const override { return classes_; }

  absl::Status Decode(std::span<const TensorView> outputs, int batch_index,
                      const ImageToTensor& mapping, float min_confidence,
                      std::vector<Detection>* out) const override {
    int64_t rows = rows_;
    if (rows == -1 && output_ < outputs.size() && outputs[output_].shape.size() == 3) {
      rows = outputs[output_].shape[1];
    }
    const std::array<int64_t, 3> wanted = {-1, rows, 5 + classes_};
    SL_ASSIGN_OR_RETURN(const float* row, EntryOf(outputs, output_, batch_index, wanted));
    int64_t nan_rows = 0;
    for (int64_t r = 0; r < rows; ++r, row += wanted[2]) {
      const float objectness = row[4];
      // A class score is at most 1, so most rows end here.
      if (!(objectness > min_confidence)) {
        nan_rows += objectness != objectness;
        continue;
      }
      const float best = BestClass(row + 5);
      const float score = objectness * best;
      if (!(score > min_confidence)) continue;
      if (score > kMaxScore) {
        if (std::isfinite(score)) return NotProbabilities(score);
        continue;
      }
      float cx = row[0], cy = row[1], w = row[2], h = row[3];
      if (!cells_.empty()) {
        const Cell& cell = cells_[r];
        cx = (cx + cell.x) * cell.stride;
        cy = (cy + cell.y) * cell.stride;
        w = std::exp(w) * cell.stride;
        h = std::exp(h) * cell.stride;
      }
      const Box box = mapping.ToImage({cx - w * 0.5f, cy - h * 0.5f, cx + w * 0.5f, cy + h * 0.5f});
      if (!IsUsable(box)) continue;
      const auto class_id =
          static_cast<int32_t>(std::find(row + 5, row + wanted[2], best) - row - 5);
      out->push_back({box, std::min(score, 1.0f), class_id});
    }
    if (nan_rows == rows) return NothingButNan();
    return absl::OkStatus();
  }

 private:
  // Eight running maxima, so that the compiler has vectors to use; NaN never wins.
  float BestClass(const float* scores) const {
    std::array<float, 8> best;
    best.fill(-1);
    int c = 0;
    for (; c + 8 <= classes_; c += 8) {
      for (int k = 0; k < 8; ++k) best[k] = scores[c + k] > best[k] ? scores[c + k] : best[k];
    }
    for (; c < classes_; ++c) best[0] = scores[c] > best[0] ? scores[c] : best[0];
    return *std::max_element(best.begin(), best.end());
  }

  const size_t output_;
  const int classes_;
  const int64_t rows_;             // -1 when any
  const std::vector<Cell> cells_;  // empty when the boxes come decoded
};

}  // namespace

absl::StatusOr<std::unique_ptr<Head>> MakeYoloxHead(const ModelSpec& spec,
                                                    std::span<const TensorInfo> outputs) {
  SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant, MeantOutputs(spec, outputs));
  const bool decoded = spec.layout == "decoded";
  if (!decoded && spec.layout != "raw_grid") {
    return InvalidArgument(
        "model {}: unknown layout \"{}\" of family yolox; it is raw_grid or decoded", spec.name,
        spec.layout);
  }
  if (meant.size() != 1 || outputs[meant[0]].shape.size() != 3 || outputs[meant[0]].shape[2] < 6) {
    return InvalidArgument(
        "model {}: family yolox has one output [batch, cells, 5 + classes], this file has {}; set "
        "`outputs` in its model.yaml if one of several is meant",
        spec.name, DescribeTensors(outputs));
  }
  const TensorInfo& output = outputs[meant[0]];
  const int64_t rows = output.shape[1];
  const auto classes = static_cast<int>(output.shape[2] - 5);
  SL_RETURN_IF_ERROR(CheckLabels(spec, classes));
  std::vector<Cell> cells;
  if (!decoded) {
    cells = CellsOf(spec.input.width, spec.input.height, rows);
    if (cells.empty()) {
      return InvalidArgument(
          "model {}: {} has {} rows, but an input of {}x{} gives {} cells at strides 8, 16, 32; "
          "correct the input size or the family in its model.yaml",
          spec.name, ToString(output), rows, spec.input.width, spec.input.height,
          CellsOf(spec.input.width, spec.input.height, -1).size());
    }
  }
  const int64_t fixed_rows = decoded ? rows : static_cast<int64_t>(cells.size());
  return std::make_unique<YoloxHead>(meant[0], classes, fixed_rows, std::move(cells));
}

}  // namespace sightline
