// How large a picture may be before it is refused unread: a few bytes of a file can claim
// gigabytes.
#pragma once

#include <cstddef>

namespace sightline {

// Width and height are each bound, in pixels as stored (before any rotation). The headers are
// looked at before anything of that size is allocated.
struct MediaLimits {
  int max_image_side_px = 4096;
  int max_video_side_px = 8192;
  size_t max_image_file_bytes = size_t{256}
                                << 20;  // chosen: a 4096x4096 16-bit RGBA bitmap is half
};

}  // namespace sightline
