#include "cli/eval_augment.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "cli/eval_model.h"
#include "detect/box_fusion.h"
#include "detect/nms.h"

namespace sightline::cli {
namespace {

constexpr uint8_t kGrey = 114;  // as letterboxes have it

void MirrorRow(const uint8_t* from, int width, uint8_t* to) {
  for (int x = 0; x < width; ++x) std::memcpy(to + 3 * x, from + 3 * (width - 1 - x), 3);
}

}  // namespace

std::vector<Look> LooksOf(const std::vector<std::string>& words) {
  std::vector<Look> looks = {{}};
  if (std::find(words.begin(), words.end(), "scale") != words.end()) {
    looks.push_back({.scale = 0.83});
    looks.push_back({.scale = 0.67});
  }
  if (std::find(words.begin(), words.end(), "flip") != words.end()) {
    for (size_t i = 0, count = looks.size(); i < count; ++i) {
      looks.push_back({.mirrored = true, .scale = looks[i].scale});
    }
  }
  return looks;
}

Frame SeeAs(const Look& look, const Frame& picture) {
  if (!look.mirrored && look.scale == 1) return picture;
  const ImageView& image = picture.image;
  const int width = static_cast<int>(std::lround(image.width / look.scale));
  const int height = static_cast<int>(std::lround(image.height / look.scale));
  std::vector<uint8_t> bgr(static_cast<size_t>(width) * static_cast<size_t>(height) * 3, kGrey);
  for (int y = 0; y < image.height; ++y) {
    const uint8_t* const from = image.planes[0] + static_cast<int64_t>(y) * image.strides[0];
    uint8_t* const to = bgr.data() + static_cast<int64_t>(y) * width * 3;
    if (look.mirrored) {
      MirrorRow(from, image.width, to);
    } else {
      std::memcpy(to, from, static_cast<size_t>(image.width) * 3);
    }
  }
  return FrameOfBgr(width, height, std::move(bgr));
}

void ToPicture(const Look& look, int width, int height, std::vector<Detection>* found) {
  const auto w = static_cast<float>(width);
  const auto h = static_cast<float>(height);
  for (Detection& one : *found) {
    Box& box = one.box_px;
    box = {std::clamp(box.x1, 0.0f, w), std::clamp(box.y1, 0.0f, h), std::clamp(box.x2, 0.0f, w),
           std::clamp(box.y2, 0.0f, h)};
    if (look.mirrored) box = {w - box.x2, box.y1, w - box.x1, box.y2};
  }
  std::erase_if(*found, [](const Detection& one) { return one.box_px.area() <= 0; });
}

std::vector<Detection> MergeLooks(const std::vector<std::vector<Detection>>& found, MergeBy by,
                                  float iou) {
  if (found.size() == 1) return found[0];
  if (by == MergeBy::kWeightedBoxes) return FuseBoxes(found, iou);
  std::vector<Detection> all;
  for (const std::vector<Detection>& one : found) all.insert(all.end(), one.begin(), one.end());
  NonMaxSuppressor suppressor;
  NmsSettings settings;
  settings.iou_threshold = iou;
  suppressor.Run(settings, 0, &all);
  return all;
}

}  // namespace sightline::cli
