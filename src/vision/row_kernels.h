// The inner loops of colour conversion, resize and normalisation, one row at a time.
//
// Two implementations: portable SIMD (Highway, the best instruction set of this machine chosen at
// run time) and a plain one. Their results are identical, bit for bit, on every instruction set:
// integers throughout, and where there are floats the same operations in the same order, never
// fused.
//
// Input rows that belong to a picture are never read beyond their length. Rows marked "scratch" are
// readable and writable up to kRowSlack elements beyond their length, and what lies there is
// undefined.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "types/frame.h"
#include "vision/color.h"
#include "vision/resize_plan.h"

namespace sightline {

inline constexpr int kRowSlack = 64;

enum class ChromaLayout : uint8_t {
  kFull,            // one U and one V byte per pixel
  kHalf,            // one per two pixels, planes U and V
  kHalfInterleaved  // U V U V in one plane, `v` is unused
};

struct YuvRow {
  ChromaLayout layout = ChromaLayout::kFull;
  const uint8_t* y = nullptr;
  const uint8_t* u = nullptr;
  const uint8_t* v = nullptr;
};

// Row `y` of a YUV picture.
YuvRow YuvRowOf(const ImageView& image, int y);

// Picks bytes of a row: dst[i] = row[index[i]]. For SIMD, every 16 results are the OR of steps()
// byte shuffles, each of 16 neighbouring bytes of the row.
class GatherTable {
 public:
  GatherTable() = default;
  // Indices in 0..row_bytes-1. Cost: some tens of microseconds per thousand indices.
  GatherTable(std::span<const int32_t> index, int row_bytes);

  const std::vector<int32_t>& index() const { return index_; }

  // For the kernels. Entry ((pair * steps + step) * 2 + half) belongs to results
  // 32 * pair + 16 * half ... + 15.
  struct Control {
    uint8_t bytes[16];  // place among the 16 source bytes, 0x80 where another step delivers
  };
  // 0 where shuffles do not pay: a plain loop over index() then. The limit is chosen, not measured.
  static constexpr int kMaxSteps = 8;
  int steps() const { return steps_; }
  int pairs() const { return steps_ == 0 ? 0 : static_cast<int>(source_.size()) / (2 * steps_); }
  const int32_t* source() const { return source_.data(); }
  const uint8_t* control() const { return control_.data()->bytes; }

 private:
  std::vector<int32_t> index_;
  int steps_ = 0;
  std::vector<int32_t> source_;
  std::vector<Control> control_;
};

// Weights of two taps, interleaved like the pixels (first, second, first, ...), each split into
// 16 * high + low so that 8-bit multiplications suffice.
struct PairWeights {
  std::vector<int8_t> high;
  std::vector<int8_t> low;
};

// Weights of runs of neighbouring pixels in 22-bit fixed point, each split into 2048 * high + low
// (low 0..2047) so that 16-bit multiplications suffice. Result i sums the pixels from first[i] on,
// with the weights of the groups group[i] ... group[i + 1] - 1, of kGroup each; the last group of a
// result is filled up with zeros.
struct RunWeights {
  static constexpr int kGroup = 16;
  RunWeights() = default;
  explicit RunWeights(const PillowTaps& taps);

  std::vector<int32_t> first;
  std::vector<int32_t> group;
  std::vector<int16_t> high;
  std::vector<int16_t> low;
};

// value = (pixel - mean) * scale
struct Normalization {
  float mean = 0;
  float scale = 1;
};

// Where a row of a planar float32 tensor goes: width values each for B, G and R.
struct FloatRow {
  std::array<float*, 3> bgr{};
  std::array<Normalization, 3> normalization;
};

struct RowKernels {
  const char* name;
  // Packed three-channel pixels to three scratch rows.
  void (*split3)(const uint8_t* packed, int width, uint8_t* c0, uint8_t* c1, uint8_t* c2);
  // Its inverse; writes 3 * width bytes and no more.
  void (*join3)(const uint8_t* c0, const uint8_t* c1, const uint8_t* c2, int width,
                uint8_t* packed);
  // To three scratch rows B, G, R.
  void (*yuv_to_bgr)(const YuvRow& row, int width, const YuvCoefficients& c, uint8_t* b, uint8_t* g,
                     uint8_t* r);
  void (*gather)(const GatherTable& table, const uint8_t* row, uint8_t* dst_scratch);

  // OpenCV's linear kernel. Across: pairs[2i], pairs[2i+1] -> sum >> 4, 0..32655; all rows scratch.
  void (*linear_across)(const uint8_t* pairs, const PairWeights& weights, int out, int16_t* dst);
  // gather and linear_across in one, of `channels` (1 or 3) rows; `weights` is as long as the
  // table.
  void (*gather_linear_across)(const GatherTable& table, const PairWeights& weights, int channels,
                               const uint8_t* const rows[3], int16_t* const dst[3]);
  // Down: two such rows, weights of 2048 -> pixels.
  void (*linear_down)(const int16_t* row0, const int16_t* row1, int weight0, int weight1, int out,
                      uint8_t* dst);

  // The same and store_f32 in one; never writes beyond `out` elements.
  void (*linear_down_f32)(const int16_t* row0, const int16_t* row1, int weight0, int weight1,
                          int out, Normalization n, float* dst);
  // What linear_across makes of pixels with weight one: 128 times each.
  void (*widen)(const uint8_t* pixels, int out, int16_t* dst);

  // OpenCV's cubic kernel in its exact integer form. Across: taps[t * stride + i].
  void (*cubic_across)(const uint8_t* taps, int stride, const int16_t* weights, int weight_stride,
                       int out, int32_t* dst);
  void (*cubic_down)(const int32_t* const rows[4], const int16_t weights[4], int out, uint8_t* dst);

  // OpenCV's area kernel, down before across: sum[i] += row[i] * weight.
  void (*area_down)(const uint8_t* row, float weight, bool first, int width, float* sum);

  // Pillow's kernels. Across: dst[i] = sum of the run of result i, rounded and clipped; of
  // `channels` (1 or 3) rows, which are scratch. Modulo 2^32, which true weights never reach.
  void (*weigh_across)(const RunWeights& weights, int channels, const uint8_t* const rows[3],
                       int out, uint8_t* const dst[3]);
  // Down: sums[i] += rows[k][i] * weights[k] for all of `count` rows; all scratch.
  void (*weigh_down)(const uint8_t* const* rows, const int32_t* weights, int count, int out,
                     int32_t* sums);
  // dst[i] = sums[i] >> 22, clipped; both scratch.
  void (*clip_sums)(const int32_t* sums, int out, uint8_t* dst);

  // sums[i] += the bytes 8i ... 8i+7 of a picture's row; the last group may be short.
  void (*add_sums_of_8)(const uint8_t* row, int row_bytes, uint64_t* sums);

  // To the tensor: never writes beyond `width` (times 3 where interleaved) elements.
  void (*store_f32)(const uint8_t* row, int width, Normalization n, float* dst);
  void (*store_f16)(const uint8_t* row, int width, Normalization n, uint16_t* dst);
  void (*store_f32_packed)(const uint8_t* const rows[3], int width, const Normalization n[3],
                           float* dst);
};

const RowKernels& ScalarRowKernels();
// The best for this machine. Cost: a few nanoseconds.
const RowKernels& BestRowKernels();

// Round to nearest even, as IEEE 754 binary16; what store_f16 gives for each value.
uint16_t ToHalf(float value);

}  // namespace sightline
