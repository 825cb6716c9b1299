// What the features of good pictures are like, place by place: a Gaussian for each position of a
// map (PaDiM, Defard et al. 2021, arXiv 2011.08785), and the file that holds it.
//
// File: "SLGAUSS1", then depth, rows, columns and the number of pictures as 32-bit integers, then
// the mean [depth, positions] and the inverse covariance [positions, depth, depth] as 32-bit
// floats, all little-endian; positions row after row. The covariance has 0.01 added to its
// diagonal, as in PaDiM.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace sightline {

struct GaussianStatistics {
  int depth = 0;
  int rows = 0;
  int columns = 0;
  int pictures = 0;
  std::vector<float> mean;
  std::vector<float> inverse;

  size_t positions() const { return static_cast<size_t>(rows) * columns; }
};

// InvalidArgument, with what to do, for maps of which statistics would be larger than 256 MiB.
absl::Status CheckStatisticsSize(int64_t depth, int64_t rows, int64_t columns);

// Replaces the file at `path`.
absl::Status WriteStatistics(const GaussianStatistics& statistics, const std::string& path);

// NotFound, DataLoss for what is no such file. Statistics that are in use already are shared, known
// by path and `sha256` (of the file, as its package states it; nothing is hashed here). Threads:
// safe.
absl::StatusOr<std::shared_ptr<const GaussianStatistics>> ReadStatistics(const std::string& path,
                                                                         const std::string& sha256);

// Collects the features of good pictures. Memory: twice that of the statistics. Cost of a picture:
// positions * depth^2 multiplications. Threads: one.
class GaussianFit {
 public:
  static absl::StatusOr<GaussianFit> Create(int depth, int rows, int columns);

  // [depth, positions]. InvalidArgument, and nothing is changed, for numbers that are not finite.
  absl::Status Add(const float* features);

  int pictures() const { return pictures_; }

  // FailedPrecondition for fewer than two pictures: they have no covariance.
  absl::StatusOr<GaussianStatistics> Finish() const;

 private:
  GaussianFit() = default;
  int depth_ = 0;
  int rows_ = 0;
  int columns_ = 0;
  int pictures_ = 0;
  std::vector<double> mean_;       // [positions, depth]
  std::vector<double> deviation_;  // [positions, depth, depth], lower triangle: sums of products
  std::vector<double> from_mean_;  // of one position
};

}  // namespace sightline
