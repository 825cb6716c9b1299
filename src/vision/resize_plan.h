// Which source pixels make up each destination pixel, and with which weights: the tables of
// OpenCV 4.6's cv::resize for 8-bit pictures (modules/imgproc/src/resize.cpp), one axis at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "types/model_spec.h"

namespace sightline {

// Where the resized picture lies in the tensor, in pixels of the tensor.
struct Placement {
  int x = 0;
  int y = 0;
  int width = 0;   // >= 1
  int height = 0;  // >= 1
  ImageToTensor mapping;
};

// Letterbox: r = min(tw / w, th / h) in double, resized to (int(w * r), int(h * r)) as YOLOX's
// preproc does, the mapping's scale is r; or rounded as Ultralytics does (see LetterboxRounding),
// the mapping's scales are those of the rounded sides. Stretch: the mapping's scales are tw / w and
// th / h. A side never becomes less than one pixel.
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

AxisTaps NearestTaps(int source, int out);
// `area_like`: OpenCV's INTER_AREA where it enlarges, a bilinear with other positions.
AxisTaps LinearTaps(int source, int out, bool area_like, bool vertical);
AxisTaps CubicTaps(int source, int out);

// INTER_AREA where it shrinks: destination i is the sum of source[first[i] ... first[i] +
// count(i)) * weight, in float.
struct AreaTaps {
  std::vector<int32_t> first;   // out entries
  std::vector<int32_t> offset;  // out + 1 entries into weight
  std::vector<float> weight;
  int count(int i) const { return offset[i + 1] - offset[i]; }
};
AreaTaps AreaAxis(int source, int out);
// Weights of 1, for an exact integer factor, where OpenCV divides the integer sum once.
AreaTaps WholeAreaAxis(int source, int out);

}  // namespace sightline
