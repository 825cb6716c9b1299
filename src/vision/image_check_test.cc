#include "vision/image_check.h"

#include <gtest/gtest.h>

#include "types/tensor.h"

namespace sightline {
namespace {

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
