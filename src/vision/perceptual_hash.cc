#include "vision/perceptual_hash.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "vision/image_check.h"
#include "vision/perceptual_hash_internal.h"
#include "vision/resize_plan.h"

namespace sightline {
namespace {

constexpr int kSide = 8;      // of the hash
constexpr int kDctSide = 32;  // of the picture whose cosine transform it is taken from
constexpr int kLeastPdqSide = 5;

// The grey picture in `width` x `height`, across and then down as Pillow does it, rounded to 8 bits in
// between; a direction that stays as it is has no pass.
std::vector<uint8_t> ShrinkGrey(const ImageView& image, int width, int height) {
  const RowKernels& kernels = BestRowKernels();
  LumaRows rows(image);
  const AxisSlice columns{.source = image.width, .full = width, .first = 0, .out = width};
  const AxisSlice lines{.source = image.height, .full = height, .first = 0, .out = height};
  const RunWeights weights(PillowAxis(columns, PillowFilter::kLanczos));
  const size_t stride = static_cast<size_t>(width) + kRowSlack;
  std::vector<uint8_t> across(stride * static_cast<size_t>(image.height));
  for (int y = 0; y < image.height; ++y) {
    const uint8_t* const grey = rows.Grey(y);
    uint8_t* const to = across.data() + stride * static_cast<size_t>(y);
    if (image.width == width) {
      std::memcpy(to, grey, static_cast<size_t>(width));
      continue;
    }
    const uint8_t* const from[3] = {grey, grey, grey};
    uint8_t* const into[3] = {to, to, to};
    kernels.weigh_across(weights, 1, from, width, into);
  }
  std::vector<uint8_t> result(static_cast<size_t>(width) * height);
  const PillowTaps taps = PillowAxis(lines, PillowFilter::kLanczos);
  std::vector<int32_t> sums(stride);
  std::vector<uint8_t> row(stride);
  std::vector<const uint8_t*> sources;
  for (int y = 0; y < height; ++y) {
    uint8_t* const to = result.data() + static_cast<size_t>(width) * y;
    if (image.height == height) {
      std::memcpy(to, across.data() + stride * static_cast<size_t>(y), static_cast<size_t>(width));
      continue;
    }
    sources.clear();
    for (int k = 0; k < taps.count(y); ++k) {
      sources.push_back(across.data() + stride * static_cast<size_t>(taps.first[y] + k));
    }
    std::fill(sums.begin(), sums.end(), 1 << (kPillowWeightBits - 1));  // the half
    kernels.weigh_down(sources.data(), taps.weight.data() + taps.offset[y], taps.count(y), width,
                       sums.data());
    kernels.clip_sums(sums.data(), width, row.data());
    std::memcpy(to, row.data(), static_cast<size_t>(width));
  }
  return result;
}

// cos(pi * n / 64)
double Cosine(int n) {
  static const std::array<double, 4 * kDctSide> kTable = [] {
    std::array<double, 4 * kDctSide> table{};
    for (size_t i = 0; i < table.size(); ++i) {
      table[i] = std::cos(std::numbers::pi * static_cast<double>(i) / (2.0 * kDctSide));
    }
    return table;
  }();
  return kTable[static_cast<size_t>(n) % kTable.size()];
}

// The first `wanted` coefficients of a cosine transform (II) of `count` numbers. Halves are folded before they
// are weighed, so that what cancels out in a symmetrical picture is exactly nothing, as it is in the
// transform that the reference uses.
void LowCosines(const double* values, int count, double* to, int step, int wanted) {
  if (count == 1 || wanted == 0) {
    if (wanted > 0) to[0] = values[0];
    return;
  }
  std::array<double, kDctSide / 2> sums{}, differences{};
  const int half = count / 2;
  for (int i = 0; i < half; ++i) {
    sums[static_cast<size_t>(i)] = values[i] + values[count - 1 - i];
    differences[static_cast<size_t>(i)] = values[i] - values[count - 1 - i];
  }
  LowCosines(sums.data(), half, to, 2 * step, (wanted + 1) / 2);
  for (int k = 1; k < wanted; k += 2) {
    double sum = 0;
    for (int i = 0; i < half; ++i) {
      sum += differences[static_cast<size_t>(i)] * Cosine(k * (2 * i + 1) * (kDctSide / count));
    }
    to[static_cast<ptrdiff_t>(k) * step] = sum;
  }
}

uint64_t AverageBits(const std::vector<uint8_t>& pixels) {
  int sum = 0;
  for (const uint8_t pixel : pixels) sum += pixel;
  const double mean = sum / static_cast<double>(pixels.size());
  uint64_t bits = 0;
  for (const uint8_t pixel : pixels) bits = bits << 1 | (pixel > mean ? 1 : 0);
  return bits;
}

uint64_t DifferenceBits(const std::vector<uint8_t>& pixels) {
  uint64_t bits = 0;
  for (size_t y = 0; y < kSide; ++y) {
    const uint8_t* const row = pixels.data() + y * (kSide + 1);
    for (size_t x = 0; x < kSide; ++x) bits = bits << 1 | (row[x + 1] > row[x] ? 1 : 0);
  }
  return bits;
}

uint64_t DctBits(const std::vector<uint8_t>& pixels) {
  std::array<double, kSide * kDctSide> down{};  // 8 rows of 32
  std::array<double, kDctSide> line{};
  std::array<double, kSide> low{};
  for (size_t x = 0; x < kDctSide; ++x) {
    for (size_t y = 0; y < kDctSide; ++y) line[y] = pixels[y * kDctSide + x];
    LowCosines(line.data(), kDctSide, low.data(), 1, kSide);
    for (size_t y = 0; y < kSide; ++y) down[y * kDctSide + x] = low[y];
  }
  std::array<double, kSide * kSide> all{};
  for (size_t y = 0; y < kSide; ++y) {
    LowCosines(down.data() + y * kDctSide, kDctSide, all.data() + y * kSide, 1, kSide);
  }
  std::array<double, kSide* kSide> sorted = all;
  std::sort(sorted.begin(), sorted.end());
  const double median = (sorted[sorted.size() / 2 - 1] + sorted[sorted.size() / 2]) / 2;
  uint64_t bits = 0;
  for (const double value : all) bits = bits << 1 | (value > median ? 1 : 0);
  return bits;
}

}  // namespace

std::string_view ToString(HashKind kind) {
  switch (kind) {
    case HashKind::kAverage:
      return "ahash";
    case HashKind::kDifference:
      return "dhash";
    case HashKind::kDct:
      return "phash";
    case HashKind::kPdq:
      return "pdq";
  }
  return "";
}

absl::StatusOr<HashKind> HashKindNamed(std::string_view name) {
  for (const HashKind kind :
       {HashKind::kAverage, HashKind::kDifference, HashKind::kDct, HashKind::kPdq}) {
    if (name == ToString(kind)) return kind;
  }
  return InvalidArgument("unknown hash \"{}\": ahash, dhash, phash and pdq are known", name);
}

std::string ToHex(const PerceptualHash& hash) {
  std::string text;
  for (size_t word = static_cast<size_t>(hash.bits) / 64; word-- > 0;) {
    text += fmt::format("{:016x}", hash.words[word]);
  }
  return text;
}

LumaRows::LumaRows(const ImageView& image)
    : image_(image),
      is_packed_(image.format == PixelFormat::kBgr24 || image.format == PixelFormat::kRgb24) {
  const size_t plane = static_cast<size_t>(image.width) + kRowSlack;
  planes_.resize(4 * plane);
  for (size_t i = 0; i < 3; ++i) split_[i] = planes_.data() + i * plane;
  grey_ = planes_.data() + 3 * plane;
  is_stretched_ = IsYuv(image.format) && image.range == ColorRange::kLimited;
  for (int v = 0; v < 256; ++v) {
    full_[static_cast<size_t>(v)] =
        static_cast<uint8_t>(std::clamp(std::lround((v - 16) * 255.0 / 219.0), 0L, 255L));
  }
}

void LumaRows::Split(int y) {
  const bool is_rgb = image_.format == PixelFormat::kRgb24;
  rows_.split3(Row(y), image_.width, split_[is_rgb ? 0 : 2], split_[1], split_[is_rgb ? 2 : 0]);
}

const uint8_t* LumaRows::Grey(int y) {
  if (is_packed_) {
    Split(y);
    hashes_.grey(split_[0], split_[1], split_[2], image_.width, grey_);
    return grey_;
  }
  std::memcpy(grey_, Row(y), static_cast<size_t>(image_.width));
  if (is_stretched_) {
    for (int x = 0; x < image_.width; ++x) grey_[x] = full_[grey_[x]];
  }
  return grey_;
}

void LumaRows::Luma(int y, float* to) {
  if (is_packed_) {
    Split(y);
    hashes_.luma(split_[0], split_[1], split_[2], image_.width, to);
  } else {
    hashes_.widen(Grey(y), image_.width, to);
  }
}

absl::StatusOr<PerceptualHash> HashPicture(const ImageView& image, HashKind kind) {
  SL_RETURN_IF_ERROR(CheckImage(image));
  if (kind == HashKind::kPdq) {
    if (image.width < kLeastPdqSide || image.height < kLeastPdqSide) {
      return InvalidArgument("a picture of {}x{} has no PDQ hash: at least {} rows and columns",
                             image.width, image.height, kLeastPdqSide);
    }
    return PdqHash(image);
  }
  PerceptualHash hash;
  hash.bits = BitsOf(kind);
  if (kind == HashKind::kAverage) {
    hash.words[0] = AverageBits(ShrinkGrey(image, kSide, kSide));
  } else if (kind == HashKind::kDifference) {
    hash.words[0] = DifferenceBits(ShrinkGrey(image, kSide + 1, kSide));
  } else {
    hash.words[0] = DctBits(ShrinkGrey(image, kDctSide, kDctSide));
  }
  return hash;
}

}  // namespace sightline
