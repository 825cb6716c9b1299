#include "media/picture_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <vector>

#include "media/image_codec.h"
#include "media/orientation.h"

namespace sightline {
namespace {

using Bytes = std::vector<uint8_t>;
using testing::HasSubstr;

constexpr int kWidth = 101, kHeight = 67;

// Grey that rises to the right by 2 a pixel, or down by 3.
Bytes Slope(bool down) {
  Bytes bgr;
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < kWidth; ++x) bgr.insert(bgr.end(), 3, down ? 3 * y : 2 * x);
  }
  return bgr;
}

Bytes JpegOf(const Bytes& bgr, int width, int height) {
  const ImageView view{.format = PixelFormat::kBgr24,
                       .width = width,
                       .height = height,
                       .planes = {bgr.data(), nullptr, nullptr},
                       .strides = {3 * width, 0, 0}};
  return *EncodeJpeg(view, 100);
}

// The same file with an EXIF block that says how it is to be turned.
Bytes Turned(const Bytes& jpeg, int orientation) {
  const Bytes exif = {0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0, 0,
                      'M',  'M',  0, 42, 0,   0,   0,   8,   0, 1,
                      0x01, 0x12, 0, 3,  0,   0,   0,   1,   0, static_cast<uint8_t>(orientation),
                      0,    0,    0, 0,  0,   0};
  Bytes turned(jpeg.begin(), jpeg.begin() + 2);
  turned.insert(turned.end(), exif.begin(), exif.end());
  turned.insert(turned.end(), jpeg.begin() + 2, jpeg.end());
  return turned;
}

// The mean of the pixels of the whole picture where pixel (x, y) of a part lies.
double WholeAt(const DecodedImage& whole, const DecodedPicture& part, int x, int y) {
  double sum = 0;
  for (int row = 0; row < part.step; ++row) {
    for (int column = 0; column < part.step; ++column) {
      const int at_x = x * part.step + part.offset_x + column;
      const int at_y = y * part.step + part.offset_y + row;
      sum += whole.bgr[(static_cast<size_t>(at_y) * whole.width + at_x) * 3];
    }
  }
  return sum / (part.step * part.step);
}

void ExpectInPlace(const Bytes& file, int step, PictureDecoder& decoder) {
  const DecodedImage whole = *DecodeImage(file);
  ASSERT_EQ(decoder.Open(file), absl::OkStatus());
  ASSERT_TRUE(decoder.CanShrink());
  const auto part = decoder.Decode(step);
  ASSERT_EQ(part.status(), absl::OkStatus());
  EXPECT_EQ(part->width, whole.width);
  EXPECT_EQ(part->height, whole.height);
  EXPECT_EQ(part->view.width, (whole.width + step - 1) / step);
  EXPECT_EQ(part->view.height, (whole.height + step - 1) / step);
  // All but the outermost, which may be cut. A pixel's error in the place is 2 or 3 levels.
  for (int y = 1; y + 1 < part->view.height; ++y) {
    for (int x = 1; x + 1 < part->view.width; ++x) {
      const uint8_t* const pixel = part->view.planes[0] + y * part->view.strides[0] + 3 * x;
      ASSERT_NEAR(pixel[0], WholeAt(whole, *part, x, y), 1.25) << x << "," << y;
    }
  }
}

TEST(PictureDecoder, APartLiesWhereItSays) {
  PictureDecoder decoder;
  for (const bool down : {false, true}) {
    const Bytes jpeg = JpegOf(Slope(down), kWidth, kHeight);
    for (int orientation = 1; orientation <= 8; ++orientation) {
      for (const int step : {1, 2, 4, 8}) {
        SCOPED_TRACE(fmt::format("down {}, orientation {}, 1/{}", down, orientation, step));
        ExpectInPlace(Turned(jpeg, orientation), step, decoder);
      }
    }
  }
}

TEST(PictureDecoder, AWholePictureIsThatOfTheOtherDecoder) {
  PictureDecoder decoder;
  std::ifstream expected(std::string(SIGHTLINE_SOURCE_DIR) + "/tests/golden/images/expected.txt");
  std::string name, sha256;
  int width = 0, height = 0, compared = 0;
  while (expected >> name >> width >> height >> sha256) {
    std::ifstream file(std::string(SIGHTLINE_SOURCE_DIR) + "/tests/golden/images/" + name,
                       std::ios::binary);
    const Bytes bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (const absl::Status opened = decoder.Open(bytes); !opened.ok()) continue;
    SCOPED_TRACE(name);
    const auto whole = DecodeImage(bytes);
    ASSERT_EQ(whole.status(), absl::OkStatus());
    const auto decoded = decoder.Decode();
    ASSERT_EQ(decoded.status(), absl::OkStatus());
    ASSERT_EQ(decoded->view.width, whole->width);
    ASSERT_EQ(decoded->view.height, whole->height);
    EXPECT_EQ(Bytes(decoded->view.planes[0], decoded->view.planes[0] + whole->bgr.size()),
              whole->bgr);
    ++compared;
  }
  EXPECT_GT(compared, 5);
}

TEST(PictureDecoder, RefusesWhatIsNoPictureTooLargeOrCut) {
  PictureDecoder decoder;
  const Bytes jpeg = JpegOf(Slope(false), kWidth, kHeight);
  EXPECT_TRUE(absl::IsInvalidArgument(decoder.Open({})));
  const Bytes text = {'B', 'M', 'x', 'x', 'x', 'x'};
  EXPECT_TRUE(absl::IsInvalidArgument(decoder.Open(text)));
  MediaLimits small;
  small.max_image_side_px = kWidth - 1;
  EXPECT_TRUE(absl::IsResourceExhausted(decoder.Open(jpeg, small)));
  EXPECT_TRUE(absl::IsFailedPrecondition(decoder.Decode().status()));
  for (const int step : {1, 2}) {
    const Bytes cut(jpeg.begin(), jpeg.end() - static_cast<ptrdiff_t>(jpeg.size() / 3));
    ASSERT_EQ(decoder.Open(cut), absl::OkStatus());
    EXPECT_TRUE(absl::IsDataLoss(decoder.Decode(step).status()));
    // And works all the same with the next one.
    ASSERT_EQ(decoder.Open(jpeg), absl::OkStatus());
    EXPECT_EQ(decoder.Decode(step).status(), absl::OkStatus());
  }
  EXPECT_TRUE(absl::IsInvalidArgument(decoder.Decode(3).status()));
}

TEST(PictureDecoder, NoBytesMakeItCrash) {
  const Bytes jpeg = JpegOf(Slope(false), kWidth, kHeight);
  const DecodedImage whole = *DecodeImage(jpeg);
  PictureDecoder decoder;
  uint32_t state = 1;
  for (int round = 0; round < 2000; ++round) {
    Bytes bytes = jpeg;
    for (int i = 0; i < 4; ++i) {
      state = state * 1664525 + 1013904223;
      bytes[state % bytes.size()] = static_cast<uint8_t>(state >> 24);
    }
    MediaLimits limits;
    limits.max_image_side_px = 512;
    if (decoder.Open(bytes, limits).ok()) (void)decoder.Decode(1 << (round % 4));
    if (round % 100 != 0) continue;
    // What came before has left nothing behind.
    ASSERT_EQ(decoder.Open(jpeg), absl::OkStatus());
    const auto decoded = decoder.Decode();
    ASSERT_EQ(decoded.status(), absl::OkStatus());
    ASSERT_EQ(Bytes(decoded->view.planes[0], decoded->view.planes[0] + whole.bgr.size()),
              whole.bgr);
  }
}

}  // namespace
}  // namespace sightline
