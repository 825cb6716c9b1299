// The empty street: houses, pavements, kerbs, the road with its crossing. Made once for a size.
//
// Threads: immutable, shared freely. Cost: about 0.2 s a megapixel to make.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "sim/figure.h"
#include "sim/sim_options.h"

namespace sightline::sim {

// An I420 picture with a margin of `margin` px (even) on every side, for the camera's trembling.
struct Backdrop {
  int width = 0;   // px, with the margins
  int height = 0;  // px, with the margins
  int margin = 0;
  std::array<std::vector<uint8_t>, 3> planes;
  int chroma_width() const { return (width + 1) / 2; }
};

std::shared_ptr<const Backdrop> MakeBackdrop(const SimOptions& options, const View& view, int width,
                                             int height);

}  // namespace sightline::sim
