#include "vision/image_check.h"

#include "types/tensor.h"

namespace sightline {
namespace {

absl::Status CheckSides(int64_t width, int64_t height, int max_side) {
  if (width >= 1 && height >= 1 && width <= max_side && height <= max_side) {
    return absl::OkStatus();
  }
  return InvalidArgument("picture is {}x{}; each side must be 1 to {} pixels{}", width, height,
                         max_side, width < 1 || height < 1 ? "" : ": scale it down first");
}

}  // namespace

absl::Status CheckImage(const ImageView& image, int max_side) {
  const int planes = PlaneCount(image.format);
  if (planes == 0) {
    return InvalidArgument("picture has an unknown pixel format ({})",
                           static_cast<int>(image.format));
  }
  if (absl::Status sides = CheckSides(image.width, image.height, max_side); !sides.ok()) {
    return sides;
  }
  for (int p = 0; p < planes; ++p) {
    if (image.planes[p] == nullptr) {
      return InvalidArgument("{} picture of {}x{} lacks plane {}", ToString(image.format),
                             image.width, image.height, p);
    }
    const int row_bytes = PlaneRowBytes(image.format, p, image.width);
    if (image.strides[p] < row_bytes) {
      return InvalidArgument(
          "{} picture of {}x{}: plane {} has a stride of {} bytes, a row needs {}",
          ToString(image.format), image.width, image.height, p, image.strides[p], row_bytes);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckImageArray(const TensorInfo& array, int max_side) {
  if (array.shape.size() != 2 && array.shape.size() != 3) {
    return InvalidArgument(
        "picture {} has {} dimensions; give (height, width) or (height, width, "
        "channels)",
        ToString(array), array.shape.size());
  }
  if (array.dtype != DataType::kUint8 && array.dtype != DataType::kFloat32) {
    return InvalidArgument("picture {} is neither uint8 nor float32: convert it first",
                           ToString(array));
  }
  if (array.shape.size() == 3) {
    const int64_t channels = array.shape[2];
    if (channels != 1 && channels != 3 && channels != 4) {
      return InvalidArgument("picture {} has {} channels; give 1, 3 or 4, as the last dimension",
                             ToString(array), channels);
    }
  }
  return CheckSides(array.shape[1], array.shape[0], max_side);
}

absl::Status CheckEncodedImage(int64_t width, int64_t height, int64_t encoded_bytes, int max_side,
                               int64_t max_pixels_per_byte) {
  if (absl::Status sides = CheckSides(width, height, max_side); !sides.ok()) return sides;
  if (encoded_bytes < 1) return InvalidArgument("picture of {}x{} has no data", width, height);
  if (width * height / encoded_bytes > max_pixels_per_byte) {
    return InvalidArgument(
        "picture claims {}x{} pixels in {} bytes, more than {} pixels a byte: "
        "refused as a decompression bomb",
        width, height, encoded_bytes, max_pixels_per_byte);
  }
  return absl::OkStatus();
}

}  // namespace sightline
