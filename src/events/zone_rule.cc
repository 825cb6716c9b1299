#include "events/zone_rule.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace sightline {
namespace {

constexpr size_t kMaxCorners = 1000;
constexpr int kMaxFrames = 100'000;

double Cross(PointF o, PointF p, PointF q) {
  return (static_cast<double>(p.x) - o.x) * (static_cast<double>(q.y) - o.y) -
         (static_cast<double>(p.y) - o.y) * (static_cast<double>(q.x) - o.x);
}

// Whether r, known to lie on the line through p and q, lies between them.
bool Between(PointF p, PointF q, PointF r) {
  return std::min(p.x, q.x) <= r.x && r.x <= std::max(p.x, q.x) && std::min(p.y, q.y) <= r.y &&
         r.y <= std::max(p.y, q.y);
}

bool SegmentsMeet(PointF p1, PointF p2, PointF q1, PointF q2) {
  const double a = Cross(q1, q2, p1);
  const double b = Cross(q1, q2, p2);
  const double c = Cross(p1, p2, q1);
  const double d = Cross(p1, p2, q2);
  if (((a > 0) != (b > 0)) && ((c > 0) != (d > 0)) && a != 0 && b != 0 && c != 0 && d != 0) {
    return true;
  }
  return (a == 0 && Between(q1, q2, p1)) || (b == 0 && Between(q1, q2, p2)) ||
         (c == 0 && Between(p1, p2, q1)) || (d == 0 && Between(p1, p2, q2));
}

double SquaredDistance(PointF p, PointF a, PointF b) {
  const double ax = static_cast<double>(b.x) - a.x;
  const double ay = static_cast<double>(b.y) - a.y;
  const double px = static_cast<double>(p.x) - a.x;
  const double py = static_cast<double>(p.y) - a.y;
  const double t = std::clamp((px * ax + py * ay) / (ax * ax + ay * ay), 0.0, 1.0);
  const double dx = px - t * ax;
  const double dy = py - t * ay;
  return dx * dx + dy * dy;
}

absl::Status CheckPolygon(const std::string& name, const std::vector<PointF>& polygon) {
  for (const PointF& p : polygon) {
    if (!std::isfinite(p.x) || !std::isfinite(p.y)) {
      return InvalidArgument("zone {}: a corner is not finite", name);
    }
  }
  const size_t n = polygon.size();
  if (n < 3 || n > kMaxCorners) {
    return InvalidArgument("zone {}: {} different corners, must be 3 to {}", name, n, kMaxCorners);
  }
  double area = 0;
  for (size_t i = 0; i < n; ++i) area += Cross(polygon[0], polygon[i], polygon[(i + 1) % n]);
  if (area == 0) return InvalidArgument("zone {}: the polygon has no area", name);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = i + 1; j < n; ++j) {
      const bool neighbours = j == i + 1 || (i == 0 && j == n - 1);
      if (neighbours) continue;
      if (SegmentsMeet(polygon[i], polygon[i + 1], polygon[j], polygon[(j + 1) % n])) {
        return InvalidArgument(
            "zone {}: the edge after corner {} meets the edge after corner {}; list the corners in "
            "order around the zone",
            name, i + 1, j + 1);
      }
    }
  }
  return absl::OkStatus();
}

// A polygon given closed, or with a corner twice in a row, means the same without the repetition.
std::vector<PointF> WithoutRepetition(std::vector<PointF> polygon) {
  polygon.erase(std::unique(polygon.begin(), polygon.end()), polygon.end());
  while (polygon.size() > 1 && polygon.front() == polygon.back()) polygon.pop_back();
  return polygon;
}

}  // namespace

float MarginPx(const BoundaryMargin& margin, float box_height_px) {
  return std::max(margin.px, margin.box_heights * box_height_px);
}

absl::Status CheckMargin(const BoundaryMargin& margin) {
  if (!(margin.px >= 0) || !std::isfinite(margin.px)) {
    return InvalidArgument("margin of {} px, must be 0 or more", margin.px);
  }
  if (!(margin.box_heights >= 0) || !(margin.box_heights <= 10)) {
    return InvalidArgument("margin of {} box heights, must be 0 to 10", margin.box_heights);
  }
  return absl::OkStatus();
}

