#include "detect/heads/yolov5_rows.h"

#include <algorithm>
#include <cmath>

#include "detect/known_strangers.h"

namespace sightline::yolov5 {

constexpr int kAnchors = 3;

std::optional<RowsFound> FindRows(const SeenModel& seen) {
  for (size_t i = 0; i < seen.outputs.size(); ++i) {
    const std::vector<int64_t>& s = seen.outputs[i].info.shape;
    if (s.size() != 3 || s[2] < 6 || s[2] > 100'000) continue;
    for (const int levels : {3, 4}) {
      if (s[1] == kAnchors * CellsAtStrides(seen.width, seen.height, levels)) {
        return RowsFound{i, static_cast<int>(s[2]), levels};
      }
    }
  }
  return std::nullopt;
}

absl::Status CheckRows(const SeenModel& seen, const RowsFound& rows, int classes,
                       std::string_view family) {
  const ProbeOutput& output = seen.outputs[rows.output];
  std::vector<double> off;
  int64_t fine = 0, row = 0;
  for (int level = 0; level < rows.levels; ++level) {
    const int stride = 8 << level;
    for (int anchor = 0; anchor < kAnchors; ++anchor) {
      for (int y = 0; y < seen.height / stride; ++y) {
        for (int x = 0; x < seen.width / stride; ++x, ++row) {
          const float* r = output.values.data() + row * rows.numbers;
          off.push_back(std::abs(r[0] / stride - x - 0.5) + std::abs(r[1] / stride - y - 0.5));
          fine += std::all_of(r + 4, r + 5 + classes, IsWithinUnit);
        }
      }
    }
  }
  if (static_cast<double>(fine) < kNearlyAll * static_cast<double>(row)) {
    return InvalidArgument(
        "its {} has the shape of {}, but only {:.0f} % of its rows have scores within 0..1: its "
        "export lacks the last sigmoid, or it is another family",
        ToString(output.info), family,
        100.0 * static_cast<double>(fine) / static_cast<double>(row));
  }
  // A centre is within 1.0 of its cell's by construction, (2 sigmoid - 0.5).
  const double median = Median(std::move(off));
  if (median <= 2.0) return absl::OkStatus();
  return InvalidArgument(
      "its {} has the shape of {}, but the boxes it gives for a test picture do not lie about "
      "their "
      "cells (off by {:.2g} cells in the median): it is not decoded, or not in pixels",
      ToString(output.info), family, median);
}

}  // namespace sightline::yolov5
