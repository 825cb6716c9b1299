// Where finished pictures go one after the other: an encoder of a video, a preview.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "types/frame.h"

namespace sightline {

// Threads: one at a time. All pictures have the size that the writer was made for.
class PictureWriter {
 public:
  virtual ~PictureWriter() = default;
  // `picture` is borrowed for the call. pts_us rises from picture to picture.
  virtual absl::Status Write(const ImageView& picture, int64_t pts_us) = 0;
  // Finishes the file; called once. Without it the file may be unreadable.
  virtual absl::Status Close() = 0;
};

}  // namespace sightline
