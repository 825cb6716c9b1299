// Boxes and points in continuous pixel coordinates: x to the right, y down, the origin at the outer
// corner of the first pixel, so a picture of width w spans [0, w]. Suffixes say the frame: _px are
// pixels of the source image, _frac are fractions of its width and height.
#pragma once

#include <algorithm>

namespace sightline {

struct PointF {
  float x = 0;
  float y = 0;
  bool operator==(const PointF&) const = default;
};

struct Box {
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;

  float width() const { return x2 - x1; }
  float height() const { return y2 - y1; }
  float area() const { return std::max(0.0f, width()) * std::max(0.0f, height()); }
  PointF center() const { return {(x1 + x2) * 0.5f, (y1 + y2) * 0.5f}; }
  PointF bottom_center() const { return {(x1 + x2) * 0.5f, y2}; }
  bool operator==(const Box&) const = default;
};

// Intersection over union in continuous coordinates; 0 for empty boxes.
inline float IntersectionOverUnion(const Box& a, const Box& b) {
  const float w = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  const float h = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  if (w <= 0 || h <= 0) return 0;
  const float both = w * h;
  return both / (a.area() + b.area() - both);
}

// The way from image to tensor coordinates: tensor = image * scale + pad, in pixels of each.
// Inverse of it for boxes: image = (tensor - pad) / scale.
struct ImageToTensor {
  float scale_x = 1;
  float scale_y = 1;
  float pad_x = 0;
  float pad_y = 0;

  Box ToImage(const Box& t) const {
    return {(t.x1 - pad_x) / scale_x, (t.y1 - pad_y) / scale_y, (t.x2 - pad_x) / scale_x,
            (t.y2 - pad_y) / scale_y};
  }
};

}  // namespace sightline
