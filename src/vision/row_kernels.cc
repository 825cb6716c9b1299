// Portable SIMD kernels; row_kernels_scalar.cc says plainly what each computes.
//
// Vectors are at most 32 bytes and AVX-512 is left out: the gain is small beside decoding, and
// every machine then runs a path that the tests have run.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "vision/row_kernels.cc"
#define HWY_DISABLED_TARGETS (HWY_AVX3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_RVV)
#include <hwy/foreach_target.h>
// The order matters: foreach_target.h includes this file once per instruction set.
#include <hwy/highway.h>

#include "vision/row_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace sightline {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using D8 = hn::CappedTag<uint8_t, 32>;
using D16 = hn::Repartition<int16_t, D8>;
using D32 = hn::Repartition<int32_t, D8>;
using DF = hn::Repartition<float, D8>;
using V8 = hn::Vec<D8>;
using V16 = hn::Vec<D16>;
using V32 = hn::Vec<D32>;

// Saturating to 0..255; result per 128-bit block: the 8 bytes of `low`'s block, then those of
// `high`'s.
HWY_INLINE V8 PackBlocks(V16 low, V16 high) {
#if HWY_TARGET == HWY_AVX2
  return V8{_mm256_packus_epi16(low.raw, high.raw)};
#elif HWY_ARCH_X86
  return V8{_mm_packus_epi16(low.raw, high.raw)};
#else
  const hn::Half<D8> half;
  return hn::Combine(D8(), hn::DemoteTo(half, high), hn::DemoteTo(half, low));
#endif
}

// Sums of neighbouring unsigned-byte times signed-byte products; no sum may leave int16.
HWY_INLINE V16 MulPairs(V8 pixels, hn::Vec<hn::Repartition<int8_t, D8>> weights) {
#if HWY_TARGET == HWY_AVX2
  return V16{_mm256_maddubs_epi16(pixels.raw, weights.raw)};
#elif HWY_ARCH_X86
  return V16{_mm_maddubs_epi16(pixels.raw, weights.raw)};
#else
  const D16 d16;
  const V16 even = hn::And(hn::BitCast(d16, pixels), hn::Set(d16, 0xff));
  const V16 odd =
      hn::BitCast(d16, hn::ShiftRight<8>(hn::BitCast(hn::Repartition<uint16_t, D8>(), pixels)));
  const V16 w = hn::BitCast(d16, weights);
  const V16 w_even = hn::ShiftRight<8>(hn::ShiftLeft<8>(w));
  return hn::Add(hn::Mul(even, w_even), hn::Mul(odd, hn::ShiftRight<8>(w)));
#endif
}

void Split3(const uint8_t* packed, int width, uint8_t* c0, uint8_t* c1, uint8_t* c2) {
  const D8 d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  int i = 0;
  for (; i + lanes <= width; i += lanes) {
    V8 v0, v1, v2;
    hn::LoadInterleaved3(d, packed + 3 * i, v0, v1, v2);
    hn::StoreU(v0, d, c0 + i);
    hn::StoreU(v1, d, c1 + i);
    hn::StoreU(v2, d, c2 + i);
  }
  ScalarRowKernels().split3(packed + 3 * i, width - i, c0 + i, c1 + i, c2 + i);
}

void Join3(const uint8_t* c0, const uint8_t* c1, const uint8_t* c2, int width, uint8_t* packed) {
  const D8 d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  int i = 0;
  for (; i + lanes <= width; i += lanes) {
    hn::StoreInterleaved3(hn::LoadU(d, c0 + i), hn::LoadU(d, c1 + i), hn::LoadU(d, c2 + i), d,
                          packed + 3 * i);
  }
  ScalarRowKernels().join3(c0 + i, c1 + i, c2 + i, width - i, packed + 3 * i);
}

// Chroma's share of B, G and R, with 6 bits of fraction.
struct ChromaTerms {
  V16 b, g, r;
};

