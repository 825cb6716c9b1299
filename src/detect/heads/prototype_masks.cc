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
  const int64_t x1 = Edge(box.x1, width_), x2 = std::max(x1, Edge(box.x2, width_));
  const int64_t y1 = Edge(box.y1, height_), y2 = std::max(y1, Edge(box.y2, height_));
  if (x1 == x2 || y1 == y2) {
    runs.Add(false, int64_t{width_} * height_);
    runs.End();
    return mask;
  }
  // The prototypes' sum where the box's pixels will look.
  const int64_t left = TapAt(x1, width_, view.columns).first;
  const int64_t right = TapAt(x2 - 1, width_, view.columns).second + 1;
  const int64_t top = TapAt(y1, height_, view.rows).first;
  const int64_t bottom = TapAt(y2 - 1, height_, view.rows).second + 1;
  const int64_t columns = right - left;
  std::vector<float> sum(static_cast<size_t>(columns * (bottom - top)), 0.0f);
  for (size_t k = 0; k < coefficients.size(); ++k) {
    const float* plane = view.planes + static_cast<int64_t>(k) * view.rows * view.columns;
    for (int64_t y = top; y < bottom; ++y) {
      const float* from = plane + y * view.columns + left;
      float* to = sum.data() + (y - top) * columns;
      for (int64_t x = 0; x < columns; ++x) to[x] += coefficients[k] * from[x];
    }
  }
  std::vector<Tap> taps;
  taps.reserve(static_cast<size_t>(x2 - x1));
  for (int64_t x = x1; x < x2; ++x) taps.push_back(TapAt(x, width_, view.columns));
  runs.Add(false, y1 * width_);
  for (int64_t y = y1; y < y2; ++y) {
    const Tap row = TapAt(y, height_, view.rows);
    const float* upper = sum.data() + (row.first - top) * columns - left;
    const float* lower = sum.data() + (row.second - top) * columns - left;
    runs.Add(false, x1);
    for (const Tap& tap : taps) {
      const float above = upper[tap.first] * (1 - tap.weight) + upper[tap.second] * tap.weight;
      const float below = lower[tap.first] * (1 - tap.weight) + lower[tap.second] * tap.weight;
      runs.Add(above * (1 - row.weight) + below * row.weight > 0, 1);
    }
    runs.Add(false, width_ - x2);
  }
  runs.Add(false, (height_ - y2) * width_);
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
