// Pictures that were decoded at a part of their size because a model's input is small: how small they may
// be, and what was found back in pixels of the whole picture.
//
// Threads: reentrant.
#pragma once

#include "types/detections.h"
#include "types/model_spec.h"

namespace sightline {

// The largest of 1, 2, 4 and 8 so that a picture of that size in px, decoded at 1/step, still has at least
// the pixels of what the recipe's resize makes of it. 1 for sizes and recipes that make no sense.
int ShrinkStep(const TensorRecipe& recipe, int width, int height);

// Where a decoded picture lies in the whole one: pixel x begins at x * step + offset_x, the same down.
struct ShrunkPlace {
  int step = 1;
  int offset_x = 0;
  int offset_y = 0;
  int width = 0;  // px of the whole picture
  int height = 0;
};

// From pixels of the decoded picture to those of the whole one, exactly: both are multiples of each
// other. Boxes are clipped to the picture, as detectors do; those that lie beyond its last pixels, where
// only a cut block's padding is, go. Grids keep their cells and get another extent.
void MapToWhole(const ShrunkPlace& place, Detections* results);

}  // namespace sightline
