#include "detect/fused_box_match.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "detect/fused_box_match.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace sightline::fusion_internal {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

size_t BestMatchOn(const BoxFields& boxes, size_t count, const Box& box, float iou_threshold) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto x1 = hn::Set(d, box.x1);
  const auto y1 = hn::Set(d, box.y1);
  const auto x2 = hn::Set(d, box.x2);
  const auto y2 = hn::Set(d, box.y2);
  const auto area = hn::Set(d, box.area());
  const auto zero = hn::Zero(d);
  HWY_ALIGN float found[HWY_MAX_BYTES / sizeof(float)];
  size_t best = count;
  float best_iou = iou_threshold;
  for (size_t at = 0; at < count; at += lanes) {
    const auto w =
        hn::Sub(hn::Min(hn::LoadU(d, boxes.x2 + at), x2), hn::Max(hn::LoadU(d, boxes.x1 + at), x1));
    const auto h =
        hn::Sub(hn::Min(hn::LoadU(d, boxes.y2 + at), y2), hn::Max(hn::LoadU(d, boxes.y1 + at), y1));
    const auto both = hn::Mul(w, h);
    const auto iou = hn::Div(both, hn::Sub(hn::Add(hn::LoadU(d, boxes.area + at), area), both));
    const auto overlap = hn::And(hn::Gt(w, zero), hn::Gt(h, zero));
    const auto better = hn::And(overlap, hn::Gt(iou, hn::Set(d, best_iou)));
    if (HWY_LIKELY(hn::AllFalse(d, better))) continue;
    hn::Store(hn::IfThenElseZero(better, iou), d, found);
    for (size_t lane = 0; lane < lanes; ++lane) {
      if (!(found[lane] > best_iou)) continue;
      best_iou = found[lane];
      best = at + lane;
    }
  }
  return best;
}

}  // namespace HWY_NAMESPACE
}  // namespace sightline::fusion_internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sightline::fusion_internal {

HWY_EXPORT(BestMatchOn);

size_t BestMatch(const BoxFields& boxes, size_t count, const Box& box, float iou_threshold) {
  return HWY_DYNAMIC_DISPATCH(BestMatchOn)(boxes, count, box, iou_threshold);
}

}  // namespace sightline::fusion_internal
#endif
