#include "detect/anomaly_statistics.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <span>
#include <utility>

#include "base/mutex.h"
#include "base/whole_file.h"

namespace sightline {
namespace {

static_assert(std::endian::native == std::endian::little, "the file's numbers are little-endian");

constexpr char kMagic[] = "SLGAUSS1";
constexpr size_t kMagicBytes = sizeof kMagic - 1;
constexpr size_t kHeaderBytes = kMagicBytes + 4 * sizeof(int32_t);
constexpr int64_t kMostNumbers = int64_t{64} << 20;  // of the covariances, 256 MiB; chosen
constexpr double kRegular = 0.01;                    // on the diagonal; PaDiM's

size_t MeanCount(const GaussianStatistics& s) { return s.positions() * s.depth; }
size_t InverseCount(const GaussianStatistics& s) { return MeanCount(s) * s.depth; }

// The inverse of a positive definite matrix, of which the lower triangle is read. False for one
// that is not. By Cholesky: L L^T = a, then the inverse of L, then its product with itself.
bool Invert(std::vector<double>& a, int n) {
  const auto at = [&](int i, int j) -> double& { return a[static_cast<size_t>(i) * n + j]; };
  for (int j = 0; j < n; ++j) {
    for (int k = 0; k < j; ++k) at(j, j) -= at(j, k) * at(j, k);
    if (!(at(j, j) > 0) || !std::isfinite(at(j, j))) return false;
    at(j, j) = std::sqrt(at(j, j));
    for (int i = j + 1; i < n; ++i) {
      double sum = at(i, j);
      for (int k = 0; k < j; ++k) sum -= at(i, k) * at(j, k);
      at(i, j) = sum / at(j, j);
    }
  }
  for (int j = 0; j < n; ++j) {
    at(j, j) = 1 / at(j, j);
    for (int i = j + 1; i < n; ++i) {
      double sum = 0;
      for (int k = j; k < i; ++k) sum -= at(i, k) * at(k, j);
      at(i, j) = sum / at(i, i);
    }
  }
  for (int j = 0; j < n; ++j) {
    for (int i = 0; i <= j; ++i) {
      double sum = 0;
      for (int k = j; k < n; ++k) sum += at(k, i) * at(k, j);
      at(i, j) = sum;  // above the diagonal, which nothing reads any more, and then on it
    }
  }
  for (int j = 0; j < n; ++j) {
    for (int i = j + 1; i < n; ++i) at(i, j) = at(j, i);
  }
  return true;
}

template <typename T>
void AppendBytes(std::span<const T> values, std::string& out) {
  out.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

using Shared = std::shared_ptr<const GaussianStatistics>;

// By path and sha256.
class StatisticsInUse {
 public:
  using Key = std::pair<std::string, std::string>;

  // Null where there are none.
  Shared Find(const Key& key) {
    const MutexLock lock(mutex_);
    const auto found = entries_.find(key);
    return found == entries_.end() ? nullptr : found->second.lock();
  }
  // Keeps `read`, or gives what another thread has kept meanwhile.
  Shared Keep(const Key& key, Shared read) {
    const MutexLock lock(mutex_);
    std::erase_if(entries_, [](const auto& entry) { return entry.second.expired(); });
    std::weak_ptr<const GaussianStatistics>& entry = entries_[key];
    if (Shared other = entry.lock()) return other;
    entry = read;
    return read;
  }

 private:
  Mutex mutex_;
  std::map<Key, std::weak_ptr<const GaussianStatistics>> entries_ GUARDED_BY(mutex_);
};

absl::StatusOr<GaussianStatistics> Parse(const std::string& path) {
  constexpr uint64_t kMostBytes = 4 * 2 * kMostNumbers + kHeaderBytes;
  SL_ASSIGN_OR_RETURN(const std::string bytes, ReadWholeFile(path, kMostBytes));
  const auto damaged = [&] {
    return DataLoss("{} holds no statistics of good pictures: fit the model again", path);
  };
  if (bytes.size() < kHeaderBytes || !bytes.starts_with(kMagic)) return damaged();
  std::array<int32_t, 4> sizes{};
  std::memcpy(sizes.data(), bytes.data() + kMagicBytes, sizeof sizes);
  if (!CheckStatisticsSize(sizes[0], sizes[1], sizes[2]).ok()) return damaged();
  GaussianStatistics s{sizes[0], sizes[1], sizes[2], sizes[3], {}, {}};
  if (bytes.size() != kHeaderBytes + sizeof(float) * (MeanCount(s) + InverseCount(s))) {
    return damaged();
  }
  s.mean.resize(MeanCount(s));
  s.inverse.resize(InverseCount(s));
  std::memcpy(s.mean.data(), bytes.data() + kHeaderBytes, MeanCount(s) * sizeof(float));
  std::memcpy(s.inverse.data(), bytes.data() + kHeaderBytes + MeanCount(s) * sizeof(float),
              InverseCount(s) * sizeof(float));
  const auto finite = [](float v) { return std::isfinite(v); };
  if (!std::ranges::all_of(s.mean, finite) || !std::ranges::all_of(s.inverse, finite)) {
    return damaged();
  }
  return s;
}

}  // namespace

absl::Status CheckStatisticsSize(int64_t depth, int64_t rows, int64_t columns) {
  constexpr int64_t kMostSide = 4096;
  const bool sane = depth >= 1 && rows >= 1 && columns >= 1 && depth <= kMostSide &&
                    rows <= kMostSide && columns <= kMostSide;
  if (sane && depth * depth <= kMostNumbers / (rows * columns)) return absl::OkStatus();
  return InvalidArgument(
      "statistics of {}x{} places with {} numbers each are more than {} MiB: export the model with "
      "fewer channels (PaDiM takes 100 of them at random) or a smaller input",
      columns, rows, depth, kMostNumbers * sizeof(float) >> 20);
}

absl::Status WriteStatistics(const GaussianStatistics& s, const std::string& path) {
  std::string bytes(kMagic);
  const std::array<int32_t, 4> sizes = {s.depth, s.rows, s.columns, s.pictures};
  bytes.reserve(kHeaderBytes + sizeof(float) * (s.mean.size() + s.inverse.size()));
  AppendBytes(std::span<const int32_t>(sizes), bytes);
  AppendBytes(std::span<const float>(s.mean), bytes);
  AppendBytes(std::span<const float>(s.inverse), bytes);
  return WriteWholeFile(path, bytes);
}

absl::StatusOr<std::shared_ptr<const GaussianStatistics>> ReadStatistics(
    const std::string& path, const std::string& sha256) {
  static auto* const in_use = new StatisticsInUse();
  if (Shared known = in_use->Find({path, sha256})) return known;
  SL_ASSIGN_OR_RETURN(GaussianStatistics read, Parse(path));
  return in_use->Keep({path, sha256}, std::make_shared<const GaussianStatistics>(std::move(read)));
}

absl::StatusOr<GaussianFit> GaussianFit::Create(int depth, int rows, int columns) {
  SL_RETURN_IF_ERROR(CheckStatisticsSize(depth, rows, columns));
  GaussianFit fit;
  fit.depth_ = depth;
  fit.rows_ = rows;
  fit.columns_ = columns;
  const size_t numbers = static_cast<size_t>(depth) * rows * columns;
  fit.mean_.assign(numbers, 0.0);
  fit.deviation_.assign(numbers * depth, 0.0);
  fit.from_mean_.resize(depth);
  return fit;
}

// Welford's way, which loses no digits to large means.
absl::Status GaussianFit::Add(const float* features) {
  const size_t positions = static_cast<size_t>(rows_) * columns_;
  if (!std::all_of(features, features + positions * depth_,
                   [](float v) { return std::isfinite(v); })) {
    return InvalidArgument("the model gave features that are NaN or infinite");
  }
  ++pictures_;
  const double share = 1.0 / pictures_;
  for (size_t p = 0; p < positions; ++p) {
    double* const mean = mean_.data() + p * depth_;
    for (int d = 0; d < depth_; ++d) {
      from_mean_[d] = features[static_cast<size_t>(d) * positions + p] - mean[d];
      mean[d] += from_mean_[d] * share;
    }
    double* row = deviation_.data() + p * depth_ * depth_;
    for (int i = 0; i < depth_; ++i, row += depth_) {
      const double weight = from_mean_[i] * (1 - share);
      for (int j = 0; j <= i; ++j) row[j] += weight * from_mean_[j];
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<GaussianStatistics> GaussianFit::Finish() const {
  if (pictures_ < 2) {
    return FailedPrecondition("{} good picture{} given; at least 2 are needed, 100 are usual",
                              pictures_, pictures_ == 1 ? " was" : "s were");
  }
  GaussianStatistics s{depth_, rows_, columns_, pictures_, {}, {}};
  s.mean.resize(MeanCount(s));
  s.inverse.resize(InverseCount(s));
  const size_t square = static_cast<size_t>(depth_) * depth_;
  std::vector<double> covariance(square);
  for (size_t p = 0; p < s.positions(); ++p) {
    for (int d = 0; d < depth_; ++d) {
      s.mean[static_cast<size_t>(d) * s.positions() + p] =
          static_cast<float>(mean_[p * depth_ + d]);
    }
    for (size_t i = 0; i < square; ++i)
      covariance[i] = deviation_[p * square + i] / (pictures_ - 1);
    for (int d = 0; d < depth_; ++d) covariance[static_cast<size_t>(d) * depth_ + d] += kRegular;
    if (!Invert(covariance, depth_)) {
      return InvalidArgument("the features of the good pictures are too large for statistics");
    }
    std::ranges::transform(covariance, s.inverse.begin() + static_cast<std::ptrdiff_t>(p * square),
                           [](double v) { return static_cast<float>(v); });
  }
  return s;
}

}  // namespace sightline