struct ChromaFactors {
  V16 b_from_u_less_one, g_from_u, g_from_v, r_from_v;
  explicit HWY_INLINE ChromaFactors(const YuvCoefficients& c) {
    const D16 d;
    b_from_u_less_one = hn::Set(d, c.b_from_u_less_one);
    g_from_u = hn::Set(d, c.g_from_u);
    g_from_v = hn::Set(d, c.g_from_v);
    r_from_v = hn::Set(d, c.r_from_v);
  }
  // `u` and `v` are (value - 128) * 256.
  HWY_INLINE ChromaTerms Terms(V16 u, V16 v) const {
    return {hn::Add(hn::ShiftRight<2>(u), hn::MulHigh(u, b_from_u_less_one)),
            hn::Add(hn::MulHigh(u, g_from_u), hn::MulHigh(v, g_from_v)), hn::MulHigh(v, r_from_v)};
  }
};

// Two neighbouring pixels lie in the two bytes of a 16-bit lane; these give one, times 256.
HWY_INLINE V16 EvenByte(V8 v) { return hn::ShiftLeft<8>(hn::BitCast(D16(), v)); }
HWY_INLINE V16 OddByte(V8 v) {
  return hn::And(hn::BitCast(D16(), v), hn::Set(D16(), static_cast<int16_t>(0xff00)));
}

// (y + term) >> 6, clipped, of the even and the odd pixels, back in the order of the pixels.
HWY_INLINE V8 Finish(V16 y_even, V16 y_odd, V16 term_even, V16 term_odd) {
  const V8 packed = PackBlocks(hn::ShiftRight<6>(hn::SaturatedAdd(y_even, term_even)),
                               hn::ShiftRight<6>(hn::SaturatedAdd(y_odd, term_odd)));
  alignas(16) static constexpr uint8_t kOrder[16] = {0, 8,  1, 9,  2, 10, 3, 11,
                                                     4, 12, 5, 13, 6, 14, 7, 15};
  return hn::TableLookupBytes(packed, hn::LoadDup128(D8(), kOrder));
}

template <ChromaLayout kLayout>
void YuvToBgrOf(const YuvRow& row, int width, const YuvCoefficients& c, uint8_t* b, uint8_t* g,
                uint8_t* r) {
  const D8 d8;
  const D16 d16;
  const hn::Repartition<uint16_t, D8> du16;
  const hn::Half<D8> half8;
  const int lanes = static_cast<int>(hn::Lanes(d8));
  const V8 y_offset = hn::Set(d8, c.y_offset);
  const auto y_gain = hn::Set(du16, c.y_gain);
  const V8 center = hn::Set(d8, 0x80);
  const V16 round = hn::Set(d16, 32);
  const ChromaFactors factors(c);
  const auto luma = [&](V16 y) {
    return hn::Add(hn::BitCast(d16, hn::MulHigh(hn::BitCast(du16, y), y_gain)), round);
  };
  int i = 0;
  for (; i + lanes <= width; i += lanes) {
    const V8 y = hn::SaturatedSub(hn::LoadU(d8, row.y + i), y_offset);
    const V16 y_even = luma(EvenByte(y));
    const V16 y_odd = luma(OddByte(y));
    ChromaTerms even, odd;
    if constexpr (kLayout == ChromaLayout::kFull) {
      const V8 u = hn::Xor(hn::LoadU(d8, row.u + i), center);
      const V8 v = hn::Xor(hn::LoadU(d8, row.v + i), center);
      even = factors.Terms(EvenByte(u), EvenByte(v));
      odd = factors.Terms(OddByte(u), OddByte(v));
    } else if constexpr (kLayout == ChromaLayout::kHalfInterleaved) {
      const V8 uv = hn::Xor(hn::LoadU(d8, row.u + i), center);
      even = odd = factors.Terms(EvenByte(uv), OddByte(uv));
    } else {
      const auto load = [&](const uint8_t* p) {
        const V16 wide = hn::PromoteTo(d16, hn::LoadU(half8, p + i / 2));
        return EvenByte(hn::Xor(hn::BitCast(d8, wide), center));
      };
      even = odd = factors.Terms(load(row.u), load(row.v));
    }
    hn::StoreU(Finish(y_even, y_odd, even.b, odd.b), d8, b + i);
    hn::StoreU(Finish(y_even, y_odd, even.g, odd.g), d8, g + i);
    hn::StoreU(Finish(y_even, y_odd, even.r, odd.r), d8, r + i);
  }
  if (i == width) return;
  YuvRow rest = row;
  rest.y += i;
  rest.u += kLayout == ChromaLayout::kHalf ? i / 2 : i;
  if (rest.v != nullptr) rest.v += kLayout == ChromaLayout::kHalf ? i / 2 : i;
  ScalarRowKernels().yuv_to_bgr(rest, width - i, c, b + i, g + i, r + i);
}

