// Simple shapes as runs of pixels: what figures are made of.
//
// Coordinates are px of the picture (origin at the outer corner of the first pixel). A shape covers
// row y where it covers the height of the row's middle, y + 0.5; within the row ends are exact.
// Arithmetic: IEEE doubles without contraction, the same on every machine.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "sim/chance.h"

namespace sightline::sim {

struct PointD {
  double x = 0;
  double y = 0;
};

struct Extent {
  double x1 = 1e9;
  double y1 = 1e9;
  double x2 = -1e9;
  double y2 = -1e9;
  void Include(double left, double top, double right, double bottom) {
    x1 = std::min(x1, left);
    y1 = std::min(y1, top);
    x2 = std::max(x2, right);
    y2 = std::max(y2, bottom);
  }
  void Include(const Extent& e) { Include(e.x1, e.y1, e.x2, e.y2); }
};

struct Shape {
  enum class Kind : uint8_t { kCapsule, kEllipse, kRing, kPolygon };
  static constexpr int kMostPoints = 8;

  Kind kind = Kind::kEllipse;
  int count = 0;  // of the polygon's points
  // Capsule: the two ends. Ellipse, ring: the middle. Polygon: convex, in order.
  std::array<PointD, kMostPoints> points;
  double a = 0;  // capsule: radius at the first end; ellipse: half width; ring: outer radius
  double b = 0;  // capsule: radius at the second end; ellipse: half height; ring: inner radius

  Extent Bounds() const {
    Extent e;
    switch (kind) {
      case Kind::kCapsule:
        e.Include(points[0].x - a, points[0].y - a, points[0].x + a, points[0].y + a);
        e.Include(points[1].x - b, points[1].y - b, points[1].x + b, points[1].y + b);
        break;
      case Kind::kEllipse:
        e.Include(points[0].x - a, points[0].y - b, points[0].x + a, points[0].y + b);
        break;
      case Kind::kRing:
        e.Include(points[0].x - a, points[0].y - a, points[0].x + a, points[0].y + a);
        break;
      case Kind::kPolygon:
        for (int i = 0; i < count; ++i) {
          const PointD& p = points[static_cast<size_t>(i)];
          e.Include(p.x, p.y, p.x, p.y);
        }
        break;
    }
    return e;
  }
};

// An interval of a row, grown by whatever covers it.
struct Run {
  double from = 1e9;
  double to = -1e9;
  bool empty() const { return from >= to; }
  void Include(double left, double right) {
    from = std::min(from, left);
    to = std::max(to, right);
  }
  void IncludeEllipse(PointD middle, double half_width, double half_height, double y) {
    const double d = (y - middle.y) / half_height;
    if (!(d > -1 && d < 1)) return;
    const double half = half_width * std::sqrt(1 - d * d);
    Include(middle.x - half, middle.x + half);
  }
  void IncludeEdge(PointD p, PointD q, double y) {
    if (p.y > q.y) std::swap(p, q);
    if (y < p.y || y >= q.y) return;
    const double x = p.x + (y - p.y) * (q.x - p.x) / (q.y - p.y);
    Include(x, x);
  }
};

// Calls emit(row, from, to) for every run of the shape within rows 0 .. height-1, from top to bottom.
template <typename Emit>
void ForEachRun(const Shape& shape, int height, Emit&& emit) {
  const Extent bounds = shape.Bounds();
  const double most = height;
  const auto first = static_cast<int>(Floor(Clamp(bounds.y1 - 0.5, -1, most)) + 1);
  const auto last = static_cast<int>(Floor(Clamp(bounds.y2 - 0.5, -1, most - 1)));
  std::array<PointD, 4> sides{};  // of a capsule, between its two discs
  if (shape.kind == Shape::Kind::kCapsule) {
    const PointD p = shape.points[0];
    const PointD q = shape.points[1];
    const double length = std::sqrt((q.x - p.x) * (q.x - p.x) + (q.y - p.y) * (q.y - p.y));
    const double nx = length > 0 ? (p.y - q.y) / length : 0;
    const double ny = length > 0 ? (q.x - p.x) / length : 0;
    sides = {PointD{p.x + nx * shape.a, p.y + ny * shape.a},
             PointD{q.x + nx * shape.b, q.y + ny * shape.b},
             PointD{q.x - nx * shape.b, q.y - ny * shape.b},
             PointD{p.x - nx * shape.a, p.y - ny * shape.a}};
  }
  for (int row = first; row <= last; ++row) {
    const double y = row + 0.5;
    Run run;
    switch (shape.kind) {
      case Shape::Kind::kCapsule:
        run.IncludeEllipse(shape.points[0], shape.a, shape.a, y);
        run.IncludeEllipse(shape.points[1], shape.b, shape.b, y);
        for (size_t i = 0; i < 4; ++i) run.IncludeEdge(sides[i], sides[(i + 1) % 4], y);
        break;
      case Shape::Kind::kEllipse:
        run.IncludeEllipse(shape.points[0], shape.a, shape.b, y);
        break;
      case Shape::Kind::kRing: {
        run.IncludeEllipse(shape.points[0], shape.a, shape.a, y);
        Run hole;
        hole.IncludeEllipse(shape.points[0], shape.b, shape.b, y);
        if (hole.empty() || run.empty()) break;
        emit(row, run.from, hole.from);
        run.from = hole.to;
        break;
      }
      case Shape::Kind::kPolygon:
        for (int i = 0; i < shape.count; ++i) {
          run.IncludeEdge(shape.points[static_cast<size_t>(i)],
                          shape.points[static_cast<size_t>((i + 1) % shape.count)], y);
        }
        break;
    }
    if (!run.empty()) emit(row, run.from, run.to);
  }
}

}  // namespace sightline::sim
