// Turning pictures upright: the eight orientations of EXIF (CIPA DC-008, tag 274).
#pragma once

#include <array>
#include <cstdint>

#include "types/frame.h"

namespace sightline {

// How stored pixels become upright ones; the numbers are EXIF's.
enum class Orientation : uint8_t {
  kUpright = 1,
  kMirror = 2,  // left and right swapped
  kRotate180 = 3,
  kFlip = 4,        // top and bottom swapped
  kTranspose = 5,   // rows become columns
  kRotate90 = 6,    // clockwise
  kTransverse = 7,  // transposed along the other diagonal
  kRotate270 = 8    // clockwise
};

inline bool SwapsSides(Orientation orientation) { return orientation >= Orientation::kTranspose; }

// Writes `source` turned upright into `planes` with `strides` (bytes); the destination's width and
// height are the source's, swapped when SwapsSides(). Formats: kI420, kI444, kNv12, kBgr24, kRgb24,
// kGray8; kI422 only for orientations that do not swap sides. Returns false for any other.
// The destination must not overlap the source. Cost: one pass, blocks of 32x32 for the cache.
bool TurnUpright(const ImageView& source, Orientation orientation,
                 const std::array<uint8_t*, 3>& planes, const std::array<int, 3>& strides);

}  // namespace sightline
