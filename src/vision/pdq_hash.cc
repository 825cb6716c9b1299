// ThreatExchange's PDQ: two box filters across and down, 64 x 64 samples, the 16 x 16 lowest cosine
// coefficients but the constant ones. The picture passes through in blocks of kHashLanes rows; after the
// second filter across only the 64 columns that are sampled go on.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "vision/perceptual_hash_internal.h"

namespace sightline {
namespace {

constexpr int kSamples = 64;
constexpr int kCoefficients = 16;
using Samples = std::array<std::array<float, kSamples>, kSamples>;

int WindowOf(int side) { return (side + 2 * kSamples - 1) / (2 * kSamples); }

// The middles of 64 parts of a side.
std::array<int, kSamples> PlacesOn(int side) {
  std::array<int, kSamples> places{};
  for (int i = 0; i < kSamples; ++i) {
    places[static_cast<size_t>(i)] = static_cast<int>(((i + 0.5) * side) / kSamples);
  }
  return places;
}

// The box filter down columns, row by row: takes the rows in turn, gives the results in turn.
class BoxDown {
 public:
  BoxDown(int rows, int width, int window)
      : rows_(rows),
        width_(width),
        window_(window),
        half_((window + 2) / 2),
        kept_(window + 1),
        ring_(static_cast<size_t>(kept_) * width),
        sums_(static_cast<size_t>(width)) {}

  // Results that can be had after `taken` rows were given.
  int ReadyAfter(int taken) const { return taken >= rows_ ? rows_ : taken - half_ + 1; }
  void Take(const float* row) {
    std::memcpy(Kept(taken_++), row, static_cast<size_t>(width_) * sizeof(float));
  }
  // The next result; that many rows must have been taken, and no more than are kept.
  void Give(float* to) {
    const int at = given_++;
    if (at == 0) {
      for (int i = 0; i < half_ - 1; ++i) Slide(added_++, -1);
    }
    if (at <= window_ - half_) {
      Slide(added_++, -1);
    } else if (at <= rows_ - half_) {
      Slide(added_++, subtracted_++);
    } else {
      Slide(-1, subtracted_++);
    }
    kernels_.divide(sums_.data(), width_, static_cast<float>(added_ - subtracted_), to);
  }

 private:
  float* Kept(int row) { return ring_.data() + static_cast<size_t>(row % kept_) * width_; }
  void Slide(int add, int subtract) {
    kernels_.slide(add < 0 ? nullptr : Kept(add), subtract < 0 ? nullptr : Kept(subtract), width_,
                   sums_.data());
  }

  const HashKernels& kernels_ = BestHashKernels();
  const int rows_, width_, window_, half_, kept_;
  std::vector<float> ring_, sums_;
  int taken_ = 0, given_ = 0, added_ = 0, subtracted_ = 0;
};

class PdqReducer {
 public:
  explicit PdqReducer(const ImageView& image)
      : image_(image),
        rows_(image),
        stride_((image.width + kHashLanes - 1) / kHashLanes * kHashLanes + kHashLanes),
        across_window_(WindowOf(image.width)),
        columns_(PlacesOn(image.width)),
        lines_(PlacesOn(image.height)),
        block_(static_cast<size_t>(kHashLanes) * stride_),
        turned_(block_.size()),
        boxed_(static_cast<size_t>(kHashLanes) * std::max(stride_, kSamples)),
        again_(block_.size()),
        sampled_(kHashLanes * kSamples),
        first_down_(image.height, stride_, WindowOf(image.height)),
        second_down_(image.height, kSamples, WindowOf(image.height)) {}

  void Run(Samples& samples) {
    samples_ = &samples;
    for (int y = 0; y < image_.height; y += kHashLanes) {
      const int count = std::min(kHashLanes, image_.height - y);
      for (int i = 0; i < count; ++i) rows_.Luma(y + i, Row(block_, i));
      kernels_.to_columns(block_.data(), stride_, stride_, turned_.data());
      kernels_.box(turned_.data(), image_.width, across_window_, boxed_.data());
      kernels_.to_rows(boxed_.data(), stride_, stride_, block_.data());
      for (int i = 0; i < count; ++i) {
        first_down_.Take(Row(block_, i));
        Drain(y + i + 1);
      }
    }
    FlushAgain();
  }