void YuvToBgr(const YuvRow& row, int width, const YuvCoefficients& c, uint8_t* b, uint8_t* g,
              uint8_t* r) {
  switch (row.layout) {
    case ChromaLayout::kFull:
      return YuvToBgrOf<ChromaLayout::kFull>(row, width, c, b, g, r);
    case ChromaLayout::kHalf:
      return YuvToBgrOf<ChromaLayout::kHalf>(row, width, c, b, g, r);
    case ChromaLayout::kHalfInterleaved:
      return YuvToBgrOf<ChromaLayout::kHalfInterleaved>(row, width, c, b, g, r);
  }
}

// Results of one shuffle of a whole vector: the two halves come from different places.
HWY_INLINE V8 Shuffled(const uint8_t* row, const int32_t* source, const uint8_t* control) {
  const D8 d8;
#if HWY_TARGET == HWY_AVX2
  const hn::Half<D8> half;
  const V8 bytes =
      hn::Combine(d8, hn::LoadU(half, row + source[1]), hn::LoadU(half, row + source[0]));
#else
  const V8 bytes = hn::LoadU(d8, row + source[0]);
#endif
  return hn::TableLookupBytesOr0(bytes, hn::LoadU(d8, control));
}

template <int kSteps>
void GatherBy(const GatherTable& table, const uint8_t* row, uint8_t* dst) {
  const D8 d8;
  constexpr int kLanes = HWY_TARGET == HWY_AVX2 ? 32 : 16;
  const int32_t* source = table.source();
  const uint8_t* control = table.control();
  const int pairs = table.pairs();
  for (int pair = 0; pair < pairs; ++pair) {
    for (int half = 0; half < 32 / kLanes; ++half) {
      V8 sum = Shuffled(row, source + half, control + 16 * half);
      for (int s = 1; s < kSteps; ++s) {
        sum = hn::Or(sum, Shuffled(row, source + 2 * s + half, control + 32 * s + 16 * half));
      }
      hn::StoreU(sum, d8, dst + 32 * pair + 16 * half);
    }
    source += 2 * kSteps;
    control += 32 * kSteps;
  }
}

void Gather(const GatherTable& table, const uint8_t* row, uint8_t* dst) {
  switch (table.steps()) {
    case 1:
      return GatherBy<1>(table, row, dst);
    case 2:
      return GatherBy<2>(table, row, dst);
    case 3:
      return GatherBy<3>(table, row, dst);
    case 4:
      return GatherBy<4>(table, row, dst);
    case 5:
      return GatherBy<5>(table, row, dst);
    case 6:
      return GatherBy<6>(table, row, dst);
    case 7:
      return GatherBy<7>(table, row, dst);
    case 8:
      return GatherBy<8>(table, row, dst);
    default:
      return ScalarRowKernels().gather(table, row, dst);
  }
}