absl::StatusOr<ZoneRule> ZoneRule::Create(const ZoneSpec& spec) {
  ZoneSpec own = spec;
  own.polygon_px = WithoutRepetition(std::move(own.polygon_px));
  std::sort(own.classes.begin(), own.classes.end());
  SL_RETURN_IF_ERROR(CheckPolygon(own.name, own.polygon_px));
  SL_RETURN_IF_ERROR(WithContext(CheckMargin(own.margin), "zone " + own.name));
  const auto frames_ok = [](int frames) { return frames >= 1 && frames <= kMaxFrames; };
  if (!frames_ok(own.enter_frames) || !frames_ok(own.exit_frames)) {
    return InvalidArgument("zone {}: enter_frames {} and exit_frames {} must be 1 to {}", own.name,
                           own.enter_frames, own.exit_frames, kMaxFrames);
  }
  if (own.min_track_age_us < 0) {
    return InvalidArgument("zone {}: min_track_age is negative", own.name);
  }
  return ZoneRule(std::move(own));
}

ZoneRule::ZoneRule(ZoneSpec spec) : spec_(std::move(spec)) {
  bounds_px_ = {spec_.polygon_px[0].x, spec_.polygon_px[0].y, spec_.polygon_px[0].x,
                spec_.polygon_px[0].y};
  for (const PointF& p : spec_.polygon_px) {
    bounds_px_ = {std::min(bounds_px_.x1, p.x), std::min(bounds_px_.y1, p.y),
                  std::max(bounds_px_.x2, p.x), std::max(bounds_px_.y2, p.y)};
  }
}

bool ZoneRule::Admits(int32_t class_id) const {
  return spec_.classes.empty() ||
         std::binary_search(spec_.classes.begin(), spec_.classes.end(), class_id);
}

// Even-odd rule: how many edges does a ray to the right meet?
bool ZoneRule::Contains(PointF p) const {
  if (p.x < bounds_px_.x1 || p.x > bounds_px_.x2 || p.y < bounds_px_.y1 || p.y > bounds_px_.y2) {
    return false;
  }
  bool inside = false;
  const std::vector<PointF>& polygon = spec_.polygon_px;
  for (size_t i = 0, j = polygon.size() - 1; i < polygon.size(); j = i++) {
    const PointF a = polygon[i];
    const PointF b = polygon[j];
    if ((a.y > p.y) == (b.y > p.y)) continue;
    // Right of p? The sign of the cross product, turned so that the edge goes down.
    const double side = Cross(a, b, p);
    if (b.y > a.y ? side > 0 : side < 0) inside = !inside;
  }
  return inside;
}

bool ZoneRule::IsBeyond(PointF p, float margin_px) const {
  if (Contains(p)) return false;
  if (p.x < bounds_px_.x1 - margin_px || p.x > bounds_px_.x2 + margin_px ||
      p.y < bounds_px_.y1 - margin_px || p.y > bounds_px_.y2 + margin_px) {
    return true;
  }
  double nearest = std::numeric_limits<double>::infinity();
  const std::vector<PointF>& polygon = spec_.polygon_px;
  for (size_t i = 0, j = polygon.size() - 1; i < polygon.size(); j = i++) {
    nearest = std::min(nearest, SquaredDistance(p, polygon[j], polygon[i]));
  }
  return nearest > static_cast<double>(margin_px) * margin_px;
}

ZoneRule::Change ZoneRule::Watch(PointF anchor_px, float box_height_px, bool admitted,
                                 State* state) const {
  const bool speaks_for_change = state->inside
                                     ? IsBeyond(anchor_px, MarginPx(spec_.margin, box_height_px))
                                     : admitted && Contains(anchor_px);
  state->run = speaks_for_change ? state->run + 1 : 0;
  if (state->run < (state->inside ? spec_.exit_frames : spec_.enter_frames) || state->run == 0) {
    return Change::kNone;
  }
  state->run = 0;
  state->inside = !state->inside;
  return state->inside ? Change::kEntered : Change::kExited;
}

}  // namespace sightline
