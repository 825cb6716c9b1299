#include "detect/nms_greedy.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "detect/nms_greedy.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace sightline::nms_internal {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Whether a kept box in slots [begin, end) suppresses box i. Reads up to a vector further, which
// does no harm: what stands there is either free or a kept box too.
template <bool kClassAware>
HWY_INLINE bool AnySuppresses(const GreedyJob& job, size_t i, size_t begin, size_t end) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const size_t lanes = hn::Lanes(d);
  const Fields& s = job.slots;
  const auto x1 = hn::Set(d, job.boxes.x1[i]);
  const auto y1 = hn::Set(d, job.boxes.y1[i]);
  const auto x2 = hn::Set(d, job.boxes.x2[i]);
  const auto y2 = hn::Set(d, job.boxes.y2[i]);
  const auto area = hn::Set(d, job.boxes.area[i]);
  const auto threshold = hn::Set(d, job.iou_threshold);
  const auto zero = hn::Zero(d);
  for (size_t at = begin; at < end; at += lanes) {
    const auto w =
        hn::Sub(hn::Min(x2, hn::LoadU(d, s.x2 + at)), hn::Max(x1, hn::LoadU(d, s.x1 + at)));
    const auto h =
        hn::Sub(hn::Min(y2, hn::LoadU(d, s.y2 + at)), hn::Max(y1, hn::LoadU(d, s.y1 + at)));
    const auto both = hn::Mul(w, h);
    const auto iou = hn::Div(both, hn::Sub(hn::Add(area, hn::LoadU(d, s.area + at)), both));
    auto hit = hn::And(hn::And(hn::Gt(w, zero), hn::Gt(h, zero)), hn::Gt(iou, threshold));
    if constexpr (kClassAware) {
      const auto same = hn::Eq(hn::LoadU(di, s.class_id + at), hn::Set(di, job.boxes.class_id[i]));
      hit = hn::And(hit, hn::RebindMask(d, same));
    }
    if (HWY_UNLIKELY(!hn::AllFalse(d, hit))) return true;
  }
  return false;
}

template <bool kGrid, bool kClassAware>
size_t Run(const GreedyJob& job) {
  size_t kept = 0;
  for (size_t i = 0; i < job.count && kept < job.max_kept; ++i) {
    bool suppressed = false;
    if constexpr (kGrid) {
      const uint16_t* window = job.window + 4 * i;
      for (uint32_t row = window[2]; row <= window[3] && !suppressed; ++row) {
        const uint32_t* cells = job.cell_begin + row * job.columns;
        suppressed = AnySuppresses<kClassAware>(job, i, cells[window[0]], cells[window[1] + 1]);
      }
    } else {
      suppressed = AnySuppresses<kClassAware>(job, i, 0, kept);
    }
    if (suppressed) continue;
    const size_t slot = kGrid ? job.slot_of[i] : kept;
    job.slots.x1[slot] = job.boxes.x1[i];
    job.slots.y1[slot] = job.boxes.y1[i];
    job.slots.x2[slot] = job.boxes.x2[i];
    job.slots.y2[slot] = job.boxes.y2[i];
    job.slots.area[slot] = job.boxes.area[i];
    if constexpr (kClassAware) job.slots.class_id[slot] = job.boxes.class_id[i];
    job.kept[kept++] = static_cast<uint32_t>(i);
  }
  return kept;
}

size_t SuppressGreedilyOn(const GreedyJob& job) {
  if (job.slot_of != nullptr) return job.class_aware ? Run<true, true>(job) : Run<true, false>(job);
  return job.class_aware ? Run<false, true>(job) : Run<false, false>(job);
}

}  // namespace HWY_NAMESPACE
}  // namespace sightline::nms_internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sightline::nms_internal {

HWY_EXPORT(SuppressGreedilyOn);

size_t SuppressGreedily(const GreedyJob& job) {
  return HWY_DYNAMIC_DISPATCH(SuppressGreedilyOn)(job);
}

}  // namespace sightline::nms_internal
#endif
