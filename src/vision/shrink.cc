#include "vision/shrink.h"

#include <algorithm>

namespace sightline {
namespace {

// Pixels that the resize makes of one of the picture, along the side where they are most.
double ScaleOf(const TensorRecipe& recipe, int width, int height) {
  const double across = static_cast<double>(recipe.width - 2 * recipe.border) / width;
  const double down = static_cast<double>(recipe.height - 2 * recipe.border) / height;
  switch (recipe.resize) {
    case ResizeMode::kStretch:
      return std::max(across, down);
    case ResizeMode::kLetterboxTopLeft:
    case ResizeMode::kLetterboxCenter:
      return std::min(across, down);
    case ResizeMode::kCenterCrop: {
      const int from =
          recipe.crop_from > 0 ? recipe.crop_from : std::max(recipe.width, recipe.height);
      return static_cast<double>(from) / std::min(width, height);
    }
  }
  return 1;
}

class ToWhole {
 public:
  explicit ToWhole(const ShrunkPlace& place)
      : place_(place), step_(static_cast<float>(place.step)) {}

  float X(float x) const { return x * step_ + static_cast<float>(place_.offset_x); }
  float Y(float y) const { return y * step_ + static_cast<float>(place_.offset_y); }
  Box Of(const Box& box) const { return {X(box.x1), Y(box.y1), X(box.x2), Y(box.y2)}; }
  PointF Of(const PointF& point) const { return {X(point.x), Y(point.y)}; }
  Box Clipped(const Box& box) const {
    const auto w = static_cast<float>(place_.width), h = static_cast<float>(place_.height);
    const Box whole = Of(box);
    return {std::clamp(whole.x1, 0.0f, w), std::clamp(whole.y1, 0.0f, h),
            std::clamp(whole.x2, 0.0f, w), std::clamp(whole.y2, 0.0f, h)};
  }
  float step() const { return step_; }

 private:
  const ShrunkPlace place_;
  const float step_;
};

}  // namespace

int ShrinkStep(const TensorRecipe& recipe, int width, int height) {
  if (width < 1 || height < 1 || recipe.width < 1 || recipe.height < 1) return 1;
  const double scale = ScaleOf(recipe, width, height);
  if (!(scale > 0)) return 1;
  int step = 1;
  while (step < 8 && scale * (2 * step) <= 1) step *= 2;
  return step;
}

void MapToWhole(const ShrunkPlace& place, Detections* results) {
  results->frame.width = place.width;
  results->frame.height = place.height;
  if (place.step == 1) return;
  const ToWhole to(place);
  for (Detection& item : results->items) item.box_px = to.Clipped(item.box_px);
  std::erase_if(results->items, [](const Detection& item) {
    return !(item.box_px.width() > 0 && item.box_px.height() > 0);
  });
  for (Keypoint& point : results->keypoints) point.at_px = to.Of(point.at_px);
  for (RotatedBox& box : results->rotated_boxes) {
    box.center_px = to.Of(box.center_px);
    box.width_px *= to.step();
    box.height_px *= to.step();
  }
  for (InstanceMask& mask : results->masks) mask.extent_px = to.Of(mask.extent_px);
  results->class_map.extent_px = to.Of(results->class_map.extent_px);
  results->anomaly.extent_px = to.Of(results->anomaly.extent_px);
}

}  // namespace sightline
