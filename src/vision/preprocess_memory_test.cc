// What a Preprocessor allocates, which memory of the caller's it touches, and what it refuses; that its
// tensors are right is in preprocess_test.cc.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <new>
#include <random>
#include <vector>

#include "vision/preprocess.h"
#include "vision/test_pictures.h"

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

constexpr Interpolation kInterpolations[] = {
    Interpolation::kNearest, Interpolation::kBilinear,          Interpolation::kArea,
    Interpolation::kCubic,   Interpolation::kBilinearAntialias, Interpolation::kCubicAntialias};

TEST(Preprocessor, AllocatesNothingOnceWarm) {
  std::mt19937 random(5);
  for (const PixelFormat format : kFormats) {
    const Picture a = MakePicture(random, format, 320, 241, Content::kNoise);
    const Picture b = MakePicture(random, format, 641, 480, Content::kNoise);
    for (const Interpolation interpolation : kInterpolations) {
      for (const DataType dtype : {DataType::kFloat32, DataType::kFloat16, DataType::kUint8}) {
        TensorRecipe r;
        r.width = r.height = 128;
        r.resize =
            format == PixelFormat::kNv12 ? ResizeMode::kCenterCrop : ResizeMode::kLetterboxTopLeft;
        r.interpolation = interpolation;
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
        EXPECT_EQ(g_allocations, before)
            << ToString(format) << " " << static_cast<int>(interpolation);
      }
    }
  }
}

TEST(Preprocessor, WritesPaddingOnlyWhereItIsNotThere) {
  std::mt19937 random(11);
  TensorRecipe r;
  r.width = r.height = 32;
  r.resize = ResizeMode::kLetterboxCenter;
  r.pad_value = {114, 114, 114};
  const Picture wide = MakePicture(random, PixelFormat::kI420, 64, 32, Content::kNoise);
  const Picture tall = MakePicture(random, PixelFormat::kI420, 32, 64, Content::kNoise);
  absl::StatusOr<Preprocessor> preprocessor = Preprocessor::Create(r);
  ASSERT_TRUE(preprocessor.ok());
  std::vector<float> tensor(3 * 32 * 32, -1);
  const auto run = [&](const Picture& picture, TensorPadding* padding) {
    ASSERT_TRUE(preprocessor->Run(picture.view, tensor.data(), nullptr, padding).ok());
  };
  TensorPadding padding;
  run(wide, &padding);
  EXPECT_EQ(tensor[0], 114);
  tensor[0] = 5;  // a mark
  run(wide, &padding);
  EXPECT_EQ(tensor[0], 5);
  run(tall, &padding);
  EXPECT_EQ(tensor[0], 114);
  run(wide, &padding);
  std::vector<float> once = tensor;
  run(wide, nullptr);
  EXPECT_EQ(tensor, once);
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
  r.scale[1] = 1;
  for (const int crop_from : {-1, 8193}) {
    r.crop_from = crop_from;
    EXPECT_FALSE(Preprocessor::Create(r).ok()) << crop_from;
  }
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

}  // namespace
}  // namespace sightline
