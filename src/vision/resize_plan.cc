#include "vision/resize_plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace sightline {
namespace {

constexpr float kWeightOne = 2048.0f;  // OpenCV's INTER_RESIZE_COEF_SCALE

// OpenCV's cvRound: to the nearest, ties to even (the default rounding mode).
int16_t ToWeight(float w) {
  return static_cast<int16_t>(std::clamp(std::lrintf(w * kWeightOne), -32768L, 32767L));
}

double ScaleOf(const AxisSlice& axis) {
  return 1.0 / (static_cast<double>(axis.full) / axis.source);
}

// Keys' kernel with a = -0.75, as cv::interpolateCubic evaluates it.
std::array<float, 4> CubicWeights(float x) {
  constexpr float kA = -0.75f;
  std::array<float, 4> w;
  w[0] = ((kA * (x + 1) - 5 * kA) * (x + 1) + 8 * kA) * (x + 1) - 4 * kA;
  w[1] = ((kA + 2) * x - (kA + 3)) * x * x + 1;
  w[2] = ((kA + 2) * (1 - x) - (kA + 3)) * (1 - x) * (1 - x) + 1;
  w[3] = 1.f - w[0] - w[1] - w[2];
  return w;
}

AxisTaps MakeTaps(int taps, int out) {
  AxisTaps axis;
  axis.taps = taps;
  axis.out = out;
  axis.position.resize(static_cast<size_t>(taps) * out);
  axis.weight.resize(static_cast<size_t>(taps) * out);
  return axis;
}

void PlaceWhole(int width, int height, Placement& place) {
  place.width = place.columns.full = place.columns.out = width;
  place.height = place.rows.full = place.rows.out = height;
}

// The slice of one resized side that lies in `wanted` pixels of the tensor; returns where in the
// tensor it begins.
int CropAxis(int wanted, Rounding rounding, AxisSlice& axis) {
  axis.out = std::min(axis.full, wanted);
  if (axis.full < wanted) return (wanted - axis.full) / 2;
  const int spare = axis.full - wanted;
  axis.first = spare / 2;
  // Python's round(): an odd half goes up.
  if (rounding == Rounding::kNearest) axis.first += spare & spare / 2 & 1;
  return 0;
}

void PlaceCrop(const TensorRecipe& recipe, Placement& place) {
  AxisSlice &columns = place.columns, &rows = place.rows;
  const bool upright = columns.source <= rows.source;
  AxisSlice& shorter = upright ? columns : rows;
  AxisSlice& longer = upright ? rows : columns;
  shorter.full = recipe.crop_from > 0 ? recipe.crop_from : std::max(recipe.width, recipe.height);
  longer.full =
      static_cast<int>(static_cast<int64_t>(shorter.full) * longer.source / shorter.source);
  place.x = CropAxis(recipe.width, recipe.rounding, columns);
  place.y = CropAxis(recipe.height, recipe.rounding, rows);
  place.width = columns.out;
  place.height = rows.out;
  const auto scale = [](const AxisSlice& axis) {
    return static_cast<float>(static_cast<double>(axis.full) / axis.source);
  };
  place.mapping = {scale(columns), scale(rows), static_cast<float>(place.x - columns.first),
                   static_cast<float>(place.y - rows.first)};
}

double Sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

// The triangle, Keys' kernel with a = -0.5, and the sinc under a sinc three times as wide, as Pillow
// evaluates them.
double PillowKernel(double x, PillowFilter filter) {
  constexpr double kA = -0.5;
  if (filter == PillowFilter::kLanczos) {
    return -3.0 <= x && x < 3.0 ? Sinc(x) * Sinc(x / 3) : 0.0;
  }
  x = std::abs(x);
  if (filter == PillowFilter::kBilinear) return x < 1.0 ? 1.0 - x : 0.0;
  if (x < 1.0) return ((kA + 2.0) * x - (kA + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * kA;
  return 0.0;
}

int32_t ToPillowWeight(double w) {
  constexpr double kOne = 1 << kPillowWeightBits;
  return static_cast<int32_t>(w < 0 ? -0.5 + w * kOne : 0.5 + w * kOne);
}

}  // namespace

Placement PlaceImage(const TensorRecipe& recipe, int width, int height) {
  Placement place;
  place.columns.source = width;
  place.rows.source = height;
  if (recipe.resize == ResizeMode::kCenterCrop) {
    PlaceCrop(recipe, place);
    return place;
  }
  const int border = recipe.resize == ResizeMode::kLetterboxCenter ? recipe.border : 0;
  const int room_x = std::max(recipe.width - 2 * border, 1);
  const int room_y = std::max(recipe.height - 2 * border, 1);
  const double rx = static_cast<double>(room_x) / width;
  const double ry = static_cast<double>(room_y) / height;
  if (recipe.resize == ResizeMode::kStretch) {
    place.mapping = {static_cast<float>(rx), static_cast<float>(ry), 0, 0};
    PlaceWhole(recipe.width, recipe.height, place);
    return place;
  }
  const double r = std::min(rx, ry);
  const auto side = [&](int source, int limit) {
    const double exact = source * r;
    const double whole =
        recipe.rounding == Rounding::kNearest ? std::nearbyint(exact) : std::trunc(exact);
    return std::clamp(static_cast<int>(whole), 1, limit);
  };
  PlaceWhole(side(width, room_x), side(height, room_y), place);
  if (recipe.resize == ResizeMode::kLetterboxCenter) {
    place.x = (recipe.width - place.width) / 2;
    place.y = (recipe.height - place.height) / 2;
  }
  double scale_x = r, scale_y = r;
  if (recipe.rounding == Rounding::kNearest) {
    scale_x = static_cast<double>(place.width) / width;
    scale_y = static_cast<double>(place.height) / height;
  }
  place.mapping = {static_cast<float>(scale_x), static_cast<float>(scale_y),
                   static_cast<float>(place.x), static_cast<float>(place.y)};
  return place;
}

bool AxisTaps::picks_single() const {
  if (taps == 1) return true;
  for (int i = 0; i < out; ++i) {
    for (int t = 0; t < taps; ++t) {
      const int w = weight[static_cast<size_t>(t) * out + i];
      if (w != (t == 0 ? 2048 : 0)) return false;
    }
  }
  return true;
}

AxisTaps NearestTaps(const AxisSlice& axis) {
  AxisTaps taps;
  taps.out = axis.out;
  taps.position.resize(axis.out);
  const double scale = ScaleOf(axis);
  for (int i = 0; i < axis.out; ++i) {
    taps.position[i] =
        std::min(static_cast<int>(std::floor((axis.first + i) * scale)), axis.source - 1);
  }
  return taps;
}

AxisTaps LinearTaps(const AxisSlice& axis, bool area_like, bool vertical) {
  const int source = axis.source, out = axis.out;
  AxisTaps taps = MakeTaps(2, out);
  const double inverse = static_cast<double>(axis.full) / source;
  const double scale = ScaleOf(axis);
  for (int i = 0; i < out; ++i) {
    const int at = axis.first + i;
    float f;
    int s;
    if (area_like) {
      s = static_cast<int>(std::floor(at * scale));
      f = static_cast<float>((at + 1) - (s + 1) * inverse);
      f = f <= 0 ? 0.f : f - std::floor(f);
    } else {
      f = static_cast<float>((at + 0.5) * scale - 0.5);
      s = static_cast<int>(std::floor(f));
      f -= s;
    }
    // OpenCV moves the weight at the left and right border, but at the top and bottom it leaves the
    // weights and reads the same row twice; the two differ by one rounding.
    if (!vertical && s < 0) {
      f = 0;
      s = 0;
    }
    if (!vertical && s >= source - 1) {
      f = 0;
      s = source - 1;
    }
    taps.position[i] = std::clamp(s, 0, source - 1);
    taps.position[out + i] = std::clamp(s + 1, 0, source - 1);
    taps.weight[i] = ToWeight(1.f - f);
    taps.weight[out + i] = ToWeight(f);
  }
  return taps;
}

AxisTaps CubicTaps(const AxisSlice& axis) {
  const int source = axis.source, out = axis.out;
  AxisTaps taps = MakeTaps(4, out);
  const double scale = ScaleOf(axis);
  for (int i = 0; i < out; ++i) {
    float f = static_cast<float>((axis.first + i + 0.5) * scale - 0.5);
    const int s = static_cast<int>(std::floor(f));
    f -= s;
    const std::array<float, 4> w = CubicWeights(f);
    for (int t = 0; t < 4; ++t) {
      taps.position[static_cast<size_t>(t) * out + i] = std::clamp(s - 1 + t, 0, source - 1);
      taps.weight[static_cast<size_t>(t) * out + i] = ToWeight(w[t]);
    }
  }
  return taps;
}

AreaTaps AreaAxis(const AxisSlice& axis) {
  const int source = axis.source;
  AreaTaps taps;
  taps.offset.push_back(0);
  const double scale = ScaleOf(axis);
  for (int i = 0; i < axis.out; ++i) {
    const double begin = (axis.first + i) * scale;
    const double end = begin + scale;
    const double cell = std::min(scale, source - begin);
    int s1 = static_cast<int>(std::ceil(begin));
    const int s2 = std::min(static_cast<int>(std::floor(end)), source - 1);
    s1 = std::min(s1, s2);
    int first = s1;
    if (s1 - begin > 1e-3) {
      first = s1 - 1;
      taps.weight.push_back(static_cast<float>((s1 - begin) / cell));
    }
    for (int s = s1; s < s2; ++s) taps.weight.push_back(static_cast<float>(1.0 / cell));
    if (end - s2 > 1e-3) {
      taps.weight.push_back(static_cast<float>(std::min(std::min(end - s2, 1.), cell) / cell));
    }
    taps.first.push_back(first);
    taps.offset.push_back(static_cast<int32_t>(taps.weight.size()));
  }
  return taps;
}

AreaTaps WholeAreaAxis(const AxisSlice& axis) {
  AreaTaps taps;
  const int factor = axis.source / axis.full;
  for (int i = 0; i <= axis.out; ++i) taps.offset.push_back(i * factor);
  for (int i = 0; i < axis.out; ++i) taps.first.push_back((axis.first + i) * factor);
  taps.weight.assign(static_cast<size_t>(axis.out) * factor, 1.0f);
  return taps;
}

PillowTaps PillowAxis(const AxisSlice& axis, PillowFilter filter) {
  PillowTaps taps;
  taps.offset.push_back(0);
  const double scale = static_cast<double>(axis.source) / axis.full;
  const double grown = std::max(scale, 1.0);
  const double support = (1.0 + static_cast<int>(filter)) * grown;
  const double shrink = 1.0 / grown;
  std::vector<double> run;
  for (int i = 0; i < axis.out; ++i) {
    const double center = (axis.first + i + 0.5) * scale;
    const int begin = std::max(static_cast<int>(center - support + 0.5), 0);
    const int end = std::min(static_cast<int>(center + support + 0.5), axis.source);
    run.clear();
    double sum = 0;
    for (int s = begin; s < end; ++s) {
      run.push_back(PillowKernel((s - center + 0.5) * shrink, filter));
      sum += run.back();
    }
    for (const double w : run) {
      taps.weight.push_back(ToPillowWeight(sum != 0 ? w / sum : w));
    }
    taps.first.push_back(begin);
    taps.offset.push_back(static_cast<int32_t>(taps.weight.size()));
  }
  return taps;
}

}  // namespace sightline
