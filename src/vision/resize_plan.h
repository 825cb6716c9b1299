// Which source pixels make up each destination pixel, and with which weights, one axis at a time:
// the tables of OpenCV 4.6's cv::resize (modules/imgproc/src/resize.cpp) and of Pillow's
// Image.resize (src/libImaging/Resample.c) for 8-bit pictures.
#pragma once

#include <cstdint>
#include <vector>

#include "types/model_spec.h"

namespace sightline {

// One axis of a resize: `source` pixels become `full`, of which the `out` from `first` on are
// wanted. A table holds those alone, so that a crop of a very long picture costs what it shows.
struct AxisSlice {
  int source = 0;
  int full = 0;
  int first = 0;
  int out = 0;

  bool whole() const { return out == full; }
};

// Where the picture lies in the tensor, and which part of the resized picture that is.
struct Placement {
  int x = 0;  // in pixels of the tensor
  int y = 0;
  int width = 0;            // >= 1
  int height = 0;           // >= 1
  AxisSlice columns, rows;  // out = width, height
  ImageToTensor mapping;
};

// Letterbox: r = min(tw / w, th / h) in double, resized to (int(w * r), int(h * r)) as YOLOX's
// preproc does, the mapping's scale is r; or rounded as Ultralytics does (see Rounding),
// the mapping's scales are those of the rounded sides. Stretch: the mapping's scales are tw / w and
// th / h. A side never becomes less than one pixel. With a border, tw and th are what it leaves.
// Centre crop: the shorter side becomes s = crop_from, the longer int(s * longer / shorter), as in
// torchvision's Resize(s); then the crop starts at (rw - tw) / 2, rounded half to even as in its
// CenterCrop (timm and Ultralytics use these two classes) or cut as in transformers (see Rounding);
// or the picture lies (tw - rw) / 2, cut, from the tensor's left; the same down. The mapping's
// scales are the exact ones of each axis, rw / w and rh / h.
Placement PlaceImage(const TensorRecipe& recipe, int width, int height);

// `taps` source positions for each of `out` destination positions, clamped to the picture.
// position[t * out + i]; weights are 11-bit fixed point (2048 = 1), weight[t * out + i].
struct AxisTaps {
  int taps = 1;
  int out = 0;
  std::vector<int32_t> position;
  std::vector<int16_t> weight;  // empty with one tap

  // Every destination pixel is one source pixel with weight 1.
  bool picks_single() const;
};

AxisTaps NearestTaps(const AxisSlice& axis);
// `area_like`: OpenCV's INTER_AREA where it enlarges, a bilinear with other positions.
AxisTaps LinearTaps(const AxisSlice& axis, bool area_like, bool vertical);
AxisTaps CubicTaps(const AxisSlice& axis);

// Runs of neighbours: destination i is the sum of source[first[i] ... first[i] + count(i)) *
// weight. INTER_AREA where it shrinks, in float:
template <typename Weight>
struct RunTaps {
  std::vector<int32_t> first;   // out entries
  std::vector<int32_t> offset;  // out + 1 entries into weight
  std::vector<Weight> weight;
  int count(int i) const { return offset[i + 1] - offset[i]; }
};
using AreaTaps = RunTaps<float>;
AreaTaps AreaAxis(const AxisSlice& axis);
// Weights of 1, for an exact integer factor, where OpenCV divides the integer sum once.
AreaTaps WholeAreaAxis(const AxisSlice& axis);

// Pillow's resampling: the same, with weights in 22-bit fixed point (4194304 = 1), each rounded on
// its own, so that their sum is 1 only nearly. Cubic and Lanczos weights may be negative. At most
// 2 * ceil(support) + 1 a destination pixel, where support is 1 (bilinear), 2 (cubic) or 3 (Lanczos)
// source pixels times the scale, if that shrinks.
using PillowTaps = RunTaps<int32_t>;
inline constexpr int kPillowWeightBits = 22;
enum class PillowFilter : uint8_t { kBilinear, kCubic, kLanczos };
PillowTaps PillowAxis(const AxisSlice& axis, PillowFilter filter);

}  // namespace sightline
