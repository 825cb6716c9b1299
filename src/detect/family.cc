#include "detect/family.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/nearest_word.h"

namespace sightline {

std::string_view SeenModel::Metadata(const std::string& key) const {
  if (metadata == nullptr) return "";
  const auto found = metadata->find(key);
  return found == metadata->end() ? std::string_view() : found->second;
}

std::span<const ModelFamily* const> Families() {
  static const std::array families = {
      &UltrafaceFamily(),    &FastestdetFamily(), &YoloxFamily(),        &Yolov5Family(),
      &Yolov5SegFamily(),    &Yolov6Family(),     &Yolov8Family(),       &Yolov8SegFamily(),
      &Yolov8PoseFamily(),   &Yolov8ObbFamily(),  &YoloEndToEndFamily(), &DetrFamily(),
      &ClassifierFamily(),   &SegmenterFamily(),  &TorchvisionFamily(),  &YunetFamily(),
      &ScrfdFamily(),        &RetinafaceFamily(), &RtdetrFamily(),       &RtdetrLogitsFamily(),
      &RfDetrFamily(),       &NanodetFamily(),    &NanodetPlusFamily(),  &PicodetFamily(),
      &YoloNasFamily(),      &Yolov4Family(),     &DamoYoloFamily(),     &EmbeddingFamily(),
      &ClipImageFamily(),    &Dinov2Family(),     &ReidFamily(),         &PoseHeatmapsFamily(),
      &YoloFastestV2Family()};
  return families;
}

absl::StatusOr<const ModelFamily*> FindFamily(std::string_view name) {
  std::vector<std::string_view> names;
  for (const ModelFamily* family : Families()) {
    if (family->name() == name) return family;
    names.push_back(family->name());
  }
  const std::string nearest = NearestWord(name, names);
  return InvalidArgument("unknown family \"{}\"{}; the families are {}", name,
                         nearest.empty() ? "" : fmt::format(", did you mean \"{}\"?", nearest),
                         fmt::join(names, ", "));
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace sightline
