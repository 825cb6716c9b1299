// Boxes as evaluation takes them: in double, because one bit decides whether an overlap of exactly
// one half counts.
//
// Coordinates: px, x and y of the left top corner, as in the files of COCO and MOTChallenge; types
// Box's corners are (x, y, x + width, y + height). Threads: reentrant.
#pragma once

#include <algorithm>

#include "types/geometry.h"

namespace sightline::evaluate {

struct PlacedBox {
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;

  double area() const { return width * height; }
};

inline PlacedBox PlacedBoxOf(const Box& box) {
  return {box.x1, box.y1, static_cast<double>(box.x2) - box.x1,
          static_cast<double>(box.y2) - box.y1};
}

// The area that both cover; 0 when they do not overlap.
inline double SharedArea(const PlacedBox& a, const PlacedBox& b) {
  const double width = std::min(a.x + a.width, b.x + b.width) - std::max(a.x, b.x);
  const double height = std::min(a.y + a.height, b.y + b.height) - std::max(a.y, b.y);
  return width <= 0 || height <= 0 ? 0 : width * height;
}

}  // namespace sightline::evaluate
