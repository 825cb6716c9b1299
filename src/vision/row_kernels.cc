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
using DU32 = hn::Repartition<uint32_t, D8>;
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

// Four neighbouring pixels lie in the four bytes of one 32-bit lane.
template <int kByte>
HWY_INLINE V32 ByteOf(hn::Vec<DU32> v) {
  const DU32 du;
  if constexpr (kByte == 0) return hn::BitCast(D32(), hn::And(v, hn::Set(du, 0xff)));
  if constexpr (kByte == 3) return hn::BitCast(D32(), hn::ShiftRight<24>(v));
  return hn::BitCast(D32(), hn::And(hn::ShiftRight<8 * kByte>(v), hn::Set(du, 0xff)));
}

// Chroma's share of B, G and R for one of the four pixels, rounding included.
struct ChromaTerms {
  V32 b, g, r;
};

struct ChromaFactors {
  V32 b_from_u, g_from_u, g_from_v, r_from_v, b_base, g_base, r_base;
  explicit HWY_INLINE ChromaFactors(const YuvCoefficients& c) {
    const D32 d;
    constexpr int32_t kHalf = 1 << (kYuvFractionBits - 1);
    b_from_u = hn::Set(d, c.b_from_u);
    g_from_u = hn::Set(d, c.g_from_u);
    g_from_v = hn::Set(d, c.g_from_v);
    r_from_v = hn::Set(d, c.r_from_v);
    b_base = hn::Set(d, kHalf - 128 * c.b_from_u);
    g_base = hn::Set(d, kHalf - 128 * (c.g_from_u + c.g_from_v));
    r_base = hn::Set(d, kHalf - 128 * c.r_from_v);
  }
  HWY_INLINE ChromaTerms Terms(V32 u, V32 v) const {
    return {hn::Add(hn::Mul(u, b_from_u), b_base),
            hn::Add(hn::Add(hn::Mul(u, g_from_u), hn::Mul(v, g_from_v)), g_base),
            hn::Add(hn::Mul(v, r_from_v), r_base)};
  }
};

// (y[k] + term[k]) >> 20, clipped, back into the order of the pixels.
HWY_INLINE V8 Finish(const V32 (&y)[4], V32 t0, V32 t1, V32 t2, V32 t3) {
  const D16 d16;
  const V32 p0 = hn::ShiftRight<kYuvFractionBits>(hn::Add(y[0], t0));
  const V32 p1 = hn::ShiftRight<kYuvFractionBits>(hn::Add(y[1], t1));
  const V32 p2 = hn::ShiftRight<kYuvFractionBits>(hn::Add(y[2], t2));
  const V32 p3 = hn::ShiftRight<kYuvFractionBits>(hn::Add(y[3], t3));
  const V8 packed =
      PackBlocks(hn::ReorderDemote2To(d16, p0, p2), hn::ReorderDemote2To(d16, p1, p3));
  alignas(16) static constexpr uint8_t kOrder[16] = {0, 8,  4, 12, 1, 9,  5, 13,
                                                     2, 10, 6, 14, 3, 11, 7, 15};
  return hn::TableLookupBytes(packed, hn::LoadDup128(D8(), kOrder));
}

