// The inner loop of weighted boxes fusion, for box_fusion.cc alone: compiled for several instruction
// sets and chosen at run time. The operations are those of IntersectionOverUnion() in its order, so
// every set gives the same result.
#pragma once

#include <cstddef>

#include "types/geometry.h"

namespace sightline::fusion_internal {

// How far past the last box the arrays must be readable, with x1 = +inf there.
inline constexpr size_t kMatchPadding = 64;

// Fused boxes, field by field.
struct BoxFields {
  const float* x1;
  const float* y1;
  const float* x2;
  const float* y2;
  const float* area;
};

// The first of the `count` boxes that overlaps `box` most, by more than iou_threshold; `count` when
// none does.
size_t BestMatch(const BoxFields& boxes, size_t count, const Box& box, float iou_threshold);

}  // namespace sightline::fusion_internal
