#include "events/line_rule.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "events/zone_rule.h"

namespace sightline {

absl::StatusOr<LineRule> LineRule::Create(const LineSpec& spec) {
  LineSpec own = spec;
  std::sort(own.classes.begin(), own.classes.end());
  const bool finite = std::isfinite(own.a_px.x) && std::isfinite(own.a_px.y) &&
                      std::isfinite(own.b_px.x) && std::isfinite(own.b_px.y);
  if (!finite) return InvalidArgument("line {}: an end is not finite", own.name);
  if (own.a_px == own.b_px) {
    return InvalidArgument("line {}: both ends are the same point", own.name);
  }
  if (own.forward_name.empty() || own.forward_name == own.backward_name) {
    return InvalidArgument("line {}: the two directions need names that differ", own.name);
  }
  SL_RETURN_IF_ERROR(WithContext(CheckMargin(own.margin), "line " + own.name));
  if (own.min_track_age_us < 0) {
    return InvalidArgument("line {}: min_track_age is negative", own.name);
  }
  return LineRule(std::move(own));
}

LineRule::LineRule(LineSpec spec) : spec_(std::move(spec)) {
  dx_ = static_cast<double>(spec_.b_px.x) - spec_.a_px.x;
  dy_ = static_cast<double>(spec_.b_px.y) - spec_.a_px.y;
  length_ = std::hypot(dx_, dy_);
}

bool LineRule::Admits(int32_t class_id) const {
  return spec_.classes.empty() ||
         std::binary_search(spec_.classes.begin(), spec_.classes.end(), class_id);
}

// Distance to the endless line in px: positive right of it (seen from a to b, y down).
double LineRule::SideOf(PointF p) const {
  return (dx_ * (static_cast<double>(p.y) - spec_.a_px.y) -
          dy_ * (static_cast<double>(p.x) - spec_.a_px.x)) /
         length_;
}

// 1 or -1 when the straight way goes through the segment, forward or backward; else 0. The line
// itself belongs to its right side, so that a stop on it is no second passage.
int LineRule::PassageOf(PointF from, PointF to) const {
  const double before = SideOf(from);
  const double after = SideOf(to);
  if ((before >= 0) == (after >= 0)) return 0;
  const double part = before / (before - after);
  const double x = from.x + part * (static_cast<double>(to.x) - from.x) - spec_.a_px.x;
  const double y = from.y + part * (static_cast<double>(to.y) - from.y) - spec_.a_px.y;
  const double along = (x * dx_ + y * dy_) / (length_ * length_);
  if (along < 0 || along > 1) return 0;
  return after >= 0 ? 1 : -1;
}

CrossDirection LineRule::Watch(PointF anchor_px, float box_height_px, State* state) const {
  if (state->seen) state->passages += PassageOf(state->anchor_px, anchor_px);
  state->anchor_px = anchor_px;
  state->seen = true;
  const double side = SideOf(anchor_px);
  const double margin = MarginPx(spec_.margin, box_height_px);
  if (!(std::abs(side) > margin)) return CrossDirection::kNone;
  const int8_t reached = side > 0 ? 1 : -1;
  const bool changed = state->settled == -reached;
  const bool through = reached > 0 ? state->passages > 0 : state->passages < 0;
  state->settled = reached;
  state->passages = 0;
  if (!changed || !through) return CrossDirection::kNone;
  return reached > 0 ? CrossDirection::kForward : CrossDirection::kBackward;
}

}  // namespace sightline
