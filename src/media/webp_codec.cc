// WebP by libwebp.
#include <webp/decode.h>

#include <cstring>

#include "media/image_formats.h"

namespace sightline {
namespace {

// The payload of a chunk of a RIFF file; empty when there is none.
ByteSpan FindChunk(ByteSpan bytes, const char (&name)[5]) {
  size_t at = 12;  // "RIFF", size, "WEBP"
  while (at + 8 <= bytes.size()) {
    const size_t size = bytes[at + 4] | size_t{bytes[at + 5]} << 8 | size_t{bytes[at + 6]} << 16 |
                        size_t{bytes[at + 7]} << 24;
    if (size > bytes.size() - at - 8) break;
    if (std::memcmp(bytes.data() + at, name, 4) == 0) return bytes.subspan(at + 8, size);
    at += 8 + size + (size & 1);
  }
  return {};
}

}  // namespace

bool IsWebp(ByteSpan bytes) {
  return bytes.size() >= 12 && std::memcmp(bytes.data(), "RIFF", 4) == 0 &&
         std::memcmp(bytes.data() + 8, "WEBP", 4) == 0;
}

absl::StatusOr<StoredImage> ReadWebpHeader(ByteSpan bytes) {
  WebPBitstreamFeatures features;
  const VP8StatusCode code = WebPGetFeatures(bytes.data(), bytes.size(), &features);
  if (code == VP8_STATUS_NOT_ENOUGH_DATA) return DataLoss("truncated WebP");
  if (code != VP8_STATUS_OK)
    return DataLoss("damaged WebP (libwebp status {})", static_cast<int>(code));
  if (features.has_animation != 0) {
    return Unimplemented("animated WebP is not read; convert it, for example to GIF or MP4");
  }
  ByteSpan exif = FindChunk(bytes, "EXIF");
  if (exif.size() > 6 && std::memcmp(exif.data(), "Exif\0\0", 6) == 0) exif = exif.subspan(6);
  return StoredImage{features.width, features.height, OrientationOfExif(exif)};
}

absl::Status DecodeWebp(ByteSpan bytes, const StoredImage& header, uint8_t* bgr) {
  const int stride = header.width * 3;
  const size_t size = static_cast<size_t>(stride) * header.height;
  if (WebPDecodeBGRInto(bytes.data(), bytes.size(), bgr, size, stride) == nullptr) {
    return DataLoss("truncated or damaged WebP");
  }
  return absl::OkStatus();
}

}  // namespace sightline
