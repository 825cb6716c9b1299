// The words of model.yaml for the enumerations of ModelSpec. Internal to infer/model_package*.cc.
#pragma once

#include <array>
#include <string_view>
#include <utility>

#include "types/model_spec.h"

namespace sightline {

template <typename T, size_t N>
using WordTable = std::array<std::pair<std::string_view, T>, N>;

inline constexpr WordTable<ResizeMode, 4> kResizeWords{
    {{"stretch", ResizeMode::kStretch},
     {"letterbox_top_left", ResizeMode::kLetterboxTopLeft},
     {"letterbox_center", ResizeMode::kLetterboxCenter},
     {"center_crop", ResizeMode::kCenterCrop}}};
inline constexpr WordTable<Interpolation, 6> kInterpolationWords{
    {{"nearest", Interpolation::kNearest},
     {"bilinear", Interpolation::kBilinear},
     {"area", Interpolation::kArea},
     {"cubic", Interpolation::kCubic},
     {"bilinear_antialias", Interpolation::kBilinearAntialias},
     {"cubic_antialias", Interpolation::kCubicAntialias}}};
inline constexpr WordTable<Rounding, 2> kRoundingWords{
    {{"floor", Rounding::kFloor}, {"nearest", Rounding::kNearest}}};
inline constexpr WordTable<ChannelOrder, 2> kChannelWords{
    {{"bgr", ChannelOrder::kBgr}, {"rgb", ChannelOrder::kRgb}}};
inline constexpr WordTable<TensorLayout, 2> kLayoutWords{
    {{"nchw", TensorLayout::kNchw}, {"nhwc", TensorLayout::kNhwc}}};
inline constexpr WordTable<DataType, 3> kDtypeWords{{{"float32", DataType::kFloat32},
                                                     {"float16", DataType::kFloat16},
                                                     {"uint8", DataType::kUint8}}};
inline constexpr WordTable<NmsSettings::Kind, 4> kNmsWords{
    {{"hard", NmsSettings::Kind::kHard},
     {"soft_linear", NmsSettings::Kind::kSoftLinear},
     {"soft_gaussian", NmsSettings::Kind::kSoftGaussian},
     {"none", NmsSettings::Kind::kNone}}};

template <typename T, size_t N>
std::string_view WordOf(const WordTable<T, N>& table, T value) {
  for (const auto& [word, v] : table) {
    if (v == value) return word;
  }
  return "?";
}

}  // namespace sightline