 private:
  float* Row(std::vector<float>& rows, int i) const {
    return rows.data() + static_cast<ptrdiff_t>(i) * stride_;
  }
  // What the first filter down can give goes on, in blocks.
  void Drain(int taken) {
    while (drained_ < first_down_.ReadyAfter(taken)) {
      first_down_.Give(Row(again_, waiting_++));
      ++drained_;
      if (waiting_ == kHashLanes) FlushAgain();
    }
  }
  void FlushAgain() {
    if (waiting_ == 0) return;
    kernels_.to_columns(again_.data(), stride_, stride_, turned_.data());
    kernels_.box_at(turned_.data(), image_.width, across_window_, columns_.data(), kSamples,
                    boxed_.data());
    kernels_.to_rows(boxed_.data(), kSamples, kSamples, sampled_.data());
    for (int i = 0; i < waiting_; ++i) {
      second_down_.Take(sampled_.data() + static_cast<ptrdiff_t>(i) * kSamples);
      ++taken_again_;
      while (given_again_ < second_down_.ReadyAfter(taken_again_)) {
        second_down_.Give(last_.data());
        // A small picture is sampled more than once at a place.
        while (next_line_ < kSamples && lines_[static_cast<size_t>(next_line_)] == given_again_) {
          (*samples_)[static_cast<size_t>(next_line_++)] = last_;
        }
        ++given_again_;
      }
    }
    waiting_ = 0;
  }

  const HashKernels& kernels_ = BestHashKernels();
  const ImageView image_;
  LumaRows rows_;
  const int stride_;
  const int across_window_;
  const std::array<int, kSamples> columns_, lines_;
  std::vector<float> block_, turned_, boxed_, again_, sampled_;
  BoxDown first_down_, second_down_;
  std::array<float, kSamples> last_{};
  Samples* samples_ = nullptr;
  int drained_ = 0, waiting_ = 0, taken_again_ = 0, given_again_ = 0, next_line_ = 0;
};

struct CosineTable {
  CosineTable() {
    constexpr double kPi = 3.14159265358979323846;
    const auto scale = static_cast<float>(std::sqrt(2.0 / kSamples));
    for (int i = 0; i < kCoefficients; ++i) {
      for (int j = 0; j < kSamples; ++j) {
        const auto value =
            static_cast<float>(scale * std::cos((kPi / 2.0 / kSamples) * (i + 1) * (2 * j + 1)));
        rows[static_cast<size_t>(i)][static_cast<size_t>(j)] = value;
        columns[static_cast<size_t>(j)][static_cast<size_t>(i)] = value;
      }
    }
  }
  std::array<std::array<float, kSamples>, kCoefficients> rows{};
  std::array<std::array<float, kCoefficients>, kSamples> columns{};
};

// D A D^T, each sum in the order of k.
std::array<float, kCoefficients * kCoefficients> Coefficients(const Samples& samples) {
  static const CosineTable table;
  std::array<float, kCoefficients * kCoefficients> result{};
  for (size_t i = 0; i < kCoefficients; ++i) {
    std::array<float, kSamples> row{};
    for (size_t k = 0; k < kSamples; ++k) {
      const float factor = table.rows[i][k];
      for (size_t j = 0; j < kSamples; ++j) row[j] += factor * samples[k][j];
    }
    float* const to = result.data() + i * kCoefficients;
    for (size_t k = 0; k < kSamples; ++k) {
      for (size_t j = 0; j < kCoefficients; ++j) to[j] += row[k] * table.columns[k][j];
    }
  }
  return result;
}

int QualityOf(const Samples& samples) {
  int sum = 0;
  const auto add = [&](float u, float v) {
    sum += std::abs(static_cast<int>(((u - v) * 100) / 255));
  };
  for (size_t i = 0; i < kSamples; ++i) {
    for (size_t j = 0; j < kSamples; ++j) {
      if (i + 1 < kSamples) add(samples[i][j], samples[i + 1][j]);
      if (j + 1 < kSamples) add(samples[i][j], samples[i][j + 1]);
    }
  }
  return std::min(sum / 90, 100);
}

}  // namespace

PerceptualHash PdqHash(const ImageView& image) {
  Samples samples{};
  if (image.width == kSamples && image.height == kSamples) {
    LumaRows rows(image);
    std::array<float, kSamples + kHashLanes> row{};
    for (int y = 0; y < kSamples; ++y) {
      rows.Luma(y, row.data());
      std::copy_n(row.begin(), kSamples, samples[static_cast<size_t>(y)].begin());
    }
  } else {
    PdqReducer(image).Run(samples);
  }
  PerceptualHash hash;
  hash.bits = BitsOf(HashKind::kPdq);
  hash.quality = QualityOf(samples);
  const auto coefficients = Coefficients(samples);
  auto sorted = coefficients;
  // The lower one of the two in the middle.
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2 - 1, sorted.end());
  const float median = sorted[sorted.size() / 2 - 1];
  for (size_t k = 0; k < coefficients.size(); ++k) {
    if (coefficients[k] > median) hash.words[k / 64] |= uint64_t{1} << (k % 64);
  }
  return hash;
}

}  // namespace sightline
