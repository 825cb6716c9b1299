#include "vision/resize_plan.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace sightline {
namespace {

constexpr float kWeightOne = 2048.0f;  // OpenCV's INTER_RESIZE_COEF_SCALE

// OpenCV's cvRound: to the nearest, ties to even (the default rounding mode).
int16_t ToWeight(float w) {
  return static_cast<int16_t>(std::clamp(std::lrintf(w * kWeightOne), -32768L, 32767L));
}

double ScaleOf(int source, int out) { return 1.0 / (static_cast<double>(out) / source); }

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

}  // namespace

Placement PlaceImage(const TensorRecipe& recipe, int width, int height) {
  Placement place;
  const double rx = static_cast<double>(recipe.width) / width;
  const double ry = static_cast<double>(recipe.height) / height;
  if (recipe.resize == ResizeMode::kStretch) {
    place.width = recipe.width;
    place.height = recipe.height;
    place.mapping = {static_cast<float>(rx), static_cast<float>(ry), 0, 0};
    return place;
  }
  const double r = std::min(rx, ry);
  const auto side = [&](int source, int limit) {
    const double exact = source * r;
    const double whole = recipe.letterbox_rounding == LetterboxRounding::kNearest
                             ? std::nearbyint(exact)
                             : std::trunc(exact);
    return std::clamp(static_cast<int>(whole), 1, limit);
  };
  place.width = side(width, recipe.width);
  place.height = side(height, recipe.height);
  if (recipe.resize == ResizeMode::kLetterboxCenter) {
    place.x = (recipe.width - place.width) / 2;
    place.y = (recipe.height - place.height) / 2;
  }
  double scale_x = r, scale_y = r;
  if (recipe.letterbox_rounding == LetterboxRounding::kNearest) {
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

AxisTaps NearestTaps(int source, int out) {
  AxisTaps axis;
  axis.out = out;
  axis.position.resize(out);
  const double scale = ScaleOf(source, out);
  for (int i = 0; i < out; ++i) {
    axis.position[i] = std::min(static_cast<int>(std::floor(i * scale)), source - 1);
  }
  return axis;
}

AxisTaps LinearTaps(int source, int out, bool area_like, bool vertical) {
  AxisTaps axis = MakeTaps(2, out);
  const double inverse = static_cast<double>(out) / source;
  const double scale = ScaleOf(source, out);
  for (int i = 0; i < out; ++i) {
    float f;
    int s;
    if (area_like) {
      s = static_cast<int>(std::floor(i * scale));
      f = static_cast<float>((i + 1) - (s + 1) * inverse);
      f = f <= 0 ? 0.f : f - std::floor(f);
    } else {
      f = static_cast<float>((i + 0.5) * scale - 0.5);
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
    axis.position[i] = std::clamp(s, 0, source - 1);
    axis.position[out + i] = std::clamp(s + 1, 0, source - 1);
    axis.weight[i] = ToWeight(1.f - f);
    axis.weight[out + i] = ToWeight(f);
  }
  return axis;
}

AxisTaps CubicTaps(int source, int out) {
  AxisTaps axis = MakeTaps(4, out);
  const double scale = ScaleOf(source, out);
  for (int i = 0; i < out; ++i) {
    float f = static_cast<float>((i + 0.5) * scale - 0.5);
    const int s = static_cast<int>(std::floor(f));
    f -= s;
    const std::array<float, 4> w = CubicWeights(f);
    for (int t = 0; t < 4; ++t) {
      axis.position[static_cast<size_t>(t) * out + i] = std::clamp(s - 1 + t, 0, source - 1);
      axis.weight[static_cast<size_t>(t) * out + i] = ToWeight(w[t]);
    }
  }
  return axis;
}

AreaTaps AreaAxis(int source, int out) {
  AreaTaps axis;
  axis.offset.push_back(0);
  const double scale = ScaleOf(source, out);
  for (int i = 0; i < out; ++i) {
    const double begin = i * scale;
    const double end = begin + scale;
    const double cell = std::min(scale, source - begin);
    int s1 = static_cast<int>(std::ceil(begin));
    const int s2 = std::min(static_cast<int>(std::floor(end)), source - 1);
    s1 = std::min(s1, s2);
    int first = s1;
    if (s1 - begin > 1e-3) {
      first = s1 - 1;
      axis.weight.push_back(static_cast<float>((s1 - begin) / cell));
    }
    for (int s = s1; s < s2; ++s) axis.weight.push_back(static_cast<float>(1.0 / cell));
    if (end - s2 > 1e-3) {
      axis.weight.push_back(static_cast<float>(std::min(std::min(end - s2, 1.), cell) / cell));
    }
    axis.first.push_back(first);
    axis.offset.push_back(static_cast<int32_t>(axis.weight.size()));
  }
  return axis;
}

AreaTaps WholeAreaAxis(int source, int out) {
  AreaTaps axis;
  const int factor = source / out;
  for (int i = 0; i <= out; ++i) axis.offset.push_back(i * factor);
  for (int i = 0; i < out; ++i) axis.first.push_back(i * factor);
  axis.weight.assign(static_cast<size_t>(out) * factor, 1.0f);
  return axis;
}

}  // namespace sightline
