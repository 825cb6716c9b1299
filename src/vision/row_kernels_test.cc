#include "vision/row_kernels.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "vision/resize_plan.h"

namespace sightline {
namespace {

using Bytes = std::vector<uint8_t>;

// Runs `check` with the kernels of every instruction set that this machine has.
template <typename Check>
void ForEachInstructionSet(Check check) {
  int seen = 0;
  const int64_t supported = hwy::SupportedTargets();
  for (int64_t bits = supported; bits != 0; bits &= bits - 1) {
    const int64_t target = bits & -bits;
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    SCOPED_TRACE(hwy::TargetName(target));
    check(BestRowKernels());
    ++seen;
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  EXPECT_GE(seen, 1);
}

// Exactly as long as asked, so that a sanitizer sees every read beyond a picture's row.
Bytes RandomRow(std::mt19937& random, int size) {
  Bytes row(size);
  for (uint8_t& b : row) b = static_cast<uint8_t>(random());
  row.shrink_to_fit();
  return row;
}

constexpr int kWidths[] = {1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 200, 641};

TEST(RowKernels, ColourAgreesWithTheTwin) {
  std::mt19937 random(1);
  const ChromaLayout layouts[] = {ChromaLayout::kFull, ChromaLayout::kHalf,
                                  ChromaLayout::kHalfInterleaved};
  ForEachInstructionSet([&](const RowKernels& kernels) {
    for (const int width : kWidths) {
      for (const ChromaLayout layout : layouts) {
        for (int variant = 0; variant < 4; ++variant) {
          const YuvCoefficients c = CoefficientsOf(static_cast<ColorMatrix>(variant & 1),
                                                   static_cast<ColorRange>(variant >> 1));
          const int half = (width + 1) / 2;
          const int chroma = layout == ChromaLayout::kFull   ? width
                             : layout == ChromaLayout::kHalf ? half
                                                             : 2 * half;
          const Bytes y = RandomRow(random, width), u = RandomRow(random, chroma),
                      v = RandomRow(random, chroma);
          const YuvRow row{layout, y.data(), u.data(),
                           layout == ChromaLayout::kHalfInterleaved ? nullptr : v.data()};
          Bytes got(3 * (width + kRowSlack)), want(3 * (width + kRowSlack));
          const int plane = width + kRowSlack;
          kernels.yuv_to_bgr(row, width, c, &got[0], &got[plane], &got[2 * plane]);
          ScalarRowKernels().yuv_to_bgr(row, width, c, &want[0], &want[plane], &want[2 * plane]);
          for (int p = 0; p < 3; ++p) {
            for (int i = 0; i < width; ++i) {
              ASSERT_EQ(got[p * plane + i], want[p * plane + i])
                  << "plane " << p << " pixel " << i << " of " << width;
            }
          }
        }
      }
    }
  });
}

TEST(RowKernels, EveryLumaAndChromaValueAgrees) {
  ForEachInstructionSet([&](const RowKernels& kernels) {
    Bytes y(65536), u(65536), v(65536);
    for (int i = 0; i < 65536; ++i) {
      y[i] = static_cast<uint8_t>(i);
      u[i] = static_cast<uint8_t>(i >> 8);
      v[i] = static_cast<uint8_t>(255 - (i >> 8) * 7);
    }
    const YuvRow row{ChromaLayout::kFull, y.data(), u.data(), v.data()};
    for (int variant = 0; variant < 4; ++variant) {
      const YuvCoefficients c = CoefficientsOf(static_cast<ColorMatrix>(variant & 1),
                                               static_cast<ColorRange>(variant >> 1));
      Bytes got[3], want[3];
      for (int p = 0; p < 3; ++p) {
        got[p].resize(65536 + kRowSlack);
        want[p].resize(65536 + kRowSlack);
      }
      kernels.yuv_to_bgr(row, 65536, c, got[0].data(), got[1].data(), got[2].data());
      ScalarRowKernels().yuv_to_bgr(row, 65536, c, want[0].data(), want[1].data(), want[2].data());
      for (int p = 0; p < 3; ++p) EXPECT_EQ(got[p], want[p]);
    }
  });
}

TEST(RowKernels, SplitAndJoinAgreeWithTheTwin) {
  std::mt19937 random(2);
  ForEachInstructionSet([&](const RowKernels& kernels) {
    for (const int width : kWidths) {
      const Bytes packed = RandomRow(random, 3 * width);
      Bytes c[3];
      for (Bytes& plane : c) plane.resize(width + kRowSlack);
      kernels.split3(packed.data(), width, c[0].data(), c[1].data(), c[2].data());
      for (int i = 0; i < width; ++i) {
        for (int k = 0; k < 3; ++k) ASSERT_EQ(c[k][i], packed[3 * i + k]) << i << " of " << width;
      }
      Bytes joined(3 * width);
      kernels.join3(c[0].data(), c[1].data(), c[2].data(), width, joined.data());
      EXPECT_EQ(joined, packed);
    }
  });
}

TEST(RowKernels, GatherAgreesWithTheTwin) {
  std::mt19937 random(3);
  ForEachInstructionSet([&](const RowKernels& kernels) {
    for (const int row_bytes : {1, 7, 15, 16, 17, 40, 333, 1920}) {
      for (const int count : {16, 64, 320}) {
        for (const bool sorted : {true, false}) {
          std::vector<int32_t> index(count);
          for (int32_t& i : index) i = static_cast<int32_t>(random() % row_bytes);
          if (sorted) std::sort(index.begin(), index.end());
          const GatherTable table(index, row_bytes);
          const Bytes row = RandomRow(random, row_bytes);
          Bytes got(count + kRowSlack), want(count + kRowSlack);
          kernels.gather(table, row.data(), got.data());
          ScalarRowKernels().gather(table, row.data(), want.data());
          got.resize(count);
          want.resize(count);
          EXPECT_EQ(got, want) << count << " of " << row_bytes;
        }
      }
    }
  });
}

TEST(RowKernels, GatherLinearAcrossAgreesWithTheTwin) {
  std::mt19937 random(7);
  ForEachInstructionSet([&](const RowKernels& kernels) {
    for (const double ratio : {0.3, 1.0, 1.9, 3.1, 5.0, 7.7, 20.0}) {
      const int out = 128, row_bytes = static_cast<int>(out * ratio) + 20;
      std::vector<int32_t> index(2 * out);
      PairWeights weights;
      weights.high.resize(2 * out);
      weights.low.resize(2 * out);
      for (int i = 0; i < out; ++i) {
        index[2 * i] = static_cast<int32_t>(i * ratio);
        index[2 * i + 1] = index[2 * i] + 1;
        const int first = static_cast<int>(random() % 2049);
        for (int t = 0; t < 2; ++t) {
          const int w = t == 0 ? first : 2048 - first;
          weights.high[2 * i + t] = static_cast<int8_t>(std::min(w / 16, 127));
          weights.low[2 * i + t] = static_cast<int8_t>(w - 16 * weights.high[2 * i + t]);
        }
      }
      const GatherTable table(index, row_bytes);
      const Bytes rows[3] = {RandomRow(random, row_bytes), RandomRow(random, row_bytes),
                             RandomRow(random, row_bytes)};
      const uint8_t* const from[3] = {rows[0].data(), rows[1].data(), rows[2].data()};
      for (const int channels : {1, 3}) {
        std::vector<int16_t> got(3 * out), want(3 * out);
        int16_t* const to[3] = {&got[0], &got[out], &got[2 * out]};
        int16_t* const to_want[3] = {&want[0], &want[out], &want[2 * out]};
        kernels.gather_linear_across(table, weights, channels, from, to);
        ScalarRowKernels().gather_linear_across(table, weights, channels, from, to_want);
        EXPECT_EQ(got, want) << ratio;
      }
    }
  });
}

TEST(RowKernels, ResizePassesAgreeWithTheTwin) {
  std::mt19937 random(4);
  ForEachInstructionSet([&](const RowKernels& kernels) {
    for (const int out : kWidths) {
      const int padded = (out + kRowSlack - 1) / kRowSlack * kRowSlack;
      const Bytes pixels = RandomRow(random, 4 * padded);
      PairWeights weights;
      weights.high.resize(2 * padded);
      weights.low.resize(2 * padded);
      for (int i = 0; i < out; ++i) {
        // All sums that OpenCV's rounding gives, the extremes among them.
        const int total = 2047 + static_cast<int>(random() % 3);
        const int first = i % 5 == 0 ? total : static_cast<int>(random() % (total + 1));
        const int w[2] = {first, total - first};
        for (int t = 0; t < 2; ++t) {
          weights.high[2 * i + t] = static_cast<int8_t>(std::min(w[t] / 16, 127));
          weights.low[2 * i + t] = static_cast<int8_t>(w[t] - 16 * weights.high[2 * i + t]);
        }
      }
      std::vector<int16_t> got16(padded), want16(padded), other(padded);
      kernels.linear_across(pixels.data(), weights, out, got16.data());
      ScalarRowKernels().linear_across(pixels.data(), weights, out, want16.data());
      for (int i = 0; i < out; ++i) ASSERT_EQ(got16[i], want16[i]) << i;
      for (int16_t& v : other) v = static_cast<int16_t>(random() % 32656);
      Bytes got8(padded), want8(padded);
      for (const int w : {0, 1, 1024, 2047, 2048}) {
        kernels.linear_down(want16.data(), other.data(), w, 2048 - w, out, got8.data());
        ScalarRowKernels().linear_down(want16.data(), other.data(), w, 2048 - w, out, want8.data());
        for (int i = 0; i < out; ++i) ASSERT_EQ(got8[i], want8[i]) << i;
      }
      std::vector<float> got_f(out + 1, -7.f), want_f(out + 1, -7.f);
      const Normalization n{103.53f, 1 / 57.375f};
      kernels.linear_down_f32(want16.data(), other.data(), 700, 1348, out, n, got_f.data());
      ScalarRowKernels().linear_down_f32(want16.data(), other.data(), 700, 1348, out, n,
                                         want_f.data());
      EXPECT_EQ(got_f, want_f);
      kernels.widen(pixels.data(), out, got16.data());
      ScalarRowKernels().widen(pixels.data(), out, want16.data());
      for (int i = 0; i < out; ++i) ASSERT_EQ(got16[i], want16[i]) << i;
      std::vector<int16_t> cubic(4 * padded);
      // True weights: with others the sums would leave 32 bits.
      const AxisTaps axis = CubicTaps({.source = out * 2 + 3, .full = out, .out = out});
      for (int t = 0; t < 4; ++t) {
        for (int i = 0; i < out; ++i) cubic[t * padded + i] = axis.weight[t * out + i];
      }
      std::vector<int32_t> got32[4], want32(padded);
      const int32_t* rows[4];
      for (int r = 0; r < 4; ++r) {
        got32[r].resize(padded);
        kernels.cubic_across(pixels.data() + r, padded - 1, cubic.data(), padded, out,
                             got32[r].data());
        ScalarRowKernels().cubic_across(pixels.data() + r, padded - 1, cubic.data(), padded, out,
                                        want32.data());
        for (int i = 0; i < out; ++i) ASSERT_EQ(got32[r][i], want32[i]) << i;
        rows[r] = got32[r].data();
      }
      const int16_t down[4] = {-192, 1216, 1216, -192};
      kernels.cubic_down(rows, down, out, got8.data());
      ScalarRowKernels().cubic_down(rows, down, out, want8.data());
      for (int i = 0; i < out; ++i) ASSERT_EQ(got8[i], want8[i]) << i;
      std::vector<float> got(padded, 0.1f), want(padded, 0.1f);
      for (const bool first : {true, false}) {
        kernels.area_down(pixels.data(), 0.3337f, first, out, got.data());
        ScalarRowKernels().area_down(pixels.data(), 0.3337f, first, out, want.data());
        for (int i = 0; i < out; ++i) ASSERT_EQ(got[i], want[i]) << i;
      }
    }
  });
}

TEST(RowKernels, PillowPassesAgreeWithTheTwin) {
  std::mt19937 random(8);
  ForEachInstructionSet([&](const RowKernels& kernels) {
    for (const int out : kWidths) {
      for (const int source : {1, out / 3 + 1, out, 3 * out + 1, 40 * out}) {
        const auto filter = static_cast<PillowFilter>(random() % 3);
        const AxisSlice axis{.source = source, .full = out, .first = 0, .out = out};
        const PillowTaps taps = PillowAxis(axis, filter);
        const RunWeights weights(taps);
        Bytes rows[3];
        for (Bytes& row : rows) row = RandomRow(random, source + kRowSlack);
        const uint8_t* const from[3] = {rows[0].data(), rows[1].data(), rows[2].data()};
        for (const int channels : {1, 3}) {
          const int plane = out + kRowSlack;
          Bytes got(3 * plane), want(3 * plane);
          uint8_t* const to[3] = {&got[0], &got[plane], &got[2 * plane]};
          uint8_t* const to_want[3] = {&want[0], &want[plane], &want[2 * plane]};
          kernels.weigh_across(weights, channels, from, out, to);
          ScalarRowKernels().weigh_across(weights, channels, from, out, to_want);
          for (int c = 0; c < channels; ++c) {
            for (int i = 0; i < out; ++i) {
              ASSERT_EQ(to[c][i], to_want[c][i]) << i << " of " << out << " from " << source;
              int64_t sum = 1 << (kPillowWeightBits - 1);
              for (int k = 0; k < taps.count(i); ++k) {
                sum += int64_t{from[c][taps.first[i] + k]} * taps.weight[taps.offset[i] + k];
              }
              ASSERT_EQ(to[c][i], std::clamp<int64_t>(sum >> kPillowWeightBits, 0, 255));
            }
          }
        }
        const int32_t down[3] = {-300'000, 4'194'304, 300'000};
        const int padded = out + kRowSlack;
        Bytes wide[3];
        for (Bytes& row : wide) row = RandomRow(random, padded);
        const uint8_t* const down_from[3] = {wide[0].data(), wide[1].data(), wide[2].data()};
        std::vector<int32_t> got(padded, 1 << 21), want(padded, 1 << 21);
        kernels.weigh_down(down_from, down, 3, out, got.data());
        ScalarRowKernels().weigh_down(down_from, down, 3, out, want.data());
        Bytes got8(padded), want8(padded);
        kernels.clip_sums(got.data(), out, got8.data());
        ScalarRowKernels().clip_sums(want.data(), out, want8.data());
        for (int i = 0; i < out; ++i) {
          ASSERT_EQ(got[i], want[i]) << i;
          ASSERT_EQ(got8[i], want8[i]) << i;
        }
      }
    }
  });
}

TEST(RowKernels, SumsOf8AgreeWithTheTwin) {
  std::mt19937 random(6);
  ForEachInstructionSet([&](const RowKernels& kernels) {
    for (const int width : kWidths) {
      const Bytes row = RandomRow(random, width);
      std::vector<uint64_t> got((width + 7) / 8, 5), want((width + 7) / 8, 5);
      kernels.add_sums_of_8(row.data(), width, got.data());
      ScalarRowKernels().add_sums_of_8(row.data(), width, want.data());
      EXPECT_EQ(got, want) << width;
    }
  });
}

TEST(RowKernels, StoresAgreeWithTheTwinAndStayInside) {
  std::mt19937 random(5);
  const Normalization normalizations[] = {{0, 1},         {127, 1 / 128.f}, {103.53f, 1 / 57.375f},
                                          {0, 1 / 255.f}, {0, 3000.f},      {12, 1e-6f}};
  ForEachInstructionSet([&](const RowKernels& kernels) {
    for (const int width : kWidths) {
      Bytes rows[3];
      for (Bytes& row : rows) row = RandomRow(random, width);
      const uint8_t* const pointers[3] = {rows[0].data(), rows[1].data(), rows[2].data()};
      for (const Normalization& n : normalizations) {
        std::vector<float> got(3 * width + 1, -7.f), want(3 * width + 1, -7.f);
        kernels.store_f32(pointers[0], width, n, got.data());
        ScalarRowKernels().store_f32(pointers[0], width, n, want.data());
        EXPECT_EQ(got, want);
        const Normalization three[3] = {n, normalizations[1], normalizations[2]};
        kernels.store_f32_packed(pointers, width, three, got.data());
        ScalarRowKernels().store_f32_packed(pointers, width, three, want.data());
        EXPECT_EQ(got, want);
        std::vector<uint16_t> got16(width + 1, 9), want16(width + 1, 9);
        kernels.store_f16(pointers[1], width, n, got16.data());
        ScalarRowKernels().store_f16(pointers[1], width, n, want16.data());
        EXPECT_EQ(got16, want16) << n.mean << " " << n.scale;
      }
    }
  });
}

TEST(ToHalf, RoundsToNearestEven) {
  EXPECT_EQ(ToHalf(0.0f), 0x0000);
  EXPECT_EQ(ToHalf(-0.0f), 0x8000);
  EXPECT_EQ(ToHalf(1.0f), 0x3c00);
  EXPECT_EQ(ToHalf(-2.0f), 0xc000);
  EXPECT_EQ(ToHalf(65504.0f), 0x7bff);
  EXPECT_EQ(ToHalf(65519.9f), 0x7bff);
  EXPECT_EQ(ToHalf(65520.0f), 0x7c00);
  EXPECT_EQ(ToHalf(1.0f + 1 / 2048.f), 0x3c00);  // half way, down to even
  EXPECT_EQ(ToHalf(1.0f + 3 / 2048.f), 0x3c02);  // half way, up to even
  EXPECT_EQ(ToHalf(5.9604645e-8f), 0x0001);      // the least subnormal
  EXPECT_EQ(ToHalf(6.1035156e-5f), 0x0400);      // the least normal
  EXPECT_EQ(ToHalf(6.1e-5f), 0x03ff);
  EXPECT_EQ(ToHalf(INFINITY), 0x7c00);
  EXPECT_EQ(ToHalf(NAN) & 0x7fff, 0x7e00);
}

}  // namespace
}  // namespace sightline
