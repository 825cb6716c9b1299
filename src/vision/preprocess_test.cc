#include "vision/preprocess.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <new>
#include <numeric>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <random>

#include "vision/color.h"
#include "vision/image_check.h"
#include "vision/resize_plan.h"
#include "vision/row_kernels.h"

// Counts what this thread allocates, so that a test can say that a frame allocates nothing.
static thread_local int64_t g_allocations = 0;
[[gnu::noinline]] void* operator new(size_t bytes) {
  ++g_allocations;
  if (void* p = std::malloc(bytes)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace sightline {
namespace {

constexpr PixelFormat kFormats[] = {PixelFormat::kI420, PixelFormat::kI422,  PixelFormat::kI444,
                                    PixelFormat::kNv12, PixelFormat::kBgr24, PixelFormat::kRgb24,
                                    PixelFormat::kGray8};

bool IsYuv(PixelFormat f) {
  return f != PixelFormat::kBgr24 && f != PixelFormat::kRgb24 && f != PixelFormat::kGray8;
}

// A picture with its own memory: each plane exactly as long as stride * (rows - 1) + row, so that a
// sanitizer sees reads beyond it.
struct Picture {
  ImageView view;
  std::vector<uint8_t> planes[3];
};

enum class Content { kNoise, kSmooth, kEdges };

Picture MakePicture(std::mt19937& random, PixelFormat format, int width, int height,
                    Content content) {
  Picture picture;
  ImageView& view = picture.view;
  view.format = format;
  view.width = width;
  view.height = height;
  const double fx = 0.02 + random() % 100 * 0.002, fy = 0.02 + random() % 100 * 0.002;
  for (int p = 0; p < PlaneCount(format); ++p) {
    const int row = PlaneRowBytes(format, p, width);
    const int rows = PlaneRows(format, p, height);
    view.strides[p] = row + static_cast<int>(random() % 40);
    std::vector<uint8_t>& bytes = picture.planes[p];
    bytes.assign(static_cast<size_t>(view.strides[p]) * (rows - 1) + row, 0xEE);
    for (int y = 0; y < rows; ++y) {
      for (int x = 0; x < row; ++x) {
        double v = 0;
        switch (content) {
          case Content::kNoise:
            v = random() % 256;
            break;
          case Content::kSmooth:
            v = 128 + 60 * std::sin(x * fx + p) + 60 * std::cos(y * fy + x % 3) + random() % 5;
            break;
          case Content::kEdges:
            v = ((x / 7 + y / 5 + p) % 3) * 127 + random() % 3;
            break;
        }
        bytes[static_cast<size_t>(y) * view.strides[p] + x] =
            static_cast<uint8_t>(std::clamp(v, 0.0, 255.0));
      }
    }
    view.planes[p] = bytes.data();
  }
  return picture;
}

// BGR from the definitions in floating point, for what cv::cvtColor does not know.
cv::Mat BgrByDefinition(const ImageView& v) {
  cv::Mat bgr(v.height, v.width, CV_8UC3);
  const bool is709 = v.matrix == ColorMatrix::kBt709, limited = v.range == ColorRange::kLimited;
  const double kr = is709 ? 0.2126 : 0.299, kb = is709 ? 0.0722 : 0.114, kg = 1 - kr - kb;
  const bool down = v.format == PixelFormat::kI420 || v.format == PixelFormat::kNv12;
  const bool across = down || v.format == PixelFormat::kI422;
  for (int y = 0; y < v.height; ++y) {
    for (int x = 0; x < v.width; ++x) {
      const int cx = across ? x / 2 : x, cy = down ? y / 2 : y;
      const double luma = v.planes[0][y * v.strides[0] + x];
      const bool nv12 = v.format == PixelFormat::kNv12;
      const double u = v.planes[1][cy * v.strides[1] + (nv12 ? 2 * cx : cx)] - 128.0;
      const double w = (nv12 ? v.planes[1][cy * v.strides[1] + 2 * cx + 1]
                             : v.planes[2][cy * v.strides[2] + cx]) -
                       128.0;
      const double l = limited ? std::max(0.0, luma - 16) * 255 / 219 : luma;
      const double s = limited ? 255.0 / 224 : 1.0;
      const double r = l + 2 * (1 - kr) * s * w, b = l + 2 * (1 - kb) * s * u;
      const double g = l - 2 * (1 - kb) * kb / kg * s * u - 2 * (1 - kr) * kr / kg * s * w;
      bgr.at<cv::Vec3b>(y, x) = {cv::saturate_cast<uint8_t>(b), cv::saturate_cast<uint8_t>(g),
                                 cv::saturate_cast<uint8_t>(r)};
    }
  }
  return bgr;
}

cv::Mat Plane(const ImageView& v, int p, int type) {
  const int bytes = PlaneRowBytes(v.format, p, v.width);
  return cv::Mat(PlaneRows(v.format, p, v.height), bytes / CV_ELEM_SIZE(type), type,
                 const_cast<uint8_t*>(v.planes[p]), v.strides[p]);
}

// Whether cv::cvtColor itself makes this picture's BGR.
bool OpenCvKnows(const ImageView& v) {
  if (!IsYuv(v.format)) return true;
  return (v.format == PixelFormat::kI420 || v.format == PixelFormat::kNv12) &&
         v.matrix == ColorMatrix::kBt601 && v.range == ColorRange::kLimited;
}

cv::Mat ChainBgr(const ImageView& v) {
  cv::Mat bgr;
  if (v.format == PixelFormat::kBgr24) return Plane(v, 0, CV_8UC3);
  if (v.format == PixelFormat::kRgb24) {
    cv::cvtColor(Plane(v, 0, CV_8UC3), bgr, cv::COLOR_RGB2BGR);
    return bgr;
  }
  if (v.format == PixelFormat::kGray8) {
    cv::cvtColor(Plane(v, 0, CV_8UC1), bgr, cv::COLOR_GRAY2BGR);
    return bgr;
  }
  if (!OpenCvKnows(v)) return BgrByDefinition(v);
  // OpenCV takes even sizes only: repeat the last column and row, and cut them off again.
  const int w = (v.width + 1) / 2 * 2, h = (v.height + 1) / 2 * 2;
  cv::Mat luma;
  cv::copyMakeBorder(Plane(v, 0, CV_8UC1), luma, 0, h - v.height, 0, w - v.width,
                     cv::BORDER_REPLICATE);
  if (v.format == PixelFormat::kNv12) {
    cv::cvtColorTwoPlane(luma, Plane(v, 1, CV_8UC2), bgr, cv::COLOR_YUV2BGR_NV12);
  } else {
    cv::Mat packed(h * 3 / 2, w, CV_8UC1);
    luma.copyTo(packed.rowRange(0, h));
    uint8_t* next = packed.ptr(h);
    for (int p = 1; p < 3; ++p) {
      for (int y = 0; y < h / 2; ++y, next += w / 2) {
        std::copy_n(v.planes[p] + y * v.strides[p], w / 2, next);
      }
    }
    cv::cvtColor(packed, bgr, cv::COLOR_YUV2BGR_I420);
  }
  return bgr(cv::Rect(0, 0, v.width, v.height)).clone();
}

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

TEST(Preprocessor, LetterboxRounding) {
  TensorRecipe r;
  r.width = r.height = 640;
  r.resize = ResizeMode::kLetterboxCenter;
  EXPECT_EQ(PlaceImage(r, 1000, 667).height, 426);  // 426.88
  EXPECT_EQ(PlaceImage(r, 1000, 667).y, 107);
  r.letterbox_rounding = LetterboxRounding::kNearest;
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
    for (int i = 0; i < 4; ++i) {
      r.interpolation = static_cast<Interpolation>(i);
      RunOn(picture.view, r);
    }
  }
}

TEST(Preprocessor, AllocatesNothingOnceWarm) {
  std::mt19937 random(5);
  for (const PixelFormat format : kFormats) {
    const Picture a = MakePicture(random, format, 320, 241, Content::kNoise);
    const Picture b = MakePicture(random, format, 641, 480, Content::kNoise);
    for (int i = 0; i < 4; ++i) {
      for (const DataType dtype : {DataType::kFloat32, DataType::kFloat16, DataType::kUint8}) {
        TensorRecipe r;
        r.width = r.height = 128;
        r.resize = ResizeMode::kLetterboxTopLeft;
        r.interpolation = static_cast<Interpolation>(i);
        r.dtype = dtype;
        absl::StatusOr<Preprocessor> preprocessor = Preprocessor::Create(r);
        ASSERT_TRUE(preprocessor.ok());
        std::vector<uint8_t> tensor(TensorBytes(r));
        const auto run = [&] {
          EXPECT_TRUE(preprocessor->Run(a.view, tensor.data(), nullptr).ok());
          EXPECT_TRUE(preprocessor->Run(b.view, tensor.data(), nullptr).ok());
        };
        run();
        const int64_t before = g_allocations;
        run();
        EXPECT_EQ(g_allocations, before) << ToString(format) << " " << i;
      }
    }
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

TEST(Preprocessor, RefusesBadRecipes) {
  TensorRecipe r;
  EXPECT_FALSE(Preprocessor::Create(r).ok());  // no size
  r.width = r.height = 8193;
  EXPECT_FALSE(Preprocessor::Create(r).ok());
  r.width = r.height = 64;
  r.dtype = DataType::kInt64;
  EXPECT_EQ(Preprocessor::Create(r).status().code(), absl::StatusCode::kInvalidArgument);
  r.dtype = DataType::kFloat32;
  r.scale[1] = NAN;
  EXPECT_FALSE(Preprocessor::Create(r).ok());
}

TEST(Preprocessor, RefusesBadPicturesAndLeavesTheTensor) {
  TensorRecipe r;
  r.width = r.height = 8;
  absl::StatusOr<Preprocessor> preprocessor = Preprocessor::Create(r);
  ASSERT_TRUE(preprocessor.ok());
  std::vector<uint8_t> tensor(TensorBytes(r), 0xCD);
  const std::vector<uint8_t> untouched = tensor;
  std::mt19937 random(8);
  const Picture good = MakePicture(random, PixelFormat::kI420, 20, 10, Content::kNoise);
  const auto refuse = [&](auto change) {
    ImageView view = good.view;
    change(view);
    EXPECT_EQ(preprocessor->Run(view, tensor.data(), nullptr).code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(tensor, untouched);
  };
  refuse([](ImageView& v) { v.width = 0; });
  refuse([](ImageView& v) { v.height = -3; });
  refuse([](ImageView& v) { v.width = 8193; });
  refuse([](ImageView& v) { v.planes[2] = nullptr; });
  refuse([](ImageView& v) { v.strides[0] = 19; });
  refuse([](ImageView& v) { v.strides[1] = -20; });
  refuse([](ImageView& v) { v.format = static_cast<PixelFormat>(99); });
}

TEST(Color, ToBgrIsTheChainsAndToGrayIsOpenCvs) {
  std::mt19937 random(9);
  for (const PixelFormat format : kFormats) {
    for (const auto& size : {std::pair(97, 31), std::pair(1, 1), std::pair(64, 2)}) {
      const Picture picture = MakePicture(random, format, size.first, size.second, Content::kNoise);
      std::vector<uint8_t> bgr, gray;
      ASSERT_TRUE(ToBgr(picture.view, &bgr).ok());
      ASSERT_TRUE(ToGray(picture.view, &gray).ok());
      const cv::Mat want = ChainBgr(picture.view);
      const cv::Mat got(size.second, size.first, CV_8UC3, bgr.data());
      EXPECT_LE(cv::norm(got, want, cv::NORM_INF), IsYuv(format) ? 1 : 0) << ToString(format);
      if (IsYuv(format)) continue;
      cv::Mat want_gray;
      cv::cvtColor(want, want_gray, cv::COLOR_BGR2GRAY);
      EXPECT_EQ(
          cv::norm(cv::Mat(size.second, size.first, CV_8UC1, gray.data()), want_gray, cv::NORM_INF),
          0);
    }
  }
}

// Every Y, U and V there is, against the definition in real numbers.
TEST(Color, NeverOffByMoreThanOneAndRarelyThat) {
  struct Real {
    double gain, bu, gu, gv, rv;
  };
  const auto by_weights = [](double kr, double kb, bool limited) {
    const double c = limited ? 255.0 / 224 : 1, kg = 1 - kr - kb;
    return Real{limited ? 255.0 / 219 : 1, 2 * (1 - kb) * c, -2 * (1 - kb) * kb / kg * c,
                -2 * (1 - kr) * kr / kg * c, 2 * (1 - kr) * c};
  };
  for (int variant = 0; variant < 4; ++variant) {
    const auto matrix = static_cast<ColorMatrix>(variant & 1);
    const auto range = static_cast<ColorRange>(variant >> 1);
    const bool limited = range == ColorRange::kLimited, is709 = matrix == ColorMatrix::kBt709;
    const Real k = is709     ? by_weights(0.2126, 0.0722, limited)
                   : limited ? Real{1.164, 2.018, -0.391, -0.813, 1.596}
                             : by_weights(0.299, 0.114, false);
    const YuvCoefficients c = CoefficientsOf(matrix, range);
    std::vector<uint8_t> y(65536), u(65536), v(65536), got[3];
    for (auto& plane : got) plane.resize(65536 + kRowSlack);
    int64_t off = 0;
    for (int vv = 0; vv < 256; ++vv) {
      for (int i = 0; i < 65536; ++i) y[i] = i & 255, u[i] = i >> 8, v[i] = vv;
      const YuvRow row{ChromaLayout::kFull, y.data(), u.data(), v.data()};
      BestRowKernels().yuv_to_bgr(row, 65536, c, got[0].data(), got[1].data(), got[2].data());
      for (int i = 0; i < 65536; ++i) {
        const double l = std::max(0, y[i] - (limited ? 16 : 0)) * k.gain;
        const double cu = u[i] - 128.0, cv = vv - 128.0;
        const double want[3] = {l + k.bu * cu, l + k.gu * cu + k.gv * cv, l + k.rv * cv};
        for (int p = 0; p < 3; ++p) {
          const int rounded = static_cast<int>(std::clamp(want[p], 0.0, 255.0) + 0.5);
          const int d = std::abs(got[p][i] - rounded);
          ASSERT_LE(d, 1) << int{y[i]} << " " << int{u[i]} << " " << vv;
          off += d;
        }
      }
    }
    EXPECT_LT(off, 3 * 65536 * 256 / 100) << variant;
  }
}

TEST(CheckImageArray, TakesPicturesOnly) {
  EXPECT_TRUE(CheckImageArray({"a", DataType::kUint8, {480, 640, 3}}).ok());
  EXPECT_TRUE(CheckImageArray({"a", DataType::kFloat32, {4096, 4096}}).ok());
  EXPECT_FALSE(CheckImageArray({"a", DataType::kUint8, {4097, 640, 3}}).ok());
  EXPECT_FALSE(CheckImageArray({"a", DataType::kUint8, {0, 640, 3}}).ok());
  EXPECT_FALSE(CheckImageArray({"a", DataType::kUint8, {-1, 640, 3}}).ok());
  EXPECT_FALSE(CheckImageArray({"a", DataType::kUint8, {640}}).ok());
  EXPECT_FALSE(CheckImageArray({"a", DataType::kUint8, {1, 3, 640, 640}}).ok());
  EXPECT_FALSE(CheckImageArray({"a", DataType::kUint8, {3, 640, 640}}).ok());
  EXPECT_FALSE(CheckImageArray({"a", DataType::kInt64, {480, 640, 3}}).ok());
}

TEST(CheckEncodedImage, RefusesBombs) {
  EXPECT_TRUE(CheckEncodedImage(1920, 1080, 200'000).ok());
  EXPECT_TRUE(CheckEncodedImage(4096, 4096, 16'500).ok());
  EXPECT_FALSE(CheckEncodedImage(4096, 4096, 500).ok());
  EXPECT_FALSE(CheckEncodedImage(100'000, 100'000, 1'000'000).ok());
  EXPECT_FALSE(CheckEncodedImage(10, 10, 0).ok());
  EXPECT_FALSE(CheckEncodedImage(int64_t{1} << 62, 4, 100).ok());
}

}  // namespace
}  // namespace sightline