void LinearAcross(const uint8_t* pairs, const PairWeights& weights, int out, int16_t* dst) {
  const D8 d8;
  const hn::Repartition<int8_t, D8> ds8;
  const D16 d16;
  const int lanes = static_cast<int>(hn::Lanes(d16));
  for (int i = 0; i < out; i += lanes) {
    const V8 p = hn::LoadU(d8, pairs + 2 * i);
    const V16 high = MulPairs(p, hn::LoadU(ds8, weights.high.data() + 2 * i));
    const V16 low = MulPairs(p, hn::LoadU(ds8, weights.low.data() + 2 * i));
    hn::StoreU(hn::Add(high, hn::ShiftRight<4>(low)), d16, dst + i);
  }
}

template <int kSteps>
void GatherLinearAcrossBy(const GatherTable& table, const PairWeights& weights, int channels,
                          const uint8_t* const rows[3], int16_t* const dst[3]) {
  const hn::Repartition<int8_t, D8> ds8;
  const D16 d16;
  constexpr int kLanes = HWY_TARGET == HWY_AVX2 ? 32 : 16;
  const int32_t* source = table.source();
  const uint8_t* control = table.control();
  const int pairs = table.pairs();
  for (int pair = 0; pair < pairs; ++pair) {
    for (int half = 0; half < 32 / kLanes; ++half) {
      const int at = 32 * pair + 16 * half;
      const auto high = hn::LoadU(ds8, weights.high.data() + at);
      const auto low = hn::LoadU(ds8, weights.low.data() + at);
      for (int c = 0; c < channels; ++c) {
        V8 sum = Shuffled(rows[c], source + half, control + 16 * half);
        for (int s = 1; s < kSteps; ++s) {
          sum = hn::Or(sum, Shuffled(rows[c], source + 2 * s + half, control + 32 * s + 16 * half));
        }
        const V16 value = hn::Add(MulPairs(sum, high), hn::ShiftRight<4>(MulPairs(sum, low)));
        hn::StoreU(value, d16, dst[c] + at / 2);
      }
    }
    source += 2 * kSteps;
    control += 32 * kSteps;
  }
}

void GatherLinearAcross(const GatherTable& table, const PairWeights& weights, int channels,
                        const uint8_t* const rows[3], int16_t* const dst[3]) {
  switch (table.steps()) {
    case 1:
      return GatherLinearAcrossBy<1>(table, weights, channels, rows, dst);
    case 2:
      return GatherLinearAcrossBy<2>(table, weights, channels, rows, dst);
    case 3:
      return GatherLinearAcrossBy<3>(table, weights, channels, rows, dst);
    case 4:
      return GatherLinearAcrossBy<4>(table, weights, channels, rows, dst);
    default:
      return ScalarRowKernels().gather_linear_across(table, weights, channels, rows, dst);
  }
}

// Pixels, in 16-bit lanes.
HWY_INLINE V16 LinearDownOf(const int16_t* row0, const int16_t* row1, V16 weight0, V16 weight1) {
  const D16 d16;
  const V16 sum = hn::Add(hn::MulHigh(hn::LoadU(d16, row0), weight0),
                          hn::MulHigh(hn::LoadU(d16, row1), weight1));
  return hn::ShiftRight<2>(hn::Add(sum, hn::Set(d16, 2)));
}

void LinearDown(const int16_t* row0, const int16_t* row1, int weight0, int weight1, int out,
                uint8_t* dst) {
  const D16 d16;
  const hn::Half<D8> half8;
  const int lanes = static_cast<int>(hn::Lanes(d16));
  const V16 w0 = hn::Set(d16, static_cast<int16_t>(weight0));
  const V16 w1 = hn::Set(d16, static_cast<int16_t>(weight1));
  for (int i = 0; i < out; i += lanes) {
    hn::StoreU(hn::DemoteTo(half8, LinearDownOf(row0 + i, row1 + i, w0, w1)), half8, dst + i);
  }
}

