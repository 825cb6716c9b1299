#include "vision/preprocess.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <random>

#include "vision/resize_plan.h"
#include "vision/test_pictures.h"

namespace sightline {
namespace {

constexpr Interpolation kInterpolations[] = {
    Interpolation::kNearest, Interpolation::kBilinear,          Interpolation::kArea,
    Interpolation::kCubic,   Interpolation::kBilinearAntialias, Interpolation::kCubicAntialias};

// What users and reference implementations run, up to the 8-bit picture with its border, and the
// scale by which they map boxes back.
cv::Mat Chain(const ImageView& v, const TensorRecipe& r, ImageToTensor* mapping) {
  const cv::Mat bgr = ChainBgr(v);
  int w = r.width, h = r.height, x = 0, y = 0;
  *mapping = {static_cast<float>(w) / v.width, static_cast<float>(h) / v.height, 0, 0};
  if (r.resize != ResizeMode::kStretch) {
    const double s =
        std::min(static_cast<double>(r.height) / v.height, static_cast<double>(r.width) / v.width);
    w = std::max(1, static_cast<int>(v.width * s));
    h = std::max(1, static_cast<int>(v.height * s));
    if (r.resize == ResizeMode::kLetterboxCenter) x = (r.width - w) / 2, y = (r.height - h) / 2;
    *mapping = {static_cast<float>(s), static_cast<float>(s), static_cast<float>(x),
                static_cast<float>(y)};
  }
  constexpr int kFlags[] = {cv::INTER_NEAREST, cv::INTER_LINEAR, cv::INTER_AREA, cv::INTER_CUBIC};
  cv::Mat resized, bordered;
  cv::resize(bgr, resized, {w, h}, 0, 0, kFlags[static_cast<int>(r.interpolation)]);
  const bool rgb = r.channels == ChannelOrder::kRgb;
  cv::copyMakeBorder(
      resized, bordered, y, r.height - h - y, x, r.width - w - x, cv::BORDER_CONSTANT,
      cv::Scalar(r.pad_value[rgb ? 2 : 0], r.pad_value[1], r.pad_value[rgb ? 0 : 2]));
  return bordered;
}

float FromHalf(uint16_t h) {
  const int exponent = (h >> 10) & 31, fraction = h & 1023;
  const float v = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                                : std::ldexp(1024.f + fraction, exponent - 25);
  return h & 0x8000 ? -v : v;
}

// Element (c, y, x) of a tensor, as a number.
float At(const TensorRecipe& r, const std::vector<uint8_t>& tensor, int c, int y, int x) {
  const size_t i = r.layout == TensorLayout::kNchw
                       ? (static_cast<size_t>(c) * r.height + y) * r.width + x
                       : (static_cast<size_t>(y) * r.width + x) * 3 + c;
  switch (r.dtype) {
    case DataType::kFloat16:
      return FromHalf(reinterpret_cast<const uint16_t*>(tensor.data())[i]);
    case DataType::kUint8:
      return tensor[i];
    default:
      return reinterpret_cast<const float*>(tensor.data())[i];
  }
}

struct Difference {
  double mean = 0;
  int p999 = 0;
  int max = 0;
};

// In steps of 1/255 of the pixel's range.
Difference Compare(const TensorRecipe& r, const std::vector<uint8_t>& tensor,
                   const cv::Mat& chain) {
  std::vector<int> count(256, 0);
  for (int y = 0; y < r.height; ++y) {
    for (int x = 0; x < r.width; ++x) {
      for (int c = 0; c < 3; ++c) {
        const int want = chain.at<cv::Vec3b>(y, x)[r.channels == ChannelOrder::kRgb ? 2 - c : c];
        const float got = At(r, tensor, c, y, x) / r.scale[c] + r.mean[c];
        ++count[std::min(255L, std::lround(std::abs(got - want)))];
      }
    }
  }
  Difference d;
  const double total = 3.0 * r.width * r.height;
  double seen = 0;
  for (int v = 0; v < 256; ++v) {
    if (count[v] == 0) continue;
    d.mean += v * count[v] / total;
    d.max = v;
    if (seen < 0.999 * total) d.p999 = v;
    seen += count[v];
  }
  return d;
}

template <typename T, size_t kCount>
T Pick(std::mt19937& random, const T (&of)[kCount]) {
  return of[random() % kCount];
}

std::vector<uint8_t> RunOn(const ImageView& view, const TensorRecipe& recipe,
                           ImageToTensor* mapping = nullptr) {
  absl::StatusOr<Preprocessor> preprocessor = Preprocessor::Create(recipe);
  EXPECT_TRUE(preprocessor.ok()) << preprocessor.status().ToString();
  std::vector<uint8_t> tensor(TensorBytes(recipe), 0xCD);
  const absl::Status status = preprocessor->Run(view, tensor.data(), mapping);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return tensor;
}

class AgainstOpenCv : public testing::TestWithParam<Interpolation> {};

TEST_P(AgainstOpenCv, RandomGeometries) {
  std::mt19937 random(20 + static_cast<int>(GetParam()));
  for (int round = 0; round < 250; ++round) {
    const PixelFormat format = Pick(random, kFormats);
    const int limit = round % 10 == 0 ? 1400 : 300;
    Picture picture =
        MakePicture(random, format, 1 + static_cast<int>(random() % limit),
                    1 + static_cast<int>(random() % limit), static_cast<Content>(random() % 3));
    picture.view.matrix = static_cast<ColorMatrix>(random() % 2);
    picture.view.range = static_cast<ColorRange>(random() % 2);
    TensorRecipe r;
    r.width = 1 + static_cast<int>(random() % 300);
    r.height = 1 + static_cast<int>(random() % 300);
    if (round % 5 == 0) {  // whole factors have paths of their own in OpenCV
      r.width = std::max(1, picture.view.width / static_cast<int>(1 + random() % 4));
      r.height = std::max(1, picture.view.height / static_cast<int>(1 + random() % 4));
    }
    r.resize = static_cast<ResizeMode>(random() % 3);
    r.interpolation = GetParam();
    r.channels = static_cast<ChannelOrder>(random() % 2);
    r.layout = static_cast<TensorLayout>(random() % 2);
    r.dtype = Pick(random, {DataType::kFloat32, DataType::kFloat16, DataType::kUint8});
    r.pad_value = {114, 3, 250};
    if (r.dtype == DataType::kFloat32) {
      r.mean = {103.53f, 116.28f, 123.675f};
      r.scale = {1 / 57.375f, 1 / 57.12f, 1 / 58.395f};
    }
    ImageToTensor want_mapping, mapping;
    const cv::Mat chain = Chain(picture.view, r, &want_mapping);
    const Difference d = Compare(r, RunOn(picture.view, r, &mapping), chain);
    SCOPED_TRACE(testing::Message()
                 << "round " << round << ": " << ToString(format) << " " << picture.view.width
                 << "x" << picture.view.height << " to " << r.width << "x" << r.height << " mode "
                 << static_cast<int>(r.resize));
    EXPECT_FLOAT_EQ(mapping.scale_x, want_mapping.scale_x);
    EXPECT_FLOAT_EQ(mapping.scale_y, want_mapping.scale_y);
    EXPECT_EQ(mapping.pad_x, want_mapping.pad_x);
    EXPECT_EQ(mapping.pad_y, want_mapping.pad_y);
    const bool exact =
        r.interpolation == Interpolation::kNearest || r.interpolation == Interpolation::kBilinear;
    if (exact && !IsYuv(format)) {
      EXPECT_EQ(d.max, 0) << "mean " << d.mean;
    } else if (OpenCvKnows(picture.view)) {
      EXPECT_LE(d.mean, 0.02);
      EXPECT_LE(d.max, IsYuv(format) ? 2 : 1);
    } else {
      EXPECT_LE(d.mean, 0.05);
      EXPECT_LE(d.max, 2);
    }
    if (testing::Test::HasFailure()) return;
  }
}

std::string NameOf(const testing::TestParamInfo<Interpolation>& info) {
  constexpr const char* kNames[] = {"Nearest", "Bilinear", "Area", "Cubic"};
  return kNames[static_cast<int>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Preprocessor, AgainstOpenCv,
                         testing::Values(Interpolation::kNearest, Interpolation::kBilinear,
                                         Interpolation::kArea, Interpolation::kCubic),
                         NameOf);

TEST(Preprocessor, VideoSizesAreOpenCvs) {
  std::mt19937 random(7);
  const int sources[][2] = {{1920, 1080}, {1280, 720}, {768, 576}, {640, 480}, {1919, 1079}};
  const int inputs[][2] = {{640, 640}, {416, 416}, {352, 352}, {320, 240}};
  for (const auto& source : sources) {
    const PixelFormat format = random() % 2 ? PixelFormat::kNv12 : PixelFormat::kI420;
    const Picture picture = MakePicture(random, format, source[0], source[1], Content::kNoise);
    for (const auto& input : inputs) {
      TensorRecipe r;
      r.width = input[0];
      r.height = input[1];
      r.channels = ChannelOrder::kBgr;
      r.resize = random() % 2 ? ResizeMode::kLetterboxTopLeft : ResizeMode::kStretch;
      r.pad_value = {114, 114, 114};
      ImageToTensor mapping;
      const cv::Mat chain = Chain(picture.view, r, &mapping);
      const Difference d = Compare(r, RunOn(picture.view, r), chain);
      EXPECT_LE(d.max, 2);
      EXPECT_LE(d.mean, 0.015) << source[0] << "x" << source[1] << " to " << input[0] << "x"
                               << input[1];
    }
  }
}

TEST(Preprocessor, YoloxLetterbox) {
  TensorRecipe r;
  r.width = r.height = 416;
  r.resize = ResizeMode::kLetterboxTopLeft;
  r.channels = ChannelOrder::kBgr;
  r.pad_value = {114, 114, 114};
  std::mt19937 random(1);
  const Picture picture = MakePicture(random, PixelFormat::kBgr24, 768, 576, Content::kNoise);
  ImageToTensor mapping;
  const std::vector<uint8_t> tensor = RunOn(picture.view, r, &mapping);
  EXPECT_FLOAT_EQ(mapping.scale_x, 416.f / 768.f);
  EXPECT_EQ(mapping.scale_x, mapping.scale_y);
  EXPECT_EQ(mapping.pad_x, 0);
  EXPECT_EQ(At(r, tensor, 0, 312, 0), 114);
  EXPECT_EQ(At(r, tensor, 2, 415, 415), 114);
  const Box box = mapping.ToImage({208, 156, 416, 312});
  EXPECT_NEAR(box.x1, 384, 0.01);
  EXPECT_NEAR(box.y2, 576, 0.01);
}

TEST(Preprocessor, Rounding) {
  TensorRecipe r;
  r.width = r.height = 640;
  r.resize = ResizeMode::kLetterboxCenter;
  EXPECT_EQ(PlaceImage(r, 1000, 667).height, 426);  // 426.88
  EXPECT_EQ(PlaceImage(r, 1000, 667).y, 107);
  r.rounding = Rounding::kNearest;
  EXPECT_EQ(PlaceImage(r, 1000, 667).height, 427);
  EXPECT_EQ(PlaceImage(r, 1000, 667).y, 106);
}

TEST(Preprocessor, ExtremeShapesKeepOnePixel) {
  std::mt19937 random(3);
  TensorRecipe r;
  r.width = r.height = 64;
  r.resize = ResizeMode::kLetterboxCenter;
  for (const auto& size : {std::pair(8192, 1), std::pair(1, 8192), std::pair(1, 1)}) {
    const Picture picture =
        MakePicture(random, PixelFormat::kI420, size.first, size.second, Content::kNoise);
    for (const int crop_from : {0, 1, 64, 8192}) {
      r.crop_from = crop_from;
      for (const ResizeMode mode : {ResizeMode::kLetterboxCenter, ResizeMode::kCenterCrop}) {
        r.resize = mode;
        for (const Interpolation interpolation : kInterpolations) {
          r.interpolation = interpolation;
          RunOn(picture.view, r);
        }
      }
    }
  }
}

TEST(Preprocessor, CenterCropLiesWhereTorchvisionPutsIt) {
  TensorRecipe r;
  r.width = r.height = 224;
  r.resize = ResizeMode::kCenterCrop;
  r.rounding = Rounding::kNearest;
  r.crop_from = 256;
  const Placement wide = PlaceImage(r, 640, 480);  // 341.3 x 256
  EXPECT_EQ(wide.columns.full, 341);
  EXPECT_EQ(wide.rows.full, 256);
  EXPECT_EQ(wide.columns.first, 58);  // 58.5, to even
  EXPECT_EQ(wide.rows.first, 16);
  EXPECT_EQ(wide.width, 224);
  EXPECT_EQ(wide.x, 0);
  EXPECT_FLOAT_EQ(wide.mapping.scale_x, 341.0f / 640);
  EXPECT_FLOAT_EQ(wide.mapping.scale_y, 256.0f / 480);
  EXPECT_EQ(wide.mapping.pad_x, -58);
  EXPECT_EQ(wide.mapping.pad_y, -16);
  const Placement tall = PlaceImage(r, 480, 644);  // 256 x 343.5
  EXPECT_EQ(tall.rows.full, 343);
  EXPECT_EQ(tall.rows.first, 60);  // 59.5, to even
  r.rounding = Rounding::kFloor;
  EXPECT_EQ(PlaceImage(r, 480, 644).rows.first, 59) << "as transformers cuts it";
  r.rounding = Rounding::kNearest;
  r.crop_from = 0;  // 224
  EXPECT_EQ(PlaceImage(r, 640, 480).columns.full, 298);
  EXPECT_EQ(PlaceImage(r, 640, 480).rows.first, 0);
  r.height = 100;
  EXPECT_EQ(PlaceImage(r, 640, 480).rows.full, 224) << "the larger of the two sides";
  r.height = 224;
  r.crop_from = 101;
  const Placement small = PlaceImage(r, 640, 480);  // 134 x 101
  EXPECT_EQ(small.x, 45);
  EXPECT_EQ(small.y, 61);  // 61.5, cut
  EXPECT_EQ(small.width, 134);
  EXPECT_EQ(small.height, 101);
  EXPECT_EQ(small.mapping.pad_y, 61);
}

// A crop is that part of the whole resized picture, and the padding around it.
TEST(Preprocessor, ACropIsThePartOfTheWhole) {
  std::mt19937 random(12);
  for (int round = 0; round < 400; ++round) {
    const Picture picture =
        MakePicture(random, Pick(random, kFormats), 1 + static_cast<int>(random() % 200),
                    1 + static_cast<int>(random() % 200), static_cast<Content>(random() % 3));
    TensorRecipe r;
    r.width = 1 + static_cast<int>(random() % 90);
    r.height = 1 + static_cast<int>(random() % 90);
    r.resize = ResizeMode::kCenterCrop;
    r.interpolation = Pick(random, kInterpolations);
    r.crop_from = static_cast<int>(random() % 120);
    // Also the picture's own size, a half and a third of it.
    if (round % 4 == 0) {
      r.crop_from = std::max(1, std::min(picture.view.width, picture.view.height) /
                                    static_cast<int>(1 + random() % 3));
    }
    r.layout = TensorLayout::kNhwc;
    r.dtype = DataType::kUint8;
    r.pad_value = {1, 2, 3};
    const Placement place = PlaceImage(r, picture.view.width, picture.view.height);
    if (std::max(place.columns.full, place.rows.full) > 4000) continue;
    TensorRecipe whole = r;
    whole.resize = ResizeMode::kStretch;
    whole.width = place.columns.full;
    whole.height = place.rows.full;
    const std::vector<uint8_t> from = RunOn(picture.view, whole);
    std::vector<uint8_t> want(TensorBytes(r));
    for (int y = 0; y < r.height; ++y) {
      for (int x = 0; x < r.width; ++x) {
        const int py = y - place.y, px = x - place.x;
        const bool inside = py >= 0 && py < place.height && px >= 0 && px < place.width;
        for (int c = 0; c < 3; ++c) {
          want[(static_cast<size_t>(y) * r.width + x) * 3 + c] =
              !inside ? r.pad_value[c]
                      : from[(static_cast<size_t>(py + place.rows.first) * whole.width + px +
                              place.columns.first) *
                                 3 +
                             c];
        }
      }
    }
    ImageToTensor mapping;
    EXPECT_EQ(RunOn(picture.view, r, &mapping), want)
        << "round " << round << ": " << ToString(picture.view.format) << " " << picture.view.width
        << "x" << picture.view.height << " from " << r.crop_from << " to " << r.width << "x"
        << r.height << " interpolation " << static_cast<int>(r.interpolation);
    EXPECT_EQ(mapping.pad_x, place.mapping.pad_x);
    if (testing::Test::HasFailure()) return;
  }
}

// Antialias of every format is that of its colours, which other tests compare with OpenCV.
TEST(Preprocessor, AntialiasTakesEveryFormat) {
  std::mt19937 random(13);
  for (const PixelFormat format : kFormats) {
    for (int round = 0; round < 12; ++round) {
      const Picture picture = MakePicture(random, format, 1 + static_cast<int>(random() % 120),
                                          1 + static_cast<int>(random() % 120), Content::kNoise);
      TensorRecipe same;
      same.width = picture.view.width;
      same.height = picture.view.height;
      same.layout = TensorLayout::kNhwc;
      same.dtype = DataType::kUint8;
      const std::vector<uint8_t> rgb = RunOn(picture.view, same);
      ImageView view;
      view.format = PixelFormat::kRgb24;
      view.width = same.width;
      view.height = same.height;
      view.planes[0] = rgb.data();
      view.strides[0] = 3 * same.width;
      TensorRecipe r;
      r.width = 1 + static_cast<int>(random() % 80);
      r.height = 1 + static_cast<int>(random() % 80);
      r.resize = Pick(
          random, {ResizeMode::kStretch, ResizeMode::kCenterCrop, ResizeMode::kLetterboxTopLeft});
      r.interpolation =
          Pick(random, {Interpolation::kBilinearAntialias, Interpolation::kCubicAntialias});
      EXPECT_EQ(RunOn(picture.view, r), RunOn(view, r)) << ToString(format) << " " << round;
    }
  }
}

// More rows under one destination row than are kept.
TEST(Preprocessor, AntialiasOfVeryManyRows) {
  std::mt19937 random(14);
  const Picture picture = MakePicture(random, PixelFormat::kGray8, 3, 8192, Content::kNoise);
  TensorRecipe r;
  r.width = 3000;
  r.height = 2;
  r.interpolation = Interpolation::kBilinearAntialias;
  const std::vector<uint8_t> tensor = RunOn(picture.view, r);
  // The triangle over all rows, in floating point.
  for (int y = 0; y < 2; ++y) {
    double sum = 0, weights = 0;
    for (int s = 0; s < 8192; ++s) {
      const double w = std::max(0.0, 1 - std::abs(s + 0.5 - (y + 0.5) * 4096) / 4096);
      sum += w * picture.view.planes[0][s * picture.view.strides[0]];
      weights += w;
    }
    EXPECT_NEAR(At(r, tensor, 0, y, 0), sum / weights, 1);
  }
}

TEST(Preprocessor, ManyGeometriesStayBoundedAndRight) {
  std::mt19937 random(6);
  TensorRecipe r;
  r.width = r.height = 40;
  absl::StatusOr<Preprocessor> preprocessor = Preprocessor::Create(r);
  ASSERT_TRUE(preprocessor.ok());
  std::vector<uint8_t> tensor(TensorBytes(r));
  for (int i = 0; i < 60; ++i) {
    const Picture picture =
        MakePicture(random, PixelFormat::kNv12, 50 + i % 20, 60, Content::kNoise);
    ASSERT_TRUE(preprocessor->Run(picture.view, tensor.data(), nullptr).ok());
    EXPECT_EQ(tensor, RunOn(picture.view, r)) << i;
  }
}

}  // namespace
}  // namespace sightline
