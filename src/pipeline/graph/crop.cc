#include "pipeline/graph/crop.h"

#include <algorithm>
#include <cmath>

namespace sightline {
namespace {

bool HalvesWidth(PixelFormat format) {
  return format == PixelFormat::kI420 || format == PixelFormat::kI422 ||
         format == PixelFormat::kNv12;
}
bool HalvesHeight(PixelFormat format) {
  return format == PixelFormat::kI420 || format == PixelFormat::kNv12;
}

bool IsFinite(const Box& box) {
  return std::isfinite(box.x1) && std::isfinite(box.y1) && std::isfinite(box.x2) &&
         std::isfinite(box.y2);
}

// The whole pixels of [from, to] grown by `grow`, within 0..size.
struct Pixels {
  int begin = 0;
  int end = 0;
};
Pixels PixelsOf(float from, float to, float grow, int size) {
  const auto limit = static_cast<float>(size);
  return {static_cast<int>(std::floor(std::clamp(from - grow, 0.0f, limit))),
          static_cast<int>(std::ceil(std::clamp(to + grow, 0.0f, limit)))};
}

void Move(float dx, float dy, Box* box) {
  box->x1 += dx;
  box->x2 += dx;
  box->y1 += dy;
  box->y2 += dy;
}
void Move(float dx, float dy, PointF* point) {
  point->x += dx;
  point->y += dy;
}

}  // namespace

std::optional<Crop> CropOf(const Frame& frame, const Box& box_px, float margin, int min_side_px) {
  const ImageView& whole = frame.image;
  if (!IsFinite(box_px)) return std::nullopt;
  const auto within = [](float from, float to, int size) {
    return std::min(to, static_cast<float>(size)) - std::max(from, 0.0f);
  };
  const auto least = static_cast<float>(std::max(1, min_side_px));
  if (within(box_px.x1, box_px.x2, whole.width) < least ||
      within(box_px.y1, box_px.y2, whole.height) < least) {
    return std::nullopt;
  }
  Pixels across = PixelsOf(box_px.x1, box_px.x2, margin * box_px.width(), whole.width);
  Pixels down = PixelsOf(box_px.y1, box_px.y2, margin * box_px.height(), whole.height);
  if (HalvesWidth(whole.format)) across.begin &= ~1;
  if (HalvesHeight(whole.format)) down.begin &= ~1;

  Crop crop{.frame = frame, .x = across.begin, .y = down.begin};
  ImageView& image = crop.frame.image;
  image.width = crop.frame.meta.width = across.end - across.begin;
  image.height = crop.frame.meta.height = down.end - down.begin;
  for (int plane = 0; plane < PlaneCount(whole.format); ++plane) {
    image.planes[plane] +=
        static_cast<ptrdiff_t>(PlaneRows(whole.format, plane, crop.y)) * whole.strides[plane] +
        PlaneRowBytes(whole.format, plane, crop.x);
  }
  crop.frame.truth.reset();  // it speaks of the whole picture
  return crop;
}

void MoveBy(int x, int y, Detections* result) {
  const auto dx = static_cast<float>(x), dy = static_cast<float>(y);
  for (Detection& item : result->items) Move(dx, dy, &item.box_px);
  for (Keypoint& keypoint : result->keypoints) Move(dx, dy, &keypoint.at_px);
  for (RotatedBox& box : result->rotated_boxes) Move(dx, dy, &box.center_px);
  for (InstanceMask& mask : result->masks) Move(dx, dy, &mask.extent_px);
  Move(dx, dy, &result->class_map.extent_px);
  Move(dx, dy, &result->anomaly.extent_px);
  for (StageResult& stage : result->stages) MoveBy(x, y, &stage.result);
}

}  // namespace sightline