void LinearDownF32(const int16_t* row0, const int16_t* row1, int weight0, int weight1, int out,
                   Normalization n, float* dst) {
  const D16 d16;
  const D32 d32;
  const DF df;
  const int lanes = static_cast<int>(hn::Lanes(d16));
  const V16 w0 = hn::Set(d16, static_cast<int16_t>(weight0));
  const V16 w1 = hn::Set(d16, static_cast<int16_t>(weight1));
  const auto mean = hn::Set(df, n.mean);
  const auto scale = hn::Set(df, n.scale);
  const auto store = [&](V32 pixels, float* to) {
    hn::StoreU(hn::Mul(hn::Sub(hn::ConvertTo(df, pixels), mean), scale), df, to);
  };
  int i = 0;
  for (; i + lanes <= out; i += lanes) {
    const V16 pixels = LinearDownOf(row0 + i, row1 + i, w0, w1);
    store(hn::PromoteTo(d32, hn::LowerHalf(pixels)), dst + i);
    store(hn::PromoteTo(d32, hn::UpperHalf(hn::Half<D16>(), pixels)), dst + i + lanes / 2);
  }
  ScalarRowKernels().linear_down_f32(row0 + i, row1 + i, weight0, weight1, out - i, n, dst + i);
}

void Widen(const uint8_t* pixels, int out, int16_t* dst) {
  const D16 d16;
  const hn::Half<D8> half8;
  const int lanes = static_cast<int>(hn::Lanes(d16));
  for (int i = 0; i < out; i += lanes) {
    hn::StoreU(hn::ShiftLeft<7>(hn::PromoteTo(d16, hn::LoadU(half8, pixels + i))), d16, dst + i);
  }
}

void CubicAcross(const uint8_t* taps, int stride, const int16_t* weights, int weight_stride,
                 int out, int32_t* dst) {
  const D32 d32;
  const hn::Rebind<uint8_t, D32> quarter8;
  const hn::Rebind<int16_t, D32> half16;
  const int lanes = static_cast<int>(hn::Lanes(d32));
  for (int i = 0; i < out; i += lanes) {
    V32 sum = hn::Zero(d32);
    for (int t = 0; t < 4; ++t) {
      const V32 pixel = hn::PromoteTo(d32, hn::LoadU(quarter8, taps + t * stride + i));
      const V32 weight = hn::PromoteTo(d32, hn::LoadU(half16, weights + t * weight_stride + i));
      sum = hn::Add(sum, hn::Mul(pixel, weight));
    }
    hn::StoreU(sum, d32, dst + i);
  }
}

void CubicDown(const int32_t* const rows[4], const int16_t weights[4], int out, uint8_t* dst) {
  const D32 d32;
  const hn::Rebind<uint8_t, D32> quarter8;
  const int lanes = static_cast<int>(hn::Lanes(d32));
  for (int i = 0; i < out; i += lanes) {
    V32 sum = hn::Set(d32, 1 << 21);
    for (int t = 0; t < 4; ++t) {
      sum = hn::Add(sum, hn::Mul(hn::LoadU(d32, rows[t] + i), hn::Set(d32, weights[t])));
    }
    hn::StoreU(hn::DemoteTo(quarter8, hn::ShiftRight<22>(sum)), quarter8, dst + i);
  }
}

void AreaDown(const uint8_t* row, float weight, bool first, int width, float* sum) {
  const DF df;
  const D32 d32;
  const hn::Rebind<uint8_t, D32> quarter8;
  const int lanes = static_cast<int>(hn::Lanes(df));
  const auto w = hn::Set(df, weight);
  for (int i = 0; i < width; i += lanes) {
    const auto pixel = hn::ConvertTo(df, hn::PromoteTo(d32, hn::LoadU(quarter8, row + i)));
    const auto part = hn::Mul(pixel, w);
    hn::StoreU(first ? part : hn::Add(hn::LoadU(df, sum + i), part), df, sum + i);
  }
}

// The high and low halves of the products are summed apart.
HWY_INLINE uint8_t PixelOf(V32 high, V32 low) {
  const V32 sum = hn::Add(hn::ShiftLeft<11>(high), low);
  const int32_t total = hn::GetLane(hn::SumOfLanes(D32(), sum)) + (1 << (kPillowWeightBits - 1));
  const int32_t pixel = total >> kPillowWeightBits;
  return static_cast<uint8_t>(pixel < 0 ? 0 : pixel > 255 ? 255 : pixel);
}

