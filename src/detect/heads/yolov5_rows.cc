#include "detect/heads/yolov5_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "detect/known_strangers.h"

namespace sightline::yolov5 {

namespace {

constexpr int kAnchors = 3;

// The median distance of the rows' centres from their cells', in cells, if the rows are in this
// order.
double OffCells(const SeenModel& seen, const RowsFound& rows, bool largest_first,
                bool cell_by_cell) {
  const std::vector<float>& values = seen.outputs[rows.output].values;
  std::vector<double> off;
  const auto add = [&](int stride, int x, int y) {
    const float* r = values.data() + off.size() * static_cast<size_t>(rows.numbers);
    const auto size = static_cast<float>(stride);
    off.push_back(std::abs(r[0] / size - x - 0.5) + std::abs(r[1] / size - y - 0.5));
  };
  for (int l = 0; l < rows.levels; ++l) {
    const int stride = rows.stride << (largest_first ? rows.levels - 1 - l : l);
    for (int outer = 0; outer < (cell_by_cell ? 1 : kAnchors); ++outer) {
      for (int y = 0; y < seen.height / stride; ++y) {
        for (int x = 0; x < seen.width / stride; ++x) {
          for (int inner = 0; inner < (cell_by_cell ? kAnchors : 1); ++inner) add(stride, x, y);
        }
      }
    }
  }
  return Median(std::move(off));
}

}  // namespace

std::optional<RowsFound> FindRows(const SeenModel& seen) {
  for (size_t i = 0; i < seen.outputs.size(); ++i) {
    const std::vector<int64_t>& s = seen.outputs[i].info.shape;
    if (s.size() != 3 || s[2] < 6 || s[2] > 100'000) continue;
    for (const int levels : {3, 4}) {
      if (s[1] == kAnchors * CellsAtStrides(seen.width, seen.height, levels)) {
        return RowsFound{i, static_cast<int>(s[2]), levels, 8};
      }
    }
    if (s[1] == kAnchors * CellsAtStrides(seen.width / 2, seen.height / 2, 2)) {
      return RowsFound{i, static_cast<int>(s[2]), 2, 16};
    }
  }
  return std::nullopt;
}

absl::Status CheckRows(const SeenModel& seen, const RowsFound& rows, int classes,
                       std::string_view family) {
  const ProbeOutput& output = seen.outputs[rows.output];
  int64_t fine = 0;
  const int64_t row = output.info.shape[1];
  for (int64_t i = 0; i < row; ++i) {
    const float* r = output.values.data() + i * rows.numbers;
    fine += std::all_of(r + 4, r + 5 + classes, IsWithinUnit);
  }
  if (static_cast<double>(fine) < kNearlyAll * static_cast<double>(row)) {
    return InvalidArgument(
        "its {} has the shape of {}, but only {:.0f} % of its rows have scores within 0..1: its "
        "export lacks the last sigmoid, or it is another family",
        ToString(output.info), family,
        100.0 * static_cast<double>(fine) / static_cast<double>(row));
  }
  // A centre is within 1.0 of its cell's by construction, (2 sigmoid - 0.5).
  double median = std::numeric_limits<double>::infinity();
  for (const bool largest_first : {false, true}) {
    for (const bool cell_by_cell : {false, true}) {
      median = std::min(median, OffCells(seen, rows, largest_first, cell_by_cell));
    }
  }
  if (median <= 2.0) return absl::OkStatus();
  return InvalidArgument(
      "its {} has the shape of {}, but the boxes it gives for a test picture do not lie about "
      "their "
      "cells (off by {:.2g} cells in the median): it is not decoded, or not in pixels",
      ToString(output.info), family, median);
}

}  // namespace sightline::yolov5
