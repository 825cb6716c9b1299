// The inner loops of perceptual hashes, in portable SIMD (Highway, the best instruction set of this
// machine chosen at run time).
//
// Floats are added, subtracted and divided one by one in the order of the reference (PDQ's running sums
// carry their rounding along), never fused: results are the same on every instruction set.
// Widths of float rows are multiples of kHashLanes; what lies beyond the picture is anything.
#pragma once

#include <cstdint>

namespace sightline {

inline constexpr int kHashLanes = 16;  // rows that are worked on at once, and floats of a step

struct HashKernels {
  // Pillow's "L" of RGB: (19595 R + 38470 G + 7471 B + 32768) >> 16. Rows of `width` pixels; reads and
  // writes up to kHashLanes beyond.
  void (*grey)(const uint8_t* r, const uint8_t* g, const uint8_t* b, int width, uint8_t* to);
  // PDQ's 0.299 R + 0.587 G + 0.114 B, rounded once: of the exact sum in thousandths.
  void (*luma)(const uint8_t* r, const uint8_t* g, const uint8_t* b, int width, float* to);
  void (*widen)(const uint8_t* grey, int width, float* to);

  // kHashLanes rows of `width` floats, `stride` apart, to columns[kHashLanes * x + row], and back.
  void (*to_columns)(const float* rows, int stride, int width, float* columns);
  void (*to_rows)(const float* columns, int width, int stride, float* rows);

  // PDQ's box filter along kHashLanes rows at once, as columns; to[kHashLanes * x + row].
  void (*box)(const float* columns, int width, int window, float* to);
  // The same, but only the results at the `count` places `at`, which do not fall: to[kHashLanes * i + row].
  void (*box_at)(const float* columns, int width, int window, const int* at, int count, float* to);

  // One step of the filter down columns: sums += add, sums -= subtract; each may be null.
  void (*slide)(const float* add, const float* subtract, int width, float* sums);
  // to = sums / divisor
  void (*divide)(const float* sums, int width, float divisor, float* to);

  // The sum of products of two rows; of any length, in an order of its own.
  float (*dot)(const float* a, const float* b, int length);
};

const HashKernels& BestHashKernels();

}  // namespace sightline