template <int kChannels>
void WeighAcrossOf(const RunWeights& weights, const uint8_t* const rows[3], int out,
                   uint8_t* const dst[3]) {
  const hn::Half<D8> half8;
  const D16 d16;
  const D32 d32;
  const int lanes = static_cast<int>(hn::Lanes(d16));
  const int32_t* first = weights.first.data();
  const int32_t* group = weights.group.data();
  const int16_t* highs = weights.high.data();
  const int16_t* lows = weights.low.data();
  for (int i = 0; i < out; ++i) {
    V32 high[kChannels], low[kChannels];
    V32 high_too[kChannels], low_too[kChannels];  // what some instruction sets sum apart
    for (int c = 0; c < kChannels; ++c) {
      high[c] = low[c] = high_too[c] = low_too[c] = hn::Zero(d32);
    }
    int at = first[i];
    for (int k = RunWeights::kGroup * group[i]; k < RunWeights::kGroup * group[i + 1]; k += lanes) {
      const V16 weight_high = hn::LoadU(d16, highs + k);
      const V16 weight_low = hn::LoadU(d16, lows + k);
      for (int c = 0; c < kChannels; ++c) {
        const V16 pixels = hn::PromoteTo(d16, hn::LoadU(half8, rows[c] + at));
        high[c] = hn::ReorderWidenMulAccumulate(d32, pixels, weight_high, high[c], high_too[c]);
        low[c] = hn::ReorderWidenMulAccumulate(d32, pixels, weight_low, low[c], low_too[c]);
      }
      at += lanes;
    }
    for (int c = 0; c < kChannels; ++c) {
      dst[c][i] = PixelOf(hn::Add(high[c], high_too[c]), hn::Add(low[c], low_too[c]));
    }
  }
}

void WeighAcross(const RunWeights& weights, int channels, const uint8_t* const rows[3], int out,
                 uint8_t* const dst[3]) {
  if (channels == 1) return WeighAcrossOf<1>(weights, rows, out, dst);
  WeighAcrossOf<3>(weights, rows, out, dst);
}

void WeighDown(const uint8_t* const* rows, const int32_t* weights, int count, int out,
               int32_t* sums) {
  const D32 d32;
  const hn::Rebind<uint8_t, D32> quarter8;
  const int lanes = static_cast<int>(hn::Lanes(d32));
  for (int i = 0; i < out; i += lanes) {
    V32 sum = hn::LoadU(d32, sums + i);
    for (int k = 0; k < count; ++k) {
      const V32 pixel = hn::PromoteTo(d32, hn::LoadU(quarter8, rows[k] + i));
      sum = hn::Add(sum, hn::Mul(pixel, hn::Set(d32, weights[k])));
    }
    hn::StoreU(sum, d32, sums + i);
  }
}

void ClipSums(const int32_t* sums, int out, uint8_t* dst) {
  const D32 d32;
  const hn::Rebind<uint8_t, D32> quarter8;
  const int lanes = static_cast<int>(hn::Lanes(d32));
  for (int i = 0; i < out; i += lanes) {
    const V32 pixel = hn::ShiftRight<kPillowWeightBits>(hn::LoadU(d32, sums + i));
    hn::StoreU(hn::DemoteTo(quarter8, pixel), quarter8, dst + i);
  }
}

void AddSumsOf8(const uint8_t* row, int row_bytes, uint64_t* sums) {
  const D8 d8;
  const hn::Repartition<uint64_t, D8> d64;
  const int lanes = static_cast<int>(hn::Lanes(d8));
  int i = 0;
  for (; i + lanes <= row_bytes; i += lanes) {
    const auto part = hn::SumsOf8(hn::LoadU(d8, row + i));
    hn::StoreU(hn::Add(hn::LoadU(d64, sums + i / 8), part), d64, sums + i / 8);
  }
  ScalarRowKernels().add_sums_of_8(row + i, row_bytes - i, sums + i / 8);
}

