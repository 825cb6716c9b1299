#include "detect/heads/gfl_head.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: the heads' own

constexpr int kBins = 8;  // of NanoDet and PicoDet; R = 7

std::vector<GflLevel> GridsOf(int width, int height, int levels) {
  std::vector<GflLevel> grids;
  int64_t first = 0;
  for (int l = 0; l < levels; ++l) {
    const int stride = 8 << l;
    GflLevel level;
    level.stride = stride;
    level.columns = (width + stride - 1) / stride;
    level.rows = (height + stride - 1) / stride;
    level.first = first;
    first += int64_t{level.columns} * level.rows;
    grids.push_back(level);
  }
  return grids;
}

// The distance that eight bins speak for.
float MeanOf(const float* logits, int bins) {
  const float top = *std::max_element(logits, logits + bins);
  float sum = 0, weighted = 0;
  for (int b = 0; b < bins; ++b) {
    const float e = std::exp(logits[b] - top);
    sum += e;
    weighted += e * static_cast<float>(b);
  }
  return weighted / sum;
}

// The rows of the picture's entry in the output that has [batch, rows, numbers] or, of one picture,
// [rows, numbers]; `skip` of those are passed over. By the real shapes: there are files whose
// declared ones belong to other outputs.
absl::StatusOr<const float*> RowsOf(const RawResult& raw, std::span<const size_t> meant,
                                    int64_t rows, int64_t numbers, int skip) {
  const size_t count = meant.empty() ? raw.outputs.size() : meant.size();
  for (size_t k = 0; k < count; ++k) {
    const size_t i = meant.empty() ? k : meant[k];
    if (i >= raw.outputs.size()) break;
    const std::vector<int64_t>& s = raw.outputs[i].shape;
    const bool batched = s.size() == 3 && s[1] == rows && s[2] == numbers;
    const bool alone = s.size() == 2 && s[0] == rows && s[1] == numbers && raw.batch_index == 0;
    if ((!batched && !alone) || skip-- > 0) continue;
    return batched ? EntryOf(raw, i, std::array<int64_t, 3>{-1, rows, numbers})
                   : EntryOf(raw, i, std::array<int64_t, 2>{-1, numbers});
  }
  return DataLoss("none of the model's outputs has {} rows of {} numbers", rows, numbers);
}

}  // namespace

Box GflHead::TensorBox(const GflLevel& level, int64_t cell, const float* distributions) const {
  const auto stride = static_cast<float>(level.stride);
  const float x = (static_cast<float>(cell % level.columns) + form_.point) * stride;
  const float y = (static_cast<float>(cell / level.columns) + form_.point) * stride;
  std::array<float, 4> side{};
  for (int s = 0; s < 4; ++s) side[s] = MeanOf(distributions + s * form_.bins, form_.bins) * stride;
  return {x - side[0], y - side[1], x + side[2], y + side[3]};
}

absl::Status GflHead::Decode(const RawResult& raw, float min_confidence,
                             std::vector<Detection>* out) const {
  const int64_t distances = int64_t{4} * form_.bins;
  int64_t cells = 0, nan_cells = 0;
  for (const GflLevel& level : form_.levels) {
    const int64_t count = int64_t{level.columns} * level.rows;
    const float *scores = nullptr, *distributions = nullptr;
    int64_t score_step = form_.classes, distance_step = distances;
    if (form_.one_tensor) {
      const GflLevel& last = form_.levels.back();
      const int64_t all = last.first + int64_t{last.columns} * last.rows;
      score_step = distance_step = form_.classes + distances;
      SL_ASSIGN_OR_RETURN(const float* rows,
                          EntryOf(raw, level.scores, std::array<int64_t, 3>{-1, all, score_step}));
      scores = rows + level.first * score_step;
      distributions = scores + form_.classes;
    } else {
      // With 32 classes both look alike: scores come first then.
      const int second = form_.classes == distances ? 1 : 0;
      SL_ASSIGN_OR_RETURN(scores, RowsOf(raw, form_.meant, count, score_step, 0));
      SL_ASSIGN_OR_RETURN(distributions, RowsOf(raw, form_.meant, count, distances, second));
    }
    for (int64_t cell = 0; cell < count; ++cell) {
      const std::span row(scores + cell * score_step, static_cast<size_t>(form_.classes));
      float best = -1;  // NaN never wins
      for (const float score : row) best = score > best ? score : best;
      ++cells;
      nan_cells += best == -1;
      if (!(best > min_confidence)) continue;
      if (best > kMaxScore) {
        if (std::isfinite(best)) return NotProbabilities(best);
        continue;
      }
      const Box box =
          raw.mapping.ToImage(TensorBox(level, cell, distributions + cell * distance_step));
      if (!IsUsable(box)) continue;
      for (size_t c = 0; c < row.size(); ++c) {
        if (!(row[c] > min_confidence)) continue;
        if (out->size() >= kMostCandidates) return TooManyCandidates();
        out->push_back({box, std::min(row[c], 1.0f), static_cast<int32_t>(c),
                        static_cast<int32_t>(level.first + cell)});
      }
    }
  }
  return cells > 0 && nan_cells == cells ? NothingButNan() : absl::OkStatus();
}

