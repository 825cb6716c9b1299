#include "detect/heads/yolo_rows.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: the heads' own

// Eight running maxima, so that the compiler has vectors to use; NaN never wins.
float BestOf(const float* scores, int classes) {
  std::array<float, 8> best;
  best.fill(-1);
  int c = 0;
  for (; c + 8 <= classes; c += 8) {
    for (int k = 0; k < 8; ++k) best[k] = scores[c + k] > best[k] ? scores[c + k] : best[k];
  }
  for (; c < classes; ++c) best[0] = scores[c] > best[0] ? scores[c] : best[0];
  return *std::max_element(best.begin(), best.end());
}

}  // namespace

std::vector<GridCell> GridCells(int width, int height, int levels) {
  std::vector<GridCell> cells;
  for (int level = 0; level < levels; ++level) {
    const int stride = 8 << level;
    for (int y = 0; y < height / stride; ++y) {
      for (int x = 0; x < width / stride; ++x) {
        cells.push_back({static_cast<float>(x), static_cast<float>(y), static_cast<float>(stride)});
      }
    }
  }
  return cells;
}

absl::StatusOr<const float*> YoloRowsHead::Rows(const RawResult& raw) const {
  int64_t rows = rows_.rows;
  if (rows == -1 && rows_.output < raw.outputs.size() &&
      raw.outputs[rows_.output].shape.size() == 3) {
    rows = raw.outputs[rows_.output].shape[1];
  }
  const std::array<int64_t, 3> wanted = {-1, rows, numbers()};
  return EntryOf(raw, rows_.output, wanted);
}

Box YoloRowsHead::TensorBox(const float* row, int64_t index) const {
  float cx = row[0], cy = row[1], w = row[2], h = row[3];
  if (!rows_.cells.empty()) {
    const GridCell& cell = rows_.cells[index];
    cx = (cx + cell.x) * cell.stride;
    cy = (cy + cell.y) * cell.stride;
    w = std::exp(w) * cell.stride;
    h = std::exp(h) * cell.stride;
  }
  return {cx - w * 0.5f, cy - h * 0.5f, cx + w * 0.5f, cy + h * 0.5f};
}

absl::Status YoloRowsHead::Decode(const RawResult& raw, float min_confidence,
                                  std::vector<Detection>* out) const {
  SL_ASSIGN_OR_RETURN(const float* row, Rows(raw));
  const int64_t rows = raw.outputs[rows_.output].shape[1];
  int64_t nan_rows = 0;
  for (int64_t r = 0; r < rows; ++r, row += numbers()) {
    const float objectness = row[4];
    // A class score is at most 1, so most rows end here.
    if (!(objectness > min_confidence)) {
      nan_rows += objectness != objectness;
      continue;
    }
    const float* scores = row + 5;
    const float best = BestOf(scores, rows_.classes);
    const float score = objectness * best;
    if (!(score > min_confidence)) continue;
    if (score > kMaxScore) {
      if (std::isfinite(score)) return NotProbabilities(score);
      continue;
    }
    const Box box = raw.mapping.ToImage(TensorBox(row, r));
    if (!IsUsable(box)) continue;
    const auto class_id =
        static_cast<int32_t>(std::find(scores, scores + rows_.classes, best) - scores);
    out->push_back({box, std::min(score, 1.0f), class_id, static_cast<int32_t>(r)});
  }
  if (rows > 0 && nan_rows == rows) return NothingButNan();
  return absl::OkStatus();
}

absl::StatusOr<YoloRows> RowsFor(const ModelSpec& spec, std::span<const TensorInfo> outputs,
                                 size_t output, int extra) {
  const TensorInfo& info = outputs[output];
  if (info.shape.size() != 3 || info.shape[2] < 6 + extra || info.shape[2] > 100'000) {
    return InvalidArgument(
        "model {}: family {} has an output [batch, rows, 5 + classes{}], this file has {}; set "
        "`outputs` in its model.yaml if another one is meant",
        spec.name, spec.family, extra == 0 ? "" : fmt::format(" + {}", extra),
        DescribeTensors(outputs));
  }
  YoloRows rows;
  rows.output = output;
  rows.classes = static_cast<int>(info.shape[2]) - 5 - extra;
  rows.extra = extra;
  rows.rows = info.shape[1];
  SL_RETURN_IF_ERROR(CheckLabels(spec, rows.classes));
  return rows;
}

}  // namespace sightline
