// The prior boxes of Ultra-Light face models (see ultraface.cc), in the order of the outputs' rows.
#pragma once

#include <vector>

namespace sightline {

// Fractions of the input's width and height.
struct UltrafacePrior {
  float cx;
  float cy;
  float w;
  float h;
};

std::vector<UltrafacePrior> UltrafacePriors(int width, int height);

}  // namespace sightline
