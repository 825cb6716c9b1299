// Distances to the four sides as distributions (Generalized Focal Loss, Li et al. 2020, arXiv
// 2006.04388), as NanoDet and PicoDet have them: at several strides class scores [B, n, C] (sigmoid
// done) and distributions [B, n, 4 * (R + 1)], one row a cell, or both in one tensor [B, N, C + 4 *
// (R + 1)] of all cells; of one picture also without the batch in front. A distance is the mean of softmax over 0..R, in strides, from the cell's
// point. Every class of a cell above the threshold is a candidate of its own.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "detect/family.h"
#include "detect/heads/head.h"

namespace sightline {

struct GflLevel {
  size_t scores = 0;  // indices of the outputs; the same one where both are in one tensor
  size_t distances = 0;
  int stride = 8;
  int columns = 0;
  int rows = 0;
  int64_t first = 0;  // row of its first cell in a tensor of all cells
};

struct GflForm {
  std::vector<size_t> meant;  // outputs that are looked at, in this order; empty: all of them
  std::vector<GflLevel> levels;
  int classes = 0;
  int bins = 8;  // R + 1
  bool one_tensor = false;
  float point = 0.5f;  // of a cell, from its corner, in strides
};

class GflHead : public Head {
 public:
  explicit GflHead(GflForm form) : form_(std::move(form)) {}
  int classes() const override { return form_.classes; }
  absl::Status Decode(const RawResult& raw, float min_confidence,
                      std::vector<Detection>* out) const override;

 private:
  Box TensorBox(const GflLevel& level, int64_t cell, const float* distributions) const;
  const GflForm form_;
};

// Pairs of outputs for the grids of a width x height input at strides 8, 16, ...: `levels` of them,
// cells rounded up, distributions of 8 bins. Declared cells may be open (-1): outputs are then taken
// in order. Nothing when they are not that.
std::optional<GflForm> FindGflPairs(std::span<const TensorInfo> outputs, int width, int height,
                                    int levels);

// The same for outputs of which nothing is known but their number.
GflForm GflPairs(int width, int height, int levels, int classes);

// One output of all cells.
std::optional<GflForm> FindGflTensor(std::span<const TensorInfo> outputs, int width, int height,
                                     int levels);

// Whether a trial run's class scores are within 0..1. InvalidArgument, with what was seen.
absl::Status CheckGflScores(const SeenModel& seen, const GflForm& form, std::string_view family);

}  // namespace sightline
