// The plain twin of row_kernels.cc: what the kernels mean, and what they are tested against.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "vision/row_kernels.h"

namespace sightline {
namespace {

uint8_t Clip(int32_t v) { return static_cast<uint8_t>(std::clamp(v, 0, 255)); }

void Split3(const uint8_t* packed, int width, uint8_t* c0, uint8_t* c1, uint8_t* c2) {
  for (int i = 0; i < width; ++i) {
    c0[i] = packed[3 * i];
    c1[i] = packed[3 * i + 1];
    c2[i] = packed[3 * i + 2];
  }
}

void Join3(const uint8_t* c0, const uint8_t* c1, const uint8_t* c2, int width, uint8_t* packed) {
  for (int i = 0; i < width; ++i) {
    packed[3 * i] = c0[i];
    packed[3 * i + 1] = c1[i];
    packed[3 * i + 2] = c2[i];
  }
}

void YuvToBgr(const YuvRow& row, int width, const YuvCoefficients& c, uint8_t* b, uint8_t* g,
              uint8_t* r) {
  constexpr int32_t kHalf = 1 << (kYuvFractionBits - 1);
  for (int i = 0; i < width; ++i) {
    const int chroma = row.layout == ChromaLayout::kFull ? i : i / 2;
    const bool interleaved = row.layout == ChromaLayout::kHalfInterleaved;
    const int u = (interleaved ? row.u[2 * chroma] : row.u[chroma]) - 128;
    const int v = (interleaved ? row.u[2 * chroma + 1] : row.v[chroma]) - 128;
    const int32_t y = std::max(0, row.y[i] - c.y_offset) * c.y_gain + kHalf;
    b[i] = Clip((y + c.b_from_u * u) >> kYuvFractionBits);
    g[i] = Clip((y + c.g_from_u * u + c.g_from_v * v) >> kYuvFractionBits);
    r[i] = Clip((y + c.r_from_v * v) >> kYuvFractionBits);
  }
}

void Gather(const GatherTable& table, const uint8_t* row, uint8_t* dst) {
  const std::vector<int32_t>& index = table.index();
  for (size_t i = 0; i < index.size(); ++i) dst[i] = row[index[i]];
}

void LinearAcross(const uint8_t* pairs, const PairWeights& weights, int out, int16_t* dst) {
  for (int i = 0; i < out; ++i) {
    const int w0 = 16 * weights.high[2 * i] + weights.low[2 * i];
    const int w1 = 16 * weights.high[2 * i + 1] + weights.low[2 * i + 1];
    dst[i] = static_cast<int16_t>((pairs[2 * i] * w0 + pairs[2 * i + 1] * w1) >> 4);
  }
}

void LinearDown(const int16_t* row0, const int16_t* row1, int weight0, int weight1, int out,
                uint8_t* dst) {
  for (int i = 0; i < out; ++i) {
    dst[i] = Clip((((row0[i] * weight0) >> 16) + ((row1[i] * weight1) >> 16) + 2) >> 2);
  }
}

void CubicAcross(const uint8_t* taps, int stride, const int16_t* weights, int weight_stride,
                 int out, int32_t* dst) {
  for (int i = 0; i < out; ++i) {
    int32_t sum = 0;
    for (int t = 0; t < 4; ++t) sum += taps[t * stride + i] * weights[t * weight_stride + i];
    dst[i] = sum;
  }
}

void CubicDown(const int32_t* const rows[4], const int16_t weights[4], int out, uint8_t* dst) {
  for (int i = 0; i < out; ++i) {
    int32_t sum = 1 << 21;
    for (int t = 0; t < 4; ++t) sum += rows[t][i] * weights[t];
    dst[i] = Clip(sum >> 22);
  }
}

void AreaDown(const uint8_t* row, float weight, bool first, int width, float* sum) {
  for (int i = 0; i < width; ++i) {
    const float part = static_cast<float>(row[i]) * weight;
    sum[i] = first ? part : sum[i] + part;
  }
}

void StoreF32(const uint8_t* row, int width, Normalization n, float* dst) {
  for (int i = 0; i < width; ++i) dst[i] = (static_cast<float>(row[i]) - n.mean) * n.scale;
}

void StoreF16(const uint8_t* row, int width, Normalization n, uint16_t* dst) {
  for (int i = 0; i < width; ++i) dst[i] = ToHalf((static_cast<float>(row[i]) - n.mean) * n.scale);
}

void StoreF32Packed(const uint8_t* const rows[3], int width, const Normalization n[3], float* dst) {
  for (int i = 0; i < width; ++i) {
    for (int c = 0; c < 3; ++c) {
      dst[3 * i + c] = (static_cast<float>(rows[c][i]) - n[c].mean) * n[c].scale;
    }
  }
}

}  // namespace

uint16_t ToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;   // NaN
  if (magnitude >= 0x477ff000) return sign | 0x7c00;  // rounds to infinity
  if (magnitude < 0x38800000) {                       // below 2^-14: subnormal, steps of 2^-24
    const float steps = std::bit_cast<float>(magnitude) * 16777216.0f;
    return sign | static_cast<uint16_t>(std::lrintf(steps));
  }
  const uint32_t odd = (magnitude >> 13) & 1;
  return sign | static_cast<uint16_t>((magnitude - 0x38000000 + 0xfff + odd) >> 13);
}

const RowKernels& ScalarRowKernels() {
  static constexpr RowKernels kKernels = {
      "scalar",    Split3,    Join3,    YuvToBgr, Gather,   LinearAcross,  LinearDown,
      CubicAcross, CubicDown, AreaDown, StoreF32, StoreF16, StoreF32Packed};
  return kKernels;
}

GatherTable::GatherTable(std::span<const int32_t> index, int row_bytes)
    : index_(index.begin(), index.end()) {
  // Beyond 8 shuffles for 16 bytes a plain loop is as good (chosen, not measured).
  constexpr int kMaxShuffles = 8;
  if (row_bytes < 16) return;
  block_begin_.push_back(0);
  for (size_t begin = 0; begin < index.size(); begin += 16) {
    const std::span<const int32_t> block =
        index.subspan(begin, std::min<size_t>(16, index.size() - begin));
    const auto [low, high] = std::minmax_element(block.begin(), block.end());
    const int count = (*high - *low) / 16 + 1;
    if (count > kMaxShuffles) return;
    std::vector<bool> done(block.size(), false);
    for (int k = 0; k < count; ++k) {
      const int32_t at = std::min(*low + 16 * k, row_bytes - 16);
      Control control;
      std::memset(control.bytes, 0x80, sizeof(control.bytes));
      for (size_t i = 0; i < block.size(); ++i) {
        if (done[i] || block[i] < at || block[i] >= at + 16) continue;
        control.bytes[i] = static_cast<uint8_t>(block[i] - at);
        done[i] = true;
      }
      source_.push_back(at);
      control_.push_back(control);
    }
    block_begin_.push_back(static_cast<int32_t>(source_.size()));
  }
  shuffles_ = true;
}

}  // namespace sightline
