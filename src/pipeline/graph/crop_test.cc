#include "pipeline/graph/crop.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

#include "vision/color.h"

namespace sightline {
namespace {

constexpr int kWidth = 37;
constexpr int kHeight = 23;

// A picture of noise; rows have some bytes more than they need.
Frame NoiseOf(PixelFormat format, uint32_t seed) {
  auto bytes = std::make_shared<std::vector<uint8_t>>();
  Frame frame;
  frame.image = {.format = format, .width = kWidth, .height = kHeight};
  frame.meta.width = kWidth;
  frame.meta.height = kHeight;
  std::array<size_t, 3> begins{};
  for (int plane = 0; plane < PlaneCount(format); ++plane) {
    frame.image.strides[plane] = PlaneRowBytes(format, plane, kWidth) + 5;
    begins[plane] = bytes->size();
    bytes->resize(bytes->size() + static_cast<size_t>(frame.image.strides[plane]) *
                                      PlaneRows(format, plane, kHeight));
  }
  std::mt19937 random(seed);
  for (uint8_t& byte : *bytes) byte = static_cast<uint8_t>(random());
  for (int plane = 0; plane < PlaneCount(format); ++plane) {
    frame.image.planes[plane] = bytes->data() + begins[plane];
  }
  frame.pixels = bytes;
  return frame;
}

// A crop shows exactly the pixels that lie there, whatever the format, also where chroma is halved.
TEST(CropOf, ShowsThePixelsUnderTheBox) {
  std::mt19937 random(7);
  const auto upto = [&](float most) {
    return std::uniform_real_distribution<float>(-4, most)(random);
  };
  int cropped = 0;
  for (const PixelFormat format :
       {PixelFormat::kI420, PixelFormat::kI422, PixelFormat::kI444, PixelFormat::kNv12,
        PixelFormat::kBgr24, PixelFormat::kRgb24, PixelFormat::kGray8}) {
    const Frame frame = NoiseOf(format, 3);
    std::vector<uint8_t> whole;
    ASSERT_TRUE(ToBgr(frame.image, &whole).ok());
    for (int i = 0; i < 100; ++i) {
      const float x = upto(kWidth), y = upto(kHeight);
      const Box box{x, y, x + std::abs(upto(20)), y + std::abs(upto(20))};
      const std::optional<Crop> crop = CropOf(frame, box, 0, 1);
      if (!crop) continue;
      ++cropped;
      const ImageView& image = crop->frame.image;
      EXPECT_LE(crop->x, std::max(0.0f, box.x1));
      EXPECT_GE(crop->x, std::floor(std::max(0.0f, box.x1)) - 1);
      EXPECT_GE(crop->x + image.width, std::min<float>(box.x2, kWidth));
      EXPECT_LE(crop->y, std::max(0.0f, box.y1));
      EXPECT_GE(crop->y + image.height, std::min<float>(box.y2, kHeight));
      EXPECT_EQ(crop->frame.meta.width, image.width);
      std::vector<uint8_t> part;
      ASSERT_TRUE(ToBgr(image, &part).ok()) << ToString(format);
      for (int row = 0; row < image.height; ++row) {
        const auto* there = whole.data() + ((crop->y + row) * kWidth + crop->x) * 3;
        ASSERT_TRUE(std::equal(there, there + image.width * 3, part.data() + row * image.width * 3))
            << ToString(format) << " " << crop->x << "," << crop->y << " row " << row;
      }
    }
  }
  EXPECT_GT(cropped, 400);
}

TEST(CropOf, GrowsByTheMarginButNotBeyondThePicture) {
  const Frame frame = NoiseOf(PixelFormat::kBgr24, 1);
  const std::optional<Crop> crop = CropOf(frame, {10, 8, 20, 12}, 0.5f, 1);
  ASSERT_TRUE(crop.has_value());
  EXPECT_EQ(crop->x, 5);
  EXPECT_EQ(crop->y, 6);
  EXPECT_EQ(crop->frame.image.width, 20);
  EXPECT_EQ(crop->frame.image.height, 8);
  const std::optional<Crop> all = CropOf(frame, {10, 8, 20, 12}, 1e30f, 1);
  ASSERT_TRUE(all.has_value());
  EXPECT_EQ(all->frame.image.width, kWidth);
  EXPECT_EQ(all->frame.image.height, kHeight);
}

TEST(CropOf, LeavesOutWhatIsTooSmallOutsideOrNotANumber) {
  const Frame frame = NoiseOf(PixelFormat::kI420, 1);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(CropOf(frame, {10, 8, 20, 12}, 0, 5));
  EXPECT_TRUE(CropOf(frame, {10, 8, 20, 12}, 0, 4));
  EXPECT_FALSE(CropOf(frame, {kWidth - 2.0f, 0, kWidth + 50.0f, 20}, 0, 4));  // 2 px are within
  EXPECT_FALSE(CropOf(frame, {50, 0, 60, 20}, 1, 1));
  EXPECT_FALSE(CropOf(frame, {nan, 0, 60, 20}, 0, 1));
  EXPECT_FALSE(CropOf(frame, {0, 0, std::numeric_limits<float>::infinity(), 20}, 0, 1));
  EXPECT_FALSE(CropOf(frame, {20, 20, 10, 10}, 0, 1));
}

TEST(MoveBy, MovesEverythingThatHasAPlace) {
  Detections found;
  found.items = {{.box_px = {1, 2, 3, 4}}};
  found.keypoints = {{{1, 2}, 1}};
  found.rotated_boxes = {{.center_px = {1, 2}}};
  found.masks = {{.extent_px = {1, 2, 3, 4}}};
  found.class_map.extent_px = {1, 2, 3, 4};
  found.stages.emplace_back().result.items = {{.box_px = {1, 2, 3, 4}}};
  MoveBy(10, 20, &found);
  const auto is_moved = [](const Box& box) {
    return box.x1 == 11 && box.y1 == 22 && box.x2 == 13 && box.y2 == 24;
  };
  EXPECT_TRUE(is_moved(found.items[0].box_px));
  EXPECT_EQ(found.keypoints[0].at_px.x, 11);
  EXPECT_EQ(found.keypoints[0].at_px.y, 22);
  EXPECT_EQ(found.rotated_boxes[0].center_px.y, 22);
  EXPECT_TRUE(is_moved(found.masks[0].extent_px));
  EXPECT_TRUE(is_moved(found.class_map.extent_px));
  EXPECT_TRUE(is_moved(found.stages[0].result.items[0].box_px));
}

}  // namespace
}  // namespace sightline