template <ChromaLayout kLayout>
void YuvToBgrOf(const YuvRow& row, int width, const YuvCoefficients& c, uint8_t* b, uint8_t* g,
                uint8_t* r) {
  const D8 d8;
  const DU32 du;
  const hn::Rebind<uint16_t, DU32> d_half;
  const hn::Repartition<uint8_t, decltype(d_half)> d_half8;
  const int lanes = static_cast<int>(hn::Lanes(d8));
  const V8 y_offset = hn::Set(d8, static_cast<uint8_t>(c.y_offset));
  const V32 y_gain = hn::Set(D32(), c.y_gain);
  const ChromaFactors factors(c);
  int i = 0;
  for (; i + lanes <= width; i += lanes) {
    const auto luma = hn::BitCast(du, hn::SaturatedSub(hn::LoadU(d8, row.y + i), y_offset));
    const V32 y[4] = {hn::Mul(ByteOf<0>(luma), y_gain), hn::Mul(ByteOf<1>(luma), y_gain),
                      hn::Mul(ByteOf<2>(luma), y_gain), hn::Mul(ByteOf<3>(luma), y_gain)};
    if constexpr (kLayout == ChromaLayout::kFull) {
      const auto u = hn::BitCast(du, hn::LoadU(d8, row.u + i));
      const auto v = hn::BitCast(du, hn::LoadU(d8, row.v + i));
      const ChromaTerms t0 = factors.Terms(ByteOf<0>(u), ByteOf<0>(v));
      const ChromaTerms t1 = factors.Terms(ByteOf<1>(u), ByteOf<1>(v));
      const ChromaTerms t2 = factors.Terms(ByteOf<2>(u), ByteOf<2>(v));
      const ChromaTerms t3 = factors.Terms(ByteOf<3>(u), ByteOf<3>(v));
      hn::StoreU(Finish(y, t0.b, t1.b, t2.b, t3.b), d8, b + i);
      hn::StoreU(Finish(y, t0.g, t1.g, t2.g, t3.g), d8, g + i);
      hn::StoreU(Finish(y, t0.r, t1.r, t2.r, t3.r), d8, r + i);
    } else {
      V32 u0, u1, v0, v1;
      if constexpr (kLayout == ChromaLayout::kHalfInterleaved) {
        const auto uv = hn::BitCast(du, hn::LoadU(d8, row.u + i));
        u0 = ByteOf<0>(uv), v0 = ByteOf<1>(uv), u1 = ByteOf<2>(uv), v1 = ByteOf<3>(uv);
      } else {
        const auto load = [&](const uint8_t* p) {
          return hn::PromoteTo(du, hn::BitCast(d_half, hn::LoadU(d_half8, p + i / 2)));
        };
        const auto u = load(row.u);
        const auto v = load(row.v);
        u0 = ByteOf<0>(u), v0 = ByteOf<0>(v);
        u1 = hn::BitCast(D32(), hn::ShiftRight<8>(u)),
        v1 = hn::BitCast(D32(), hn::ShiftRight<8>(v));
      }
      const ChromaTerms t0 = factors.Terms(u0, v0);
      const ChromaTerms t1 = factors.Terms(u1, v1);
      hn::StoreU(Finish(y, t0.b, t0.b, t1.b, t1.b), d8, b + i);
      hn::StoreU(Finish(y, t0.g, t0.g, t1.g, t1.g), d8, g + i);
      hn::StoreU(Finish(y, t0.r, t0.r, t1.r, t1.r), d8, r + i);
    }
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

void Gather(const GatherTable& table, const uint8_t* row, uint8_t* dst) {
  if (!table.shuffles()) return ScalarRowKernels().gather(table, row, dst);
  const hn::CappedTag<uint8_t, 16> d;
  const int32_t* begin = table.block_begin().data();
  const int32_t* source = table.source().data();
  const GatherTable::Control* control = table.control().data();
  const size_t blocks = table.block_begin().size() - 1;
  for (size_t block = 0; block < blocks; ++block) {
    int32_t k = begin[block];
    auto sum =
        hn::TableLookupBytesOr0(hn::LoadU(d, row + source[k]), hn::Load(d, control[k].bytes));
    for (++k; k < begin[block + 1]; ++k) {
      sum = hn::Or(sum, hn::TableLookupBytesOr0(hn::LoadU(d, row + source[k]),
                                                hn::Load(d, control[k].bytes)));
    }
    hn::StoreU(sum, d, dst + 16 * block);
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

void LinearDown(const int16_t* row0, const int16_t* row1, int weight0, int weight1, int out,
                uint8_t* dst) {
  const D16 d16;
  const hn::Half<D8> half8;
  const int lanes = static_cast<int>(hn::Lanes(d16));
  const V16 w0 = hn::Set(d16, static_cast<int16_t>(weight0));
  const V16 w1 = hn::Set(d16, static_cast<int16_t>(weight1));
  const V16 two = hn::Set(d16, 2);
  for (int i = 0; i < out; i += lanes) {
    const V16 sum = hn::Add(hn::MulHigh(hn::LoadU(d16, row0 + i), w0),
                            hn::MulHigh(hn::LoadU(d16, row1 + i), w1));
    hn::StoreU(hn::DemoteTo(half8, hn::ShiftRight<2>(hn::Add(sum, two))), half8, dst + i);
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
  static constexpr RowKernels kKernels = {
      "simd",      Split3,    Join3,    YuvToBgr, Gather,   LinearAcross,  LinearDown,
      CubicAcross, CubicDown, AreaDown, StoreF32, StoreF16, StoreF32Packed};
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
