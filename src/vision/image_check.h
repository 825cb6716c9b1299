// Validation of pictures before any heavy work.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "types/frame.h"
#include "types/tensor.h"

namespace sightline {

// Largest side, in pixels, that the engine works on. 8192 covers 8K video; chosen, not measured.
inline constexpr int kMaxImageSide = 8192;
// Largest side of an uploaded or batch picture.
inline constexpr int kMaxUploadSide = 4096;

// Whether `image` can be read: known format, sides 1..max_side, every plane there, every stride at
// least the row's length. InvalidArgument says which of these fails and the values seen.
// Cost: nanoseconds.
absl::Status CheckImage(const ImageView& image, int max_side = kMaxImageSide);

// Whether an array given as a picture may be taken: 2 (grey) or 3 dimensions (height, width,
// channels: 1, 3 or 4), uint8 or float32, sides 1..max_side. To be asked with the header's values,
// before a single pixel is decoded or allocated.
absl::Status CheckImageArray(const TensorInfo& array, int max_side = kMaxUploadSide);

// Whether a picture file's declared size may be decoded, against decompression bombs: sides
// 1..max_side, and at least one encoded byte for every `max_pixels_per_byte` pixels (chosen, not
// measured: a flat 4096x4096 PNG has about 1000 pixels a byte).
absl::Status CheckEncodedImage(int64_t width, int64_t height, int64_t encoded_bytes,
                               int max_side = kMaxUploadSide, int64_t max_pixels_per_byte = 4000);

}  // namespace sightline
