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

// (a * b) / 65536, down: the high half of a 16-bit product.
int32_t MulHigh(int32_t a, int32_t b) { return (a * b) >> 16; }

void YuvToBgr(const YuvRow& row, int width, const YuvCoefficients& c, uint8_t* b, uint8_t* g,
              uint8_t* r) {
  for (int i = 0; i < width; ++i) {
    const int chroma = row.layout == ChromaLayout::kFull ? i : i / 2;
    const bool interleaved = row.layout == ChromaLayout::kHalfInterleaved;
    const int u = ((interleaved ? row.u[2 * chroma] : row.u[chroma]) - 128) * 256;
    const int v = ((interleaved ? row.u[2 * chroma + 1] : row.v[chroma]) - 128) * 256;
    // 6 bits of fraction from here on; 32 is the half that rounds.
    const int y = MulHigh(std::max(0, row.y[i] - c.y_offset) * 256, c.y_gain) + 32;
    b[i] = Clip((y + u / 4 + MulHigh(u, c.b_from_u_less_one)) >> 6);
    g[i] = Clip((y + MulHigh(u, c.g_from_u) + MulHigh(v, c.g_from_v)) >> 6);
    r[i] = Clip((y + MulHigh(v, c.r_from_v)) >> 6);
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

void GatherLinearAcross(const GatherTable& table, const PairWeights& weights, int channels,
                        const uint8_t* const rows[3], int16_t* const dst[3]) {
  const std::vector<int32_t>& index = table.index();
  for (int c = 0; c < channels; ++c) {
    for (size_t i = 0; 2 * i + 1 < index.size(); ++i) {
      int sum = 0;
      for (size_t t = 2 * i; t < 2 * i + 2; ++t) {
        sum += rows[c][index[t]] * (16 * weights.high[t] + weights.low[t]);
      }
      dst[c][i] = static_cast<int16_t>(sum >> 4);
    }
  }
}

void LinearDown(const int16_t* row0, const int16_t* row1, int weight0, int weight1, int out,
                uint8_t* dst) {
  for (int i = 0; i < out; ++i) {
    dst[i] = Clip((((row0[i] * weight0) >> 16) + ((row1[i] * weight1) >> 16) + 2) >> 2);
  }
}

void LinearDownF32(const int16_t* row0, const int16_t* row1, int weight0, int weight1, int out,
                   Normalization n, float* dst) {
  for (int i = 0; i < out; ++i) {
    uint8_t pixel;
    LinearDown(row0 + i, row1 + i, weight0, weight1, 1, &pixel);
    dst[i] = (static_cast<float>(pixel) - n.mean) * n.scale;
  }
}

void Widen(const uint8_t* pixels, int out, int16_t* dst) {
  for (int i = 0; i < out; ++i) dst[i] = static_cast<int16_t>(pixels[i] * 128);
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

void WeighAcross(const RunWeights& weights, int channels, const uint8_t* const rows[3], int out,
                 uint8_t* const dst[3]) {
  for (int c = 0; c < channels; ++c) {
    for (int i = 0; i < out; ++i) {
      const int begin = RunWeights::kGroup * weights.group[i];
      const int end = RunWeights::kGroup * weights.group[i + 1];
      const uint8_t* from = rows[c] + weights.first[i];
      int32_t sum = 1 << (kPillowWeightBits - 1);
      for (int k = begin; k < end; ++k) {
        sum += from[k - begin] * (2048 * weights.high[k] + weights.low[k]);
      }
      dst[c][i] = Clip(sum >> kPillowWeightBits);
    }
  }
}

void WeighDown(const uint8_t* const* rows, const int32_t* weights, int count, int out,
               int32_t* sums) {
  for (int k = 0; k < count; ++k) {
    for (int i = 0; i < out; ++i) sums[i] += rows[k][i] * weights[k];
  }
}

void ClipSums(const int32_t* sums, int out, uint8_t* dst) {
  for (int i = 0; i < out; ++i) dst[i] = Clip(sums[i] >> kPillowWeightBits);
}

void AddSumsOf8(const uint8_t* row, int row_bytes, uint64_t* sums) {
  for (int i = 0; i < row_bytes; ++i) sums[i / 8] += row[i];
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
      "scalar",           Split3,        Join3,         YuvToBgr, Gather,      LinearAcross,
      GatherLinearAcross, LinearDown,    LinearDownF32, Widen,    CubicAcross, CubicDown,
      AreaDown,           WeighAcross,   WeighDown,     ClipSums, AddSumsOf8,  StoreF32,
      StoreF16,           StoreF32Packed};
  return kKernels;
}

RunWeights::RunWeights(const PillowTaps& taps) : first(taps.first) {
  group.push_back(0);
  for (size_t i = 0; i < first.size(); ++i) {
    for (int k = taps.offset[i]; k < taps.offset[i + 1]; ++k) {
      high.push_back(static_cast<int16_t>(taps.weight[k] >> 11));
      low.push_back(static_cast<int16_t>(taps.weight[k] & 2047));
    }
    const size_t full = (high.size() + kGroup - 1) / kGroup * kGroup;
    high.resize(full);
    low.resize(full);
    group.push_back(static_cast<int32_t>(full / kGroup));
  }
}

GatherTable::GatherTable(std::span<const int32_t> index, int row_bytes)
    : index_(index.begin(), index.end()) {
  if (row_bytes < 16 || index.empty()) return;
  const size_t blocks = (index.size() + 31) / 32 * 2;
  // For each block, where the windows of 16 bytes begin that hold its bytes.
  std::vector<std::vector<int32_t>> windows(blocks);
  const auto index_at = [&](size_t i) { return index[std::min(i, index.size() - 1)]; };
  size_t steps = 1;
  for (size_t block = 0; block < blocks; ++block) {
    std::vector<int32_t> sorted;
    for (size_t i = 0; i < 16; ++i) sorted.push_back(index_at(16 * block + i));
    std::sort(sorted.begin(), sorted.end());
    for (const int32_t i : sorted) {
      if (!windows[block].empty() && i < windows[block].back() + 16) continue;
      windows[block].push_back(std::min(i, row_bytes - 16));
    }
    steps = std::max(steps, windows[block].size());
  }
  if (steps > kMaxSteps) return;
  steps_ = static_cast<int>(steps);
  source_.resize(blocks * steps);
  control_.resize(blocks * steps);
  for (size_t block = 0; block < blocks; ++block) {
    bool done[16] = {};
    for (size_t s = 0; s < steps; ++s) {
      const size_t to = (block / 2 * steps + s) * 2 + block % 2;
      Control& control = control_[to];
      std::memset(control.bytes, 0x80, sizeof(control.bytes));
      source_[to] = windows[block][std::min(s, windows[block].size() - 1)];
      for (size_t i = 0; i < 16; ++i) {
        const int32_t offset = index_at(16 * block + i) - source_[to];
        if (done[i] || offset < 0 || offset >= 16) continue;
        control.bytes[i] = static_cast<uint8_t>(offset);
        done[i] = true;
      }
    }
  }
}

}  // namespace sightline
