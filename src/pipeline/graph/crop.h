// Parts of a picture as pictures of their own, and the way back for what was found in them.
//
// Threads: reentrant. Cost: no pixel is copied: a crop shares its picture's memory.
#pragma once

#include <optional>

#include "types/detections.h"
#include "types/frame.h"

namespace sightline {

struct Crop {
  Frame frame;  // meta is that of the whole picture but for width and height
  int x = 0;    // of its first pixel in the whole picture
  int y = 0;
};

// What lies under `box_px`, which may reach beyond the picture, grown on each side by `margin` times
// its width or height. Sides are whole pixels, outwards; with subsampled chroma the first pixel is one
// that has its own colour, so that a crop may begin one pixel earlier. Nothing when less than
// `min_side_px` (at least 1) of either side of the box lies within the picture, or the box is not
// finite.
std::optional<Crop> CropOf(const Frame& frame, const Box& box_px, float margin, int min_side_px);

// Everything with a place in `result`, found in a crop that begins at (x, y), to where it lies in the
// whole picture.
void MoveBy(int x, int y, Detections* result);

}  // namespace sightline
