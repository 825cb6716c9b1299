#include "vision/color.h"

#include <cmath>
#include <cstring>

#include "vision/image_check.h"
#include "vision/row_kernels.h"

namespace sightline {
namespace {

int16_t Fixed(double v) { return static_cast<int16_t>(std::lround(v * (1 << 14))); }

struct RealCoefficients {
  double y_gain, b_from_u, g_from_u, g_from_v, r_from_v;
};

// From a matrix's luma weights of red and blue.
RealCoefficients FromLumaWeights(double red, double blue, ColorRange range) {
  const double green = 1 - red - blue;
  const bool limited = range == ColorRange::kLimited;
  const double c = limited ? 255.0 / 224.0 : 1.0;
  return {limited ? 255.0 / 219.0 : 1.0, 2 * (1 - blue) * c, -2 * (1 - blue) * blue / green * c,
          -2 * (1 - red) * red / green * c, 2 * (1 - red) * c};
}

RealCoefficients RealCoefficientsOf(ColorMatrix matrix, ColorRange range) {
  if (matrix == ColorMatrix::kBt709) return FromLumaWeights(0.2126, 0.0722, range);
  if (range == ColorRange::kFull) return FromLumaWeights(0.299, 0.114, range);
  return {1.164, 2.018, -0.391, -0.813, 1.596};  // OpenCV's own (ITUR_BT_601_*)
}

}  // namespace

YuvRow YuvRowOf(const ImageView& image, int y) {
  const bool halved = image.format == PixelFormat::kI420 || image.format == PixelFormat::kNv12;
  const ptrdiff_t chroma_y = halved ? y / 2 : y;
  YuvRow row;
  row.y = image.planes[0] + static_cast<ptrdiff_t>(y) * image.strides[0];
  row.u = image.planes[1] + chroma_y * image.strides[1];
  if (image.format == PixelFormat::kNv12) {
    row.layout = ChromaLayout::kHalfInterleaved;
    return row;
  }
  row.layout = image.format == PixelFormat::kI444 ? ChromaLayout::kFull : ChromaLayout::kHalf;
  row.v = image.planes[2] + chroma_y * image.strides[2];
  return row;
}

YuvCoefficients CoefficientsOf(ColorMatrix matrix, ColorRange range) {
  const RealCoefficients real = RealCoefficientsOf(matrix, range);
  const bool limited = range == ColorRange::kLimited;
  YuvCoefficients c;
  c.y_offset = limited ? 16 : 0;
  // One up where it is no whole number: the product is cut off, not rounded.
  c.y_gain = static_cast<uint16_t>(Fixed(real.y_gain) + (limited ? 1 : 0));
  c.b_from_u_less_one = Fixed(real.b_from_u - 1);
  c.g_from_u = Fixed(real.g_from_u);
  c.g_from_v = Fixed(real.g_from_v);
  c.r_from_v = Fixed(real.r_from_v);
  return c;
}

absl::Status ToBgr(const ImageView& image, std::vector<uint8_t>* bgr) {
  if (absl::Status status = CheckImage(image); !status.ok()) return status;
  const size_t row_bytes = static_cast<size_t>(image.width) * 3;
  bgr->resize(row_bytes * image.height);
  const YuvCoefficients coefficients = CoefficientsOf(image.matrix, image.range);
  const RowKernels& kernels = BestRowKernels();
  const size_t plane = image.width + kRowSlack;
  std::vector<uint8_t> planes(3 * plane);
  uint8_t* const b = planes.data();
  for (int y = 0; y < image.height; ++y) {
    const uint8_t* in = image.planes[0] + static_cast<ptrdiff_t>(y) * image.strides[0];
    uint8_t* out = bgr->data() + row_bytes * y;
    switch (image.format) {
      case PixelFormat::kBgr24:
        std::memcpy(out, in, row_bytes);
        continue;
      case PixelFormat::kRgb24:
        for (size_t i = 0; i < row_bytes; i += 3) {
          out[i] = in[i + 2], out[i + 1] = in[i + 1], out[i + 2] = in[i];
        }
        continue;
      case PixelFormat::kGray8:
        for (int i = 0; i < image.width; ++i) std::memset(out + 3 * i, in[i], 3);
        continue;
      default:
        break;
    }
    kernels.yuv_to_bgr(YuvRowOf(image, y), image.width, coefficients, b, b + plane, b + 2 * plane);
    kernels.join3(b, b + plane, b + 2 * plane, image.width, out);
  }
  return absl::OkStatus();
}

absl::Status ToGray(const ImageView& image, std::vector<uint8_t>* gray) {
  if (absl::Status status = CheckImage(image); !status.ok()) return status;
  gray->resize(static_cast<size_t>(image.width) * image.height);
  const bool packed = image.format == PixelFormat::kBgr24 || image.format == PixelFormat::kRgb24;
  const bool stretch =
      !packed && image.format != PixelFormat::kGray8 && image.range == ColorRange::kLimited;
  uint8_t table[256];
  for (int v = 0; v < 256; ++v) {
    const long full = std::lround((v - 16) * 255.0 / 219.0);
    table[v] = stretch ? static_cast<uint8_t>(full < 0     ? 0
                                              : full > 255 ? 255
                                                           : full)
                       : static_cast<uint8_t>(v);
  }
  const bool rgb = image.format == PixelFormat::kRgb24;
  for (int y = 0; y < image.height; ++y) {
    const uint8_t* in = image.planes[0] + static_cast<ptrdiff_t>(y) * image.strides[0];
    uint8_t* out = gray->data() + static_cast<size_t>(image.width) * y;
    for (int i = 0; i < image.width; ++i) {
      if (!packed) {
        out[i] = table[in[i]];
        continue;
      }
      const uint8_t* p = in + 3 * i;
      const int b = p[rgb ? 2 : 0], g = p[1], r = p[rgb ? 0 : 2];
      // OpenCV's B2Y, G2Y, R2Y.
      out[i] = static_cast<uint8_t>((b * 3735 + g * 19235 + r * 9798 + (1 << 14)) >> 15);
    }
  }
  return absl::OkStatus();
}

}  // namespace sightline
