// Parting pictures in two that share none: one to work with, one to judge by.
//
// Which part a picture falls into follows from its bytes and the seed alone, not from its name or
// the order of the files. Files of equal bytes are one picture and counted once; copies that were
// saved anew, and neighbouring frames of a clip, are not recognised: who collects pictures sees to
// that.
//
// Threads: reentrant.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/uuid.h"

namespace sightline::evaluate {

struct PictureSplit {
  std::vector<size_t> work;   // positions, rising
  std::vector<size_t> judge;  // positions, rising
  size_t copies = 0;          // pictures left out because another has the same bytes
  size_t beyond = 0;          // left out because there are more than wanted
};

// `contents`: of each picture's bytes. At most `most` pictures, of which the part `work_share` (0 to
// 1, rounded) goes to the work.
PictureSplit SplitPictures(std::span<const Hash128> contents, double work_share, size_t most,
                           uint64_t seed);

}  // namespace sightline::evaluate
