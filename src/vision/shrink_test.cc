#include "vision/shrink.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sightline {
namespace {

TensorRecipe Recipe(ResizeMode resize, int width, int height) {
  TensorRecipe recipe;
  recipe.resize = resize;
  recipe.width = width;
  recipe.height = height;
  return recipe;
}

TEST(ShrinkStep, KeepsAsManyPixelsAsTheResizeMakes) {
  const TensorRecipe stretch = Recipe(ResizeMode::kStretch, 320, 240);
  EXPECT_EQ(ShrinkStep(stretch, 768, 576), 2);
  EXPECT_EQ(ShrinkStep(stretch, 640, 480), 2);   // exactly
  EXPECT_EQ(ShrinkStep(stretch, 639, 480), 1);   // one pixel too few
  EXPECT_EQ(ShrinkStep(stretch, 1280, 479), 1);  // the side that shrinks least
  EXPECT_EQ(ShrinkStep(stretch, 4096, 4096), 8);
  EXPECT_EQ(ShrinkStep(stretch, 100, 100), 1);
  const TensorRecipe letterbox = Recipe(ResizeMode::kLetterboxCenter, 416, 416);
  EXPECT_EQ(ShrinkStep(letterbox, 832, 100), 2);  // the longer side fills the tensor
  EXPECT_EQ(ShrinkStep(letterbox, 831, 100), 1);
  TensorRecipe crop = Recipe(ResizeMode::kCenterCrop, 224, 224);
  EXPECT_EQ(ShrinkStep(crop, 448, 2000), 2);
  crop.crop_from = 256;  // of the shorter side
  EXPECT_EQ(ShrinkStep(crop, 448, 2000), 1);
  EXPECT_EQ(ShrinkStep(crop, 512, 2000), 2);
  EXPECT_EQ(ShrinkStep(crop, 0, 10), 1);
  EXPECT_EQ(ShrinkStep(TensorRecipe(), 100, 100), 1);
}

TEST(MapToWhole, PutsEverythingWhereItIsInTheWholePicture) {
  Detections found;
  found.items.resize(3);
  found.items[0].box_px = {10, 20, 30, 40};
  found.items[1].box_px = {0, 0, 50, 50};     // reaches beyond
  found.items[2].box_px = {0, 10, 0.5f, 20};  // lies in what is no part of the whole
  found.keypoints = {{{10, 20}, 1}};
  found.rotated_boxes = {{{10, 20}, 4, 2, 0.5f}};
  found.masks.resize(1);
  found.masks[0].extent_px = {0, 0, 50, 50};
  found.class_map.extent_px = {0, 0, 50, 50};
  found.anomaly.extent_px = {0, 0, 50, 50};
  MapToWhole({.step = 2, .offset_x = -1, .offset_y = 0, .width = 99, .height = 100}, &found);
  ASSERT_EQ(found.items.size(), 2u);
  EXPECT_EQ(found.items[0].box_px, (Box{19, 40, 59, 80}));
  EXPECT_EQ(found.items[1].box_px, (Box{0, 0, 99, 100}));
  EXPECT_EQ(found.keypoints[0].at_px, (PointF{19, 40}));
  EXPECT_EQ(found.rotated_boxes[0].center_px, (PointF{19, 40}));
  EXPECT_EQ(found.rotated_boxes[0].width_px, 8);
  EXPECT_EQ(found.rotated_boxes[0].height_px, 4);
  EXPECT_EQ(found.rotated_boxes[0].angle_rad, 0.5f);
  const Box whole{-1, 0, 99, 100};
  EXPECT_EQ(found.masks[0].extent_px, whole);
  EXPECT_EQ(found.class_map.extent_px, whole);
  EXPECT_EQ(found.anomaly.extent_px, whole);
  EXPECT_EQ(found.frame.width, 99);
  EXPECT_EQ(found.frame.height, 100);
}

}  // namespace
}  // namespace sightline
