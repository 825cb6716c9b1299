#include "sim/crossings.h"

#include <cmath>

namespace sightline::sim {

CrossingFinder::CrossingFinder(PointF a_px, PointF b_px, double margin_box_heights)
    : a_(a_px), b_(b_px), margin_(margin_box_heights) {
  const double dx = static_cast<double>(b_.x) - a_.x;
  const double dy = static_cast<double>(b_.y) - a_.y;
  length_ = std::sqrt(dx * dx + dy * dy);
}

// px to the endless line; positive on its right.
double CrossingFinder::Distance(PointF p) const {
  const double dx = static_cast<double>(b_.x) - a_.x;
  const double dy = static_cast<double>(b_.y) - a_.y;
  return (dx * (static_cast<double>(p.y) - a_.y) - dy * (static_cast<double>(p.x) - a_.x)) /
         length_;
}

// The line itself belongs to its right.
int CrossingFinder::WayThrough(PointF from, PointF to) const {
  const double d0 = Distance(from);
  const double d1 = Distance(to);
  if ((d0 >= 0) == (d1 >= 0)) return 0;
  const double part = d0 / (d0 - d1);
  const double x = from.x + part * (static_cast<double>(to.x) - from.x);
  const double y = from.y + part * (static_cast<double>(to.y) - from.y);
  const double along = ((x - a_.x) * (static_cast<double>(b_.x) - a_.x) +
                        (y - a_.y) * (static_cast<double>(b_.y) - a_.y)) /
                       (length_ * length_);
  if (along < 0 || along > 1) return 0;
  return d1 >= 0 ? 1 : -1;
}

void CrossingFinder::Watch(int64_t frame, const Truth& truth, std::vector<Crossing>* found) {
  for (const TruthObject& object : truth.objects) {
    const PointF anchor = object.box_px.bottom_center();
    const auto [entry, is_new] = states_.try_emplace(object.id);
    State& state = entry->second;
    if (!is_new) state.through += WayThrough(state.anchor_px, anchor);
    state.anchor_px = anchor;
    state.seen = frame;
    const double distance = Distance(anchor);
    const double margin = margin_ * static_cast<double>(object.box_px.height());
    if (!(std::abs(distance) > margin)) continue;
    const int side = distance > 0 ? 1 : -1;
    const bool went = side > 0 ? state.through > 0 : state.through < 0;
    if (state.side == -side && went) {
      found->push_back({.frame = frame,
                        .id = object.id,
                        .object_class = object.object_class,
                        .forward = side > 0});
    }
    state.side = side;
    state.through = 0;
  }
  // Whoever has left does not come back.
  constexpr int64_t kForgetAfter = 300;  // frames
  if (frame % kForgetAfter == 0) {
    std::erase_if(states_, [&](const auto& e) { return frame - e.second.seen > kForgetAfter; });
  }
}

}  // namespace sightline::sim