std::optional<GflForm> FindGflPairs(std::span<const TensorInfo> outputs, int width, int height,
                                    int levels) {
  if (outputs.size() != static_cast<size_t>(2 * levels)) return std::nullopt;
  GflForm form;
  form.levels = GridsOf(width, height, levels);
  const bool all_alike = std::ranges::all_of(
      outputs, [](const TensorInfo& t) { return !t.shape.empty() && t.shape.back() == 4 * kBins; });
  std::vector<bool> has_scores(form.levels.size()), has_distances(form.levels.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::vector<int64_t>& s = outputs[i].shape;
    if ((s.size() != 3 && s.size() != 2) || s.back() < 1 || s.back() > 100'000) return std::nullopt;
    const int64_t cells = s[s.size() - 2], numbers = s.back();
    bool placed = false;
    for (size_t l = 0; l < form.levels.size() && !placed; ++l) {
      GflLevel& level = form.levels[l];
      if (cells != -1 && cells != int64_t{level.columns} * level.rows) continue;
      // With 32 classes both look alike: scores come first then.
      const bool distances = numbers == 4 * kBins && (!all_alike || has_scores[l]);
      if (distances && has_distances[l]) continue;
      if (distances) {
        level.distances = i;
        has_distances[l] = placed = true;
      } else if (!has_scores[l] && (form.classes == 0 || form.classes == numbers)) {
        level.scores = i;
        form.classes = static_cast<int>(numbers);
        has_scores[l] = placed = true;
      }
    }
    if (!placed) return std::nullopt;
  }
  return form.classes > 0 ? std::optional(std::move(form)) : std::nullopt;
}

GflForm GflPairs(int width, int height, int levels, int classes) {
  GflForm form;
  form.levels = GridsOf(width, height, levels);
  form.classes = classes;
  return form;
}

std::optional<GflForm> FindGflTensor(std::span<const TensorInfo> outputs, int width, int height,
                                     int levels) {
  if (outputs.size() != 1 || outputs[0].shape.size() != 3) return std::nullopt;
  const std::vector<int64_t>& s = outputs[0].shape;
  GflForm form;
  form.levels = GridsOf(width, height, levels);
  const GflLevel& last = form.levels.back();
  const int64_t all = last.first + int64_t{last.columns} * last.rows;
  if ((s[1] != all && s[1] != -1) || s[2] <= 4 * kBins || s[2] > 100'000) return std::nullopt;
  form.classes = static_cast<int>(s[2]) - 4 * kBins;
  form.one_tensor = true;
  return form;
}

absl::Status CheckGflScores(const SeenModel& seen, const GflForm& form, std::string_view family) {
  for (const GflLevel& level : form.levels) {
    const ProbeOutput& output = seen.outputs[level.scores];
    const int64_t step = output.info.shape.back();
    int64_t fine = 0, rows = 0;
    for (size_t at = 0; at + step <= output.values.size(); at += step, ++rows) {
      fine += std::all_of(output.values.begin() + at, output.values.begin() + at + form.classes,
                          IsWithinUnit);
    }
    if (static_cast<double>(fine) < kNearlyAll * static_cast<double>(rows)) {
      return InvalidArgument(
          "its outputs have the shapes of {}, but only {} of {} rows of {} have class scores "
          "within "
          "0..1: its export lacks the last sigmoid, or it is another family",
          family, fine, rows, ToString(output.info));
    }
  }
  return absl::OkStatus();
}

}  // namespace sightline
