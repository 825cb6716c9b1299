#include "observe/annotate_details_internal.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <opencv2/imgproc.hpp>
#include <vector>

namespace sightline {
namespace {

constexpr float kFarPx = 30'000;         // beyond this OpenCV's fixed point would overflow
constexpr float kLeastKeypoint = 0.3f;   // fainter points are guesses; chosen
constexpr int kMostCells = 4096 * 4096;  // of a grid that is drawn

bool IsNear(float v) { return std::abs(v) < kFarPx; }  // false for NaN

void Tint(cv::Vec3b& pixel, Color color) {
  pixel[0] = static_cast<uint8_t>((pixel[0] + color.b) / 2);
  pixel[1] = static_cast<uint8_t>((pixel[1] + color.g) / 2);
  pixel[2] = static_cast<uint8_t>((pixel[2] + color.r) / 2);
}

// Calls draw(pixel, cell) for each pixel that lies on the grid.
template <typename Draw>
void ForEachPixel(const Box& extent, int width, int height, cv::Mat& picture, Draw draw) {
  if (!(extent.width() > 0 && extent.height() > 0) || width < 1 || height < 1) return;
  if (!IsNear(extent.x1) || !IsNear(extent.y1) || !IsNear(extent.x2) || !IsNear(extent.y2)) return;
  const int x_end = std::min(picture.cols, static_cast<int>(std::ceil(extent.x2)));
  const int y_end = std::min(picture.rows, static_cast<int>(std::ceil(extent.y2)));
  const float per_x = static_cast<float>(width) / extent.width();
  const float per_y = static_cast<float>(height) / extent.height();
  for (int y = std::max(0, static_cast<int>(extent.y1)); y < y_end; ++y) {
    const float at_y = (static_cast<float>(y) + 0.5f - extent.y1) * per_y;
    if (at_y < 0 || at_y >= static_cast<float>(height)) continue;
    auto* row = picture.ptr<cv::Vec3b>(y);
    for (int x = std::max(0, static_cast<int>(extent.x1)); x < x_end; ++x) {
      const float at_x = (static_cast<float>(x) + 0.5f - extent.x1) * per_x;
      if (at_x < 0 || at_x >= static_cast<float>(width)) continue;
      draw(row[x],
           static_cast<size_t>(at_y) * static_cast<size_t>(width) + static_cast<size_t>(at_x));
    }
  }
}

void DrawMask(const InstanceMask& mask, Color color, cv::Mat& picture) {
  const auto cells = static_cast<int64_t>(mask.width) * mask.height;
  if (cells < 1 || cells > kMostCells) return;
  std::vector<bool> object;
  object.reserve(static_cast<size_t>(cells));
  bool inside = false;
  for (const uint32_t run : mask.runs) {
    const auto room = static_cast<size_t>(cells) - object.size();
    object.insert(object.end(), std::min<size_t>(run, room), inside);
    inside = !inside;
  }
  object.resize(static_cast<size_t>(cells), false);
  ForEachPixel(mask.extent_px, mask.width, mask.height, picture,
               [&](cv::Vec3b& pixel, size_t cell) {
                 if (object[cell]) Tint(pixel, color);
               });
}

void DrawTurned(const RotatedBox& box, Color color, int width_px, cv::Mat& picture) {
  const float cos = std::cos(box.angle_rad), sin = std::sin(box.angle_rad);
  const float w = box.width_px * 0.5f, h = box.height_px * 0.5f;
  std::vector<cv::Point> corners;
  for (const auto& [x, y] : {std::pair{-w, -h}, {w, -h}, {w, h}, {-w, h}}) {
    const float px = box.center_px.x + x * cos - y * sin, py = box.center_px.y + x * sin + y * cos;
    if (!IsNear(px) || !IsNear(py)) return;
    corners.emplace_back(static_cast<int>(std::lround(px)), static_cast<int>(std::lround(py)));
  }
  cv::polylines(picture, corners, true, cv::Scalar(color.b, color.g, color.r), width_px,
                cv::LINE_AA);
}

}  // namespace

bool DrawDetails(const Detections& detections, const Detection& detection, Color color,
                 int width_px, cv::Mat& picture) {
  if (detection.detail < 0) return false;
  const auto at = static_cast<size_t>(detection.detail);
  if (at < detections.masks.size()) DrawMask(detections.masks[at], color, picture);
  const auto points = static_cast<size_t>(std::max(detections.keypoints_per_item, 0));
  for (size_t k = at * points; k < (at + 1) * points && k < detections.keypoints.size(); ++k) {
    const Keypoint& point = detections.keypoints[k];
    if (point.confidence < kLeastKeypoint || !IsNear(point.at_px.x) || !IsNear(point.at_px.y)) {
      continue;
    }
    const cv::Point centre(static_cast<int>(std::lround(point.at_px.x)),
                           static_cast<int>(std::lround(point.at_px.y)));
    cv::circle(picture, centre, width_px + 1, cv::Scalar(255, 255, 255), cv::FILLED, cv::LINE_AA);
    cv::circle(picture, centre, width_px, cv::Scalar(color.b, color.g, color.r), cv::FILLED,
               cv::LINE_AA);
  }
  if (at >= detections.rotated_boxes.size()) return false;
  DrawTurned(detections.rotated_boxes[at], color, width_px, picture);
  return true;
}

void DrawClassMap(const ClassMap& map, cv::Mat& picture) {
  const auto cells = static_cast<int64_t>(map.width) * map.height;
  if (cells < 1 || static_cast<size_t>(cells) != map.class_ids.size()) return;
  ForEachPixel(map.extent_px, map.width, map.height, picture, [&](cv::Vec3b& pixel, size_t cell) {
    if (map.class_ids[cell] != 0) Tint(pixel, PaletteColor(map.class_ids[cell]));
  });
}

void DrawAnomaly(const AnomalyMap& map, cv::Mat& picture) {
  const auto cells = static_cast<int64_t>(map.width) * map.height;
  if (cells < 1 || static_cast<size_t>(cells) != map.values.size()) return;
  const auto extremes = std::ranges::minmax_element(map.values);
  const float least = *extremes.min;
  const float range = *extremes.max - least;
  if (!(range > 0) || !std::isfinite(range)) return;
  constexpr float kMost = 0.7f;  // of the tint, so that the picture shows through
  constexpr std::array<float, 3> kRed = {30, 30, 230};
  ForEachPixel(map.extent_px, map.width, map.height, picture, [&](cv::Vec3b& pixel, size_t cell) {
    const float share = kMost * std::clamp((map.values[cell] - least) / range, 0.0f, 1.0f);
    for (int c = 0; c < 3; ++c) {
      const auto value = static_cast<float>(pixel[c]);
      pixel[c] = static_cast<uint8_t>(value + (kRed[static_cast<size_t>(c)] - value) * share);
    }
  });
}

}  // namespace sightline
