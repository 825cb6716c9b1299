#include "media/orientation.h"

#include <algorithm>
#include <cstring>

namespace sightline {
namespace {

// One plane of `width` x `height` samples of kBytes each (the source's size).
template <int kBytes>
void TurnPlane(const uint8_t* source, int source_stride, int width, int height,
               Orientation orientation, uint8_t* target, int target_stride) {
  const bool swap = SwapsSides(orientation);
  const int out_width = swap ? height : width;
  const int out_height = swap ? width : height;
  // Where target pixel (x, y) comes from: start + x * step_x + y * step_y, in bytes.
  const int64_t row = source_stride;
  const int64_t right = static_cast<int64_t>(width - 1) * kBytes;
  const int64_t bottom = static_cast<int64_t>(height - 1) * row;
  int64_t start = 0;
  int64_t step_x = kBytes;
  int64_t step_y = row;
  switch (orientation) {
    case Orientation::kUpright:
      break;
    case Orientation::kMirror:
      start = right;
      step_x = -kBytes;
      break;
    case Orientation::kRotate180:
      start = right + bottom;
      step_x = -kBytes;
      step_y = -row;
      break;
    case Orientation::kFlip:
      start = bottom;
      step_y = -row;
      break;
    case Orientation::kTranspose:
      step_x = row;
      step_y = kBytes;
      break;
    case Orientation::kRotate90:
      start = bottom;
      step_x = -row;
      step_y = kBytes;
      break;
    case Orientation::kTransverse:
      start = right + bottom;
      step_x = -row;
      step_y = -kBytes;
      break;
    case Orientation::kRotate270:
      start = right;
      step_x = row;
      step_y = -kBytes;
      break;
  }
  constexpr int kBlock = 32;
  for (int y0 = 0; y0 < out_height; y0 += kBlock) {
    const int y1 = std::min(y0 + kBlock, out_height);
    for (int x0 = 0; x0 < out_width; x0 += kBlock) {
      const int x1 = std::min(x0 + kBlock, out_width);
      for (int y = y0; y < y1; ++y) {
        const uint8_t* from = source + start + y * step_y + x0 * step_x;
        uint8_t* to = target + static_cast<int64_t>(y) * target_stride + x0 * kBytes;
        for (int x = x0; x < x1; ++x, from += step_x, to += kBytes) std::memcpy(to, from, kBytes);
      }
    }
  }
}

}  // namespace

bool TurnUpright(const ImageView& source, Orientation orientation,
                 const std::array<uint8_t*, 3>& planes, const std::array<int, 3>& strides) {
  const int w = source.width;
  const int h = source.height;
  const auto plane = [&]<int kBytes>(int i, int plane_width, int plane_height) {
    TurnPlane<kBytes>(source.planes[i], source.strides[i], plane_width, plane_height, orientation,
                      planes[i], strides[i]);
  };
  const auto yuv = [&](int chroma_width, int chroma_height) {
    plane.operator()<1>(0, w, h);
    plane.operator()<1>(1, chroma_width, chroma_height);
    plane.operator()<1>(2, chroma_width, chroma_height);
  };
  switch (source.format) {
    case PixelFormat::kGray8:
      plane.operator()<1>(0, w, h);
      return true;
    case PixelFormat::kBgr24:
    case PixelFormat::kRgb24:
      plane.operator()<3>(0, w, h);
      return true;
    case PixelFormat::kI420:
      yuv((w + 1) / 2, (h + 1) / 2);
      return true;
    case PixelFormat::kI444:
      yuv(w, h);
      return true;
    case PixelFormat::kNv12:
      plane.operator()<1>(0, w, h);
      plane.operator()<2>(1, (w + 1) / 2, (h + 1) / 2);
      return true;
    case PixelFormat::kI422:
      if (SwapsSides(orientation)) return false;
      yuv((w + 1) / 2, h);
      return true;
  }
  return false;
}

}  // namespace sightline
