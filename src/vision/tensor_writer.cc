#include "vision/tensor_writer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace sightline {
namespace {

uint8_t ToUint8(float value) {
  return static_cast<uint8_t>(std::lrintf(std::clamp(value, 0.0f, 255.0f)));
}

}  // namespace

TensorWriter::TensorWriter(const TensorRecipe& recipe)
    : recipe_(recipe), kernels_(BestRowKernels()) {
  for (int c = 0; c < 3; ++c) {
    normalization_[c] = {recipe.mean[c], recipe.scale[c]};
    const auto normalized = [&](int v) {
      return (static_cast<float>(v) - recipe.mean[c]) * recipe.scale[c];
    };
    pad_[c] = normalized(recipe.pad_value[c]);
    for (int v = 0; v < 256; ++v) to_uint8_[c][v] = ToUint8(normalized(v));
  }
  uint8_unchanged_ = true;
  for (int c = 0; c < 3; ++c) {
    for (int v = 0; v < 256; ++v) uint8_unchanged_ &= to_uint8_[c][v] == v;
  }
  if (recipe.dtype == DataType::kFloat16 && recipe.layout == TensorLayout::kNhwc) {
    halves_.resize(3 * static_cast<size_t>(recipe.width));
  }
}

void TensorWriter::Pad(int x, int y, size_t count) {
  if (count == 0) return;
  const size_t at = static_cast<size_t>(y) * recipe_.width + x;
  const size_t plane = static_cast<size_t>(recipe_.width) * recipe_.height;
  const auto fill = [&](auto* tensor, auto convert) {
    if (recipe_.layout == TensorLayout::kNchw) {
      for (int c = 0; c < 3; ++c) std::fill_n(tensor + c * plane + at, count, convert(c));
      return;
    }
    const std::array values = {convert(0), convert(1), convert(2)};
    for (size_t i = at; i < at + count; ++i) std::copy_n(values.data(), 3, tensor + 3 * i);
  };
  switch (recipe_.dtype) {
    case DataType::kFloat16:
      return fill(static_cast<uint16_t*>(tensor_), [&](int c) { return ToHalf(pad_[c]); });
    case DataType::kUint8:
      return fill(static_cast<uint8_t*>(tensor_), [&](int c) { return ToUint8(pad_[c]); });
    default:
      return fill(static_cast<float*>(tensor_), [&](int c) { return pad_[c]; });
  }
}

void TensorWriter::Begin(void* tensor, const Placement& place, bool fill_padding) {
  tensor_ = tensor;
  place_ = place;
  if (!fill_padding) return;
  const size_t width = recipe_.width;
  Pad(0, 0, width * place.y);
  const int bottom = place.y + place.height;
  if (bottom < recipe_.height) Pad(0, bottom, width * (recipe_.height - bottom));
  const int right = place.x + place.width;
  if (place.x == 0 && right == recipe_.width) return;
  for (int y = place.y; y < bottom; ++y) {
    Pad(0, y, place.x);
    if (right < recipe_.width) Pad(right, y, width - right);
  }
}

FloatRow TensorWriter::RowOfTensor(int y) const {
  const bool rgb = recipe_.channels == ChannelOrder::kRgb;
  const size_t at = static_cast<size_t>(y) * recipe_.width + place_.x;
  const size_t plane = static_cast<size_t>(recipe_.width) * recipe_.height;
  FloatRow row;
  for (int c = 0; c < 3; ++c) {
    const int channel = rgb ? 2 - c : c;
    row.bgr[c] = static_cast<float*>(tensor_) + channel * plane + at;
    row.normalization[c] = normalization_[channel];
  }
  return row;
}

void TensorWriter::WriteRow(int y, const std::array<const uint8_t*, 3>& bgr) {
  const bool rgb = recipe_.channels == ChannelOrder::kRgb;
  const uint8_t* const rows[3] = {bgr[rgb ? 2 : 0], bgr[1], bgr[rgb ? 0 : 2]};
  const size_t at = static_cast<size_t>(y) * recipe_.width + place_.x;
  const size_t plane = static_cast<size_t>(recipe_.width) * recipe_.height;
  const int width = place_.width;
  const bool planar = recipe_.layout == TensorLayout::kNchw;
  switch (recipe_.dtype) {
    case DataType::kFloat16: {
      uint16_t* out = static_cast<uint16_t*>(tensor_);
      for (int c = 0; c < 3; ++c) {
        uint16_t* to = planar ? out + c * plane + at : halves_.data() + c * width;
        kernels_.store_f16(rows[c], width, normalization_[c], to);
      }
      if (planar) return;
      for (int i = 0; i < width; ++i) {
        for (int c = 0; c < 3; ++c) out[3 * (at + i) + c] = halves_[c * width + i];
      }
      return;
    }
    case DataType::kUint8: {
      uint8_t* out = static_cast<uint8_t*>(tensor_);
      if (!planar && uint8_unchanged_) {
        return kernels_.join3(rows[0], rows[1], rows[2], width, out + 3 * at);
      }
      for (int c = 0; c < 3; ++c) {
        if (planar && uint8_unchanged_) {
          std::memcpy(out + c * plane + at, rows[c], width);
          continue;
        }
        uint8_t* to = planar ? out + c * plane + at : out + 3 * at + c;
        const int step = planar ? 1 : 3;
        for (int i = 0; i < width; ++i) to[i * step] = to_uint8_[c][rows[c][i]];
      }
      return;
    }
    default: {
      float* out = static_cast<float*>(tensor_);
      if (!planar) {
        return kernels_.store_f32_packed(rows, width, normalization_.data(), out + 3 * at);
      }
      for (int c = 0; c < 3; ++c) {
        kernels_.store_f32(rows[c], width, normalization_[c], out + c * plane + at);
      }
      return;
    }
  }
}

}  // namespace sightline
