// Still pictures: JPEG, PNG, WebP, BMP, TIFF, PNM, GIF (its first picture) and whatever other still
// format libav reads, to 8-bit BGR and back.
//
// Decoded pixels are those of OpenCV's imread(IMREAD_COLOR): for JPEG (ITU-T T.81) bit for bit,
// since both use libjpeg-turbo with the accurate integer DCT and smooth chroma upsampling; for PNG
// (ISO 15948) and WebP likewise. Gray becomes three equal channels, alpha is left off without
// blending, of 16-bit samples the high byte stays, CMYK is turned to BGR by the formula that OpenCV
// uses, and the EXIF orientation is applied.
//
// Safety: the header is read first, and pictures beyond MediaLimits are refused before memory of
// their size is touched, as are JPEGs whose number of scans times pixels is beyond 20 * 4096 * 4096
// (where it is more than 20) and PNGs with more data than pixels. No input makes these functions throw or abort. Truncated pictures are
// errors, never half gray.
//
// Threads: all functions are reentrant. Cost: that of the codec; one allocation of width * height
// * 3.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "media/media_limits.h"
#include "types/frame.h"

namespace sightline {

struct DecodedImage {
  int width = 0;             // px, upright
  int height = 0;            // px
  std::vector<uint8_t> bgr;  // rows of width * 3 bytes without padding

  ImageView view() const {
    return {.format = PixelFormat::kBgr24,
            .range = ColorRange::kFull,
            .width = width,
            .height = height,
            .planes = {bgr.data(), nullptr, nullptr},
            .strides = {width * 3, 0, 0}};
  }
};

struct ImageHeader {
  std::string format;  // "jpeg", "png", "webp", "bmp", "tiff" ...
  int width = 0;       // px, as it will be decoded (upright)
  int height = 0;      // px
};

// Whether the first bytes of a file (32 are enough) are those of a still picture that DecodeImage
// knows. GIF does not count here: it may move, and VideoFileSource reads it.
bool LooksLikeImage(std::span<const uint8_t> first_bytes);

// Whether a file name ends as pictures do (".jpg", ".PNG" ...).
bool HasImageExtension(std::string_view path);

// Decodes nothing of JPEG, PNG and WebP: reads their headers, and of a JPEG with several scans the
// markers up to its end; the rarer formats are decoded. Errors as DecodeImage.
absl::StatusOr<ImageHeader> ReadImageHeader(std::span<const uint8_t> bytes,
                                            const MediaLimits& limits = {});

// Errors: InvalidArgument (no picture that is known, no bytes), DataLoss (truncated, corrupt),
// ResourceExhausted (beyond the limits), Unimplemented (a variant that is not read).
absl::StatusOr<DecodedImage> DecodeImage(std::span<const uint8_t> bytes,
                                         const MediaLimits& limits = {});

// As DecodeImage, into memory that is reused; after an error `image` holds nothing of use.
absl::Status DecodeImageInto(std::span<const uint8_t> bytes, const MediaLimits& limits,
                             DecodedImage* image);

// A picture file; errors start with the path.
absl::StatusOr<DecodedImage> ReadImage(const std::string& path, const MediaLimits& limits = {});

// `image` is kBgr24, at most 65535 pixels a side (JPEG's bound, kept for both). PNG: 8-bit RGB,
// fast compression. JPEG: baseline, 4:2:0, quality 1 to 100.
absl::StatusOr<std::vector<uint8_t>> EncodePng(const ImageView& image);
absl::StatusOr<std::vector<uint8_t>> EncodeJpeg(const ImageView& image, int quality = 90);

// Encodes by the path's extension (.png, .jpg, .jpeg) and writes the file in one go: a temporary
// file beside it is renamed. ResourceExhausted when the disk is full.
absl::Status WriteImage(const std::string& path, const ImageView& image, int jpeg_quality = 90);

}  // namespace sightline
