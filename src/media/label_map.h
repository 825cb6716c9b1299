// Label maps: PNG files whose samples are class numbers, not colours.
//
// Grey of 1 to 16 bits and palettes are read as the numbers that are stored (a palette's entries are
// not looked at); colour is refused. Rotation by EXIF is not applied: such maps are made by tools.
// Threads: reentrant. Cost: that of libpng.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "media/media_limits.h"

namespace sightline {

struct DecodedLabels {
  int width = 0;                  // px
  int height = 0;                 // px
  std::vector<uint16_t> classes;  // row after row
};

// Errors start with the path: InvalidArgument (no PNG, or one of colours), DataLoss (truncated,
// damaged), ResourceExhausted (beyond the limits).
absl::StatusOr<DecodedLabels> ReadLabelMap(const std::string& path, const MediaLimits& limits = {});

}  // namespace sightline
