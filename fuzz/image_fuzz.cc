// Any bytes as a picture: DecodeImage may refuse, never crash, hang or take memory without bound.
#include <cstddef>
#include <cstdint>

#include "media/image_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sightline::MediaLimits limits;
  limits.max_image_side_px = 512;  // small, so that the time goes into variety
  const auto header = sightline::ReadImageHeader({data, size}, limits);
  const auto image = sightline::DecodeImage({data, size}, limits);
  if (!image.ok()) return 0;
  // What decodes has a header that says the same size.
  if (!header.ok() || image->bgr.size() != static_cast<size_t>(image->width) * image->height * 3) {
    __builtin_trap();
  }
  return 0;
}
