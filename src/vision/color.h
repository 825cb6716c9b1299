// Colour formulas, in one place: YUV to BGR with the meaning of OpenCV's cv::cvtColor, so that what
// a model sees here is what it saw in its reference implementation.
//
//   y = max(0, Y - y_offset) * y_gain;   B = clip(round(y + b_from_u * (U - 128))), and so on
//
// Chroma of 4:2:0 and 4:2:2 is replicated to its two columns (and rows), not interpolated. BT.601
// limited has the coefficients of OpenCV 4.6 (COLOR_YUV2BGR_NV12, _I420: 1.164, 2.018 ...), the
// other three those of ITU-R BT.601-7 and BT.709-6. Arithmetic is 16-bit with 6 bits of fraction,
// twice as fast as OpenCV's 32-bit: over all values of Y, U and V no result is off by more than 1,
// and fewer than 1 in 100 are off at all (color_test).
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "types/frame.h"

namespace sightline {

// Fixed point with 14 bits of fraction.
struct YuvCoefficients {
  uint8_t y_offset = 0;
  uint16_t y_gain = 0;
  int16_t b_from_u_less_one = 0;  // the whole would not fit
  int16_t g_from_u = 0;
  int16_t g_from_v = 0;
  int16_t r_from_v = 0;
};

YuvCoefficients CoefficientsOf(ColorMatrix matrix, ColorRange range);

// The whole picture as packed BGR, row after row without gaps: width * height * 3 bytes. For
// detectors of OpenCV and for pictures, not for the way into a neural model (see Preprocessor).
// Errors: those of CheckImage(). Cost: 1-2 ms for 1920x1080; allocates when `bgr` has to grow.
absl::Status ToBgr(const ImageView& image, std::vector<uint8_t>* bgr);

// The whole picture as 8-bit grey, width * height bytes. YUV: the luma plane, limited range
// stretched to 0..255; BGR and RGB: OpenCV's COLOR_BGR2GRAY (0.299 R + 0.587 G + 0.114 B, 15 bits
// of fraction).
absl::Status ToGray(const ImageView& image, std::vector<uint8_t>* gray);

}  // namespace sightline
