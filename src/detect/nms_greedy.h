// The inner loop of hard non-maximum suppression, for nms.cc alone: compiled for several
// instruction sets and chosen at run time. Only IEEE operations in a fixed order and no fused
// multiply-add, so every set gives the same result.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sightline::nms_internal {

// How far past the last box the slot arrays must be readable, with x1 = +inf there.
inline constexpr size_t kSlotPadding = 64;

struct Fields {
  float* x1;
  float* y1;
  float* x2;
  float* y2;
  float* area;
  int32_t* class_id;
};

struct GreedyJob {
  Fields boxes;  // by falling confidence
  size_t count;
  Fields slots;  // all free on entry; count + kSlotPadding long
  bool class_aware;
  float iou_threshold;
  size_t max_kept;
  uint32_t* kept;  // out: positions in `boxes`, rising
  // With a grid; null without: then the kept boxes fill the slots from the front.
  const uint32_t* slot_of;     // each box's own slot
  const uint16_t* window;      // four per box: first and last column, first and last row
  const uint32_t* cell_begin;  // rows x columns, and the end
  uint32_t columns;
};

// Returns how many were kept.
size_t SuppressGreedily(const GreedyJob& job);

}  // namespace sightline::nms_internal