HWY_INLINE hn::Vec<DF> Normalized(const uint8_t* pixels, hn::Vec<DF> mean, hn::Vec<DF> scale) {
  const hn::Rebind<uint8_t, D32> quarter8;
  const auto value = hn::ConvertTo(DF(), hn::PromoteTo(D32(), hn::LoadU(quarter8, pixels)));
  return hn::Mul(hn::Sub(value, mean), scale);
}

void StoreF32(const uint8_t* row, int width, Normalization n, float* dst) {
  const DF df;
  const int lanes = static_cast<int>(hn::Lanes(df));
  const auto mean = hn::Set(df, n.mean);
  const auto scale = hn::Set(df, n.scale);
  int i = 0;
  for (; i + lanes <= width; i += lanes) {
    hn::StoreU(Normalized(row + i, mean, scale), df, dst + i);
  }
  ScalarRowKernels().store_f32(row + i, width - i, n, dst + i);
}

void StoreF16(const uint8_t* row, int width, Normalization n, uint16_t* dst) {
#if HWY_TARGET == HWY_AVX2
  const DF df;
  const hn::Rebind<hwy::float16_t, DF> dh;
  const hn::Rebind<uint16_t, DF> du;
  const int lanes = static_cast<int>(hn::Lanes(df));
  const auto mean = hn::Set(df, n.mean);
  const auto scale = hn::Set(df, n.scale);
  int i = 0;
  for (; i + lanes <= width; i += lanes) {
    const auto half = hn::DemoteTo(dh, Normalized(row + i, mean, scale));
    hn::StoreU(hn::BitCast(du, half), du, dst + i);
  }
  ScalarRowKernels().store_f16(row + i, width - i, n, dst + i);
#else
  // No conversion in hardware; a pixel has 256 values.
  uint16_t table[256];
  for (int v = 0; v < 256; ++v) table[v] = ToHalf((static_cast<float>(v) - n.mean) * n.scale);
  for (int i = 0; i < width; ++i) dst[i] = table[row[i]];
#endif
}

void StoreF32Packed(const uint8_t* const rows[3], int width, const Normalization n[3], float* dst) {
  const DF df;
  const int lanes = static_cast<int>(hn::Lanes(df));
  int i = 0;
  for (; i + lanes <= width; i += lanes) {
    const auto v0 = Normalized(rows[0] + i, hn::Set(df, n[0].mean), hn::Set(df, n[0].scale));
    const auto v1 = Normalized(rows[1] + i, hn::Set(df, n[1].mean), hn::Set(df, n[1].scale));
    const auto v2 = Normalized(rows[2] + i, hn::Set(df, n[2].mean), hn::Set(df, n[2].scale));
    hn::StoreInterleaved3(v0, v1, v2, df, dst + 3 * i);
  }
  const uint8_t* const rest[3] = {rows[0] + i, rows[1] + i, rows[2] + i};
  ScalarRowKernels().store_f32_packed(rest, width - i, n, dst + 3 * i);
}

const RowKernels* Kernels() {
  static constexpr RowKernels kKernels = {"simd",
                                          Split3,
                                          Join3,
                                          YuvToBgr,
                                          Gather,
                                          LinearAcross,
                                          GatherLinearAcross,
                                          LinearDown,
                                          LinearDownF32,
                                          Widen,
                                          CubicAcross,
                                          CubicDown,
                                          AreaDown,
                                          WeighAcross,
                                          WeighDown,
                                          ClipSums,
                                          AddSumsOf8,
                                          StoreF32,
                                          StoreF16,
                                          StoreF32Packed};
  return &kKernels;
}

}  // namespace HWY_NAMESPACE
}  // namespace sightline
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sightline {

HWY_EXPORT(Kernels);

const RowKernels& BestRowKernels() { return *HWY_DYNAMIC_DISPATCH(Kernels)(); }

}  // namespace sightline
#endif
