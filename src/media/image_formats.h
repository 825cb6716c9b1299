// The decoders behind DecodeImage, one per library. Internal to this module.
#pragma once

#include <cstdint>
#include <span>

#include "base/status.h"
#include "media/image_codec.h"
#include "media/orientation.h"

namespace sightline {

using ByteSpan = std::span<const uint8_t>;

// What a header says, as stored.
struct StoredImage {
  int width = 0;
  int height = 0;
  Orientation orientation = Orientation::kUpright;
};

bool IsJpeg(ByteSpan bytes);
// ResourceExhausted for more scans than pictures of that size are decoded with; of a file with several
// scans the markers are looked at up to its end.
absl::StatusOr<StoredImage> ReadJpegHeader(ByteSpan bytes);
// At 1/step (1, 2, 4, 8) of its size, sides rounded up.
absl::Status DecodeJpeg(ByteSpan bytes, const StoredImage& header, int step, uint8_t* bgr);

bool IsPng(ByteSpan bytes);
absl::StatusOr<StoredImage> ReadPngHeader(ByteSpan bytes);
// PNG may state its orientation after the pixels; it is set here.
absl::Status DecodePng(ByteSpan bytes, StoredImage* header, uint8_t* bgr);
// The stored samples of grey and palette pictures, width * height of them. InvalidArgument for colours.
absl::Status DecodePngNumbers(ByteSpan bytes, const StoredImage& header, uint16_t* numbers);

bool IsWebp(ByteSpan bytes);
absl::StatusOr<StoredImage> ReadWebpHeader(ByteSpan bytes);
absl::Status DecodeWebp(ByteSpan bytes, const StoredImage& header, uint8_t* bgr);

// Everything else that libav knows as a still picture. Its name ("bmp"), or empty when it knows
// none.
std::string StillFormatByLibav(ByteSpan bytes);
// Sizes are checked inside, before pixels are allocated; the header says what was decoded.
absl::Status DecodeByLibav(ByteSpan bytes, const std::string& format, const MediaLimits& limits,
                           StoredImage* header, std::vector<uint8_t>* bgr);

// The orientation in an EXIF block (TIFF header and all, CIPA DC-008); upright when there is none.
Orientation OrientationOfExif(ByteSpan exif);

}  // namespace sightline
