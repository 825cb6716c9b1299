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

int SeenModel::Operators(const std::string& type) const {
  if (operators == nullptr) return 0;
  const auto found = operators->find(type);
  return found == operators->end() ? 0 : found->second;
}

std::span<const ModelFamily* const> Families() {
  static const std::array families = {
      &UltrafaceFamily(),     &FastestdetFamily(), &YoloxFamily(),        &Yolov5Family(),
      &Yolov5SegFamily(),     &Yolov6Family(),     &Yolov8Family(),       &Yolov8SegFamily(),
      &Yolov8PoseFamily(),    &Yolov8ObbFamily(),  &YoloEndToEndFamily(), &DetrFamily(),
      &ClassifierFamily(),    &SegmenterFamily(),  &TorchvisionFamily(),  &YunetFamily(),
      &ScrfdFamily(),         &RetinafaceFamily(), &RtdetrFamily(),       &RtdetrLogitsFamily(),
      &RfDetrFamily(),        &NanodetFamily(),    &NanodetPlusFamily(),  &PicodetFamily(),
      &YoloNasFamily(),       &Yolov4Family(),     &DamoYoloFamily(),     &EmbeddingFamily(),
      &ClipImageFamily(),     &Dinov2Family(),     &ReidFamily(),         &PoseHeatmapsFamily(),
      &YoloFastestV2Family(), &PadimFamily(),      &AutoencoderFamily(),  &OpenposeFamily(),
      &Yolov3Family()};
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

ModelSpec DefaultSpec(std::string_view family, int width, int height, ChannelOrder channels,
                      float scale) {
  ModelSpec spec;
  spec.family = family;
  spec.input.width = width;
  spec.input.height = height;
  spec.input.channels = channels;
  spec.input.scale.fill(scale);
  return spec;
}

void NormaliseAsImageNet(TensorRecipe* recipe) {
  recipe->mean = {123.675f, 116.28f, 103.53f};
  recipe->scale = {1 / 58.395f, 1 / 57.12f, 1 / 57.375f};
  if (recipe->channels == ChannelOrder::kRgb) return;
  std::swap(recipe->mean[0], recipe->mean[2]);
  std::swap(recipe->scale[0], recipe->scale[2]);
}

bool AreWithinUnit(std::span<const float> values) {
  return std::ranges::all_of(values, IsWithinUnit);
}

double ShareWithinUnit(std::span<const float> values) {
  if (values.empty()) return 1;
  return static_cast<double>(std::ranges::count_if(values, IsWithinUnit)) /
         static_cast<double>(values.size());
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace sightline
