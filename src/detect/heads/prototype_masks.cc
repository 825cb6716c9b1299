#include "detect/heads/prototype_masks.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "detect/heads/mask_runs.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: the heads' own

// Where an output cell's centre falls among the input's cells, and the weight of the second of the
// two cells around it: torch's interpolate with align_corners=False.
struct Tap {
  int64_t first = 0;
  int64_t second = 0;
  float weight = 0;
};

Tap TapAt(int64_t at, int64_t out_size, int64_t in_size) {
  const float step = static_cast<float>(in_size) / static_cast<float>(out_size);
  const float where = std::max(0.0f, (static_cast<float>(at) + 0.5f) * step - 0.5f);
  const auto first = std::min(static_cast<int64_t>(where), in_size - 1);
  return {first, std::min(first + 1, in_size - 1), where - static_cast<float>(first)};
}

// The first whole number not below v, within 0..most: where a box's pixels begin or end.
int64_t Edge(float v, int64_t most) {
  if (!(v > 0)) return 0;
  return v < static_cast<float>(most) ? static_cast<int64_t>(std::ceil(v)) : most;
}

struct Range {
  int64_t begin = 0;
  int64_t end = 0;
  bool empty() const { return begin >= end; }
  bool Has(int64_t i) const { return i >= begin && i < end; }
};

// Along one side: the input's pixels that may be of the object, the prototypes' cells that they look
// at, and those of them that the box holds.
struct Side {
  Range pixels;
  Range cells;
  Range box_cells;
};

// The pixels of the box.
Side Within(float from, float to, int64_t pixels, int64_t cells) {
  Side side;
  side.pixels = {Edge(from, pixels), Edge(to, pixels)};
  if (side.pixels.empty()) return side;
  side.cells = {TapAt(side.pixels.begin, pixels, cells).first,
                TapAt(side.pixels.end - 1, pixels, cells).second + 1};
  return side;
}

// The pixels that look at a cell of the box.
Side TouchedBy(float from, float to, int64_t pixels, int64_t cells) {
  Side side;
  const float scale = static_cast<float>(cells) / static_cast<float>(pixels);
  side.box_cells = {Edge(from * scale, cells), Edge(to * scale, cells)};
  if (side.box_cells.empty()) return side;
  side.pixels = {pixels, 0};
  for (int64_t i = 0; i < pixels; ++i) {
    const Tap tap = TapAt(i, pixels, cells);
    if (tap.second < side.box_cells.begin || tap.first >= side.box_cells.end) continue;
    side.pixels = {std::min(side.pixels.begin, i), i + 1};
  }
  side.cells = {std::max<int64_t>(side.box_cells.begin - 1, 0),
                std::min(side.box_cells.end + 1, cells)};
  return side;
}

}  // namespace

absl::StatusOr<PrototypeMasks::View> PrototypeMasks::Of(const RawResult& raw) const {
  std::array<int64_t, 4> wanted = {-1, count_, -1, -1};
  if (output_ < raw.outputs.size() && raw.outputs[output_].shape.size() == 4) {
    wanted[2] = raw.outputs[output_].shape[2];
    wanted[3] = raw.outputs[output_].shape[3];
  }
  SL_ASSIGN_OR_RETURN(const float* planes, EntryOf(raw, output_, wanted));
  if (wanted[2] < 1 || wanted[3] < 1) return DataLoss("the mask prototypes are empty");
  return View{planes, wanted[2], wanted[3]};
}

InstanceMask PrototypeMasks::Make(const View& view, std::span<const float> coefficients,
                                  const Box& box, const ImageToTensor& mapping) const {
  InstanceMask mask;
  mask.extent_px = mapping.ToImage({0, 0, static_cast<float>(width_), static_cast<float>(height_)});
  mask.width = width_;
  mask.height = height_;
  MaskRunWriter runs(&mask.runs);
  const bool cut_first = rule_ == MaskRule::kCutThenEnlarge;
  const Side x = cut_first ? TouchedBy(box.x1, box.x2, width_, view.columns)
                           : Within(box.x1, box.x2, width_, view.columns);
  const Side y = cut_first ? TouchedBy(box.y1, box.y2, height_, view.rows)
                           : Within(box.y1, box.y2, height_, view.rows);
  if (x.pixels.empty() || y.pixels.empty()) {
    runs.Add(false, int64_t{width_} * height_);
    runs.End();
    return mask;
  }
  // The prototypes' sum where those pixels will look.
  const int64_t columns = x.cells.end - x.cells.begin;
  std::vector<float> sum(static_cast<size_t>(columns * (y.cells.end - y.cells.begin)), 0.0f);
  for (size_t k = 0; k < coefficients.size(); ++k) {
    const float* plane = view.planes + static_cast<int64_t>(k) * view.rows * view.columns;
    for (int64_t row = y.cells.begin; row < y.cells.end; ++row) {
      const float* from = plane + row * view.columns + x.cells.begin;
      float* to = sum.data() + (row - y.cells.begin) * columns;
      for (int64_t i = 0; i < columns; ++i) to[i] += coefficients[k] * from[i];
    }
  }
  if (cut_first) {
    for (int64_t row = y.cells.begin; row < y.cells.end; ++row) {
      float* to = sum.data() + (row - y.cells.begin) * columns;
      for (int64_t i = 0; i < columns; ++i) {
        const bool inside = y.box_cells.Has(row) && x.box_cells.Has(x.cells.begin + i);
        to[i] = inside ? Sigmoid(to[i]) : 0;
      }
    }
  }
  const float threshold = cut_first ? 0.5f : 0.0f;
  std::vector<Tap> taps;
  taps.reserve(static_cast<size_t>(x.pixels.end - x.pixels.begin));
  for (int64_t i = x.pixels.begin; i < x.pixels.end; ++i) {
    taps.push_back(TapAt(i, width_, view.columns));
  }
  runs.Add(false, y.pixels.begin * width_);
  for (int64_t j = y.pixels.begin; j < y.pixels.end; ++j) {
    const Tap row = TapAt(j, height_, view.rows);
    const float* upper = sum.data() + (row.first - y.cells.begin) * columns - x.cells.begin;
    const float* lower = sum.data() + (row.second - y.cells.begin) * columns - x.cells.begin;
    runs.Add(false, x.pixels.begin);
    for (const Tap& tap : taps) {
      const float above = upper[tap.first] * (1 - tap.weight) + upper[tap.second] * tap.weight;
      const float below = lower[tap.first] * (1 - tap.weight) + lower[tap.second] * tap.weight;
      runs.Add(above * (1 - row.weight) + below * row.weight > threshold, 1);
    }
    runs.Add(false, width_ - x.pixels.end);
  }
  runs.Add(false, (height_ - y.pixels.end) * width_);
  runs.End();
  return mask;
}

absl::StatusOr<int> PrototypeCount(const ModelSpec& spec, const TensorInfo& output) {
  constexpr int64_t kMost = 1024;  // chosen; the families have 32
  if (output.shape.size() == 4 && output.shape[1] >= 1 && output.shape[1] <= kMost) {
    return static_cast<int>(output.shape[1]);
  }
  return InvalidArgument(
      "model {}: the second output of family {} holds mask prototypes, [batch, prototypes, rows, "
      "columns], but {} does not; correct `outputs` in its model.yaml",
      spec.name, spec.family, ToString(output));
}

}  // namespace sightline
