#include "detect/heads/scored_boxes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "detect/model_labels.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: the heads' own

bool Named(const TensorInfo& info, std::initializer_list<std::string_view> parts) {
  return std::ranges::any_of(
      parts, [&](std::string_view part) { return info.name.find(part) != std::string::npos; });
}

// The logit above which a sigmoid exceeds `confidence`; a hair less, for rounding.
float LogitOf(float confidence) {
  if (confidence <= 0) return -std::numeric_limits<float>::infinity();
  if (confidence >= 1) return std::numeric_limits<float>::infinity();
  return std::log(confidence / (1 - confidence)) - 1e-4f;
}

}  // namespace

int ScoredBoxesHead::classes() const {
  return form_.columns - (form_.score == ScoredBoxes::Score::kSoftmaxLastIsNone ? 1 : 0);
}

Box ScoredBoxesHead::TensorBox(const float* b) const {
  using Corners = ScoredBoxes::Corners;
  const bool fractions =
      form_.corners == Corners::kXyxyFrac || form_.corners == Corners::kCxcywhFrac;
  const float w = fractions ? static_cast<float>(form_.width) : 1.0f;
  const float h = fractions ? static_cast<float>(form_.height) : 1.0f;
  if (form_.corners == Corners::kXyxyPx || form_.corners == Corners::kXyxyFrac) {
    return {b[0] * w, b[1] * h, b[2] * w, b[3] * h};
  }
  const float cx = b[0] * w, cy = b[1] * h, half_w = b[2] * w * 0.5f, half_h = b[3] * h * 0.5f;
  return {cx - half_w, cy - half_h, cx + half_w, cy + half_h};
}

absl::Status ScoredBoxesHead::Decode(const RawResult& raw, float min_confidence,
                                     std::vector<Detection>* out) const {
  using Score = ScoredBoxes::Score;
  int64_t rows = -1;
  if (form_.scores < raw.outputs.size() && raw.outputs[form_.scores].shape.size() == 3) {
    rows = raw.outputs[form_.scores].shape[1];
  }
  const std::array<int64_t, 3> wanted = {-1, rows, form_.columns};
  SL_ASSIGN_OR_RETURN(const float* scores, EntryOf(raw, form_.scores, wanted));
  const std::array<int64_t, 3> flat = {-1, rows, 4};
  const std::array<int64_t, 4> nested = {-1, rows, 1, 4};
  SL_ASSIGN_OR_RETURN(const float* box,
                      EntryOf(raw, form_.boxes,
                              form_.box_rank == 4 ? std::span<const int64_t>(nested)
                                                  : std::span<const int64_t>(flat)));
  const int classes = this->classes();
  const float least = form_.score == Score::kSigmoid ? LogitOf(min_confidence) : min_confidence;
  int64_t nan_rows = 0;
  for (int64_t r = 0; r < rows; ++r, box += 4, scores += form_.columns) {
    constexpr float kNone = -std::numeric_limits<float>::infinity();
    float highest = kNone;  // NaN never wins
    int32_t best = 0;
    for (int32_t c = 0; c < classes; ++c) {
      if (scores[c] > highest) {
        highest = scores[c];
        best = c;
      }
    }
    const bool broken =
        form_.score == Score::kSoftmaxLastIsNone &&
        std::any_of(scores, scores + form_.columns, [](float v) { return std::isnan(v); });
    if (highest == kNone || broken) {
      ++nan_rows;
      continue;
    }
    float top = 0, sum = 1;  // of the softmax
    if (form_.score == Score::kSoftmaxLastIsNone) {
      top = std::max(highest, scores[classes]);
      sum = 0;
      for (int32_t c = 0; c < form_.columns; ++c) sum += std::exp(scores[c] - top);
      if (!(std::exp(highest - top) > min_confidence * sum)) continue;
    } else if (!(highest > least)) {
      continue;
    }
    if (form_.score == Score::kAsIs && highest > kMaxScore) {
      if (std::isfinite(highest)) return NotProbabilities(highest);
      continue;
    }
    const Box found = raw.mapping.ToImage(TensorBox(box));
    if (!IsUsable(found)) continue;
    const int32_t from = form_.several ? 0 : best, to = form_.several ? classes : best + 1;
    for (int32_t c = from; c < to; ++c) {
      float score = scores[c];
      if (form_.score == Score::kSigmoid) score = Sigmoid(score);
      if (form_.score == Score::kSoftmaxLastIsNone) score = std::exp(score - top) / sum;
      if (score > min_confidence) {
        if (out->size() >= kMostCandidates) return TooManyCandidates();
        out->push_back({found, std::min(score, 1.0f), c, static_cast<int32_t>(r)});
      }
    }
  }
  if (rows > 0 && nan_rows == rows) return NothingButNan();
  return absl::OkStatus();
}

std::optional<BoxesAndScores> FindBoxesAndScores(const SeenModel& seen, size_t box_rank) {
  if (seen.outputs.size() != 2) return std::nullopt;
  const auto is_boxes = [&](const TensorInfo& info) {
    const std::vector<int64_t>& s = info.shape;
    return s.size() == box_rank && s.back() == 4 && (box_rank == 3 || s[2] == 1);
  };
  const auto fits = [&](size_t b) {
    const TensorInfo& boxes = seen.outputs[b].info;
    const TensorInfo& scores = seen.outputs[1 - b].info;
    return is_boxes(boxes) && scores.shape.size() == 3 && scores.shape[1] == boxes.shape[1] &&
           scores.shape[1] > 0 && scores.shape[2] > 0 && scores.shape[2] <= 100'000;
  };
  std::optional<size_t> boxes;
  if (fits(0) != fits(1)) boxes = fits(0) ? 0 : 1;
  if (fits(0) && fits(1)) {
    for (const size_t b : {0, 1}) {
      if (Named(seen.outputs[b].info, {"box", "bbox", "coord", "loc"}) ||
          Named(seen.outputs[1 - b].info, {"score", "logit", "conf", "class", "cls", "prob"})) {
        boxes = b;
      }
    }
    // Otherwise the values: scores are within 0..1, boxes in pixels are not.
    for (const size_t b : {0, 1}) {
      const bool apart = ShareWithinUnit(seen.outputs[1 - b].values) == 1 &&
                         ShareWithinUnit(seen.outputs[b].values) < 1;
      if (!boxes && apart) boxes = b;
    }
  }
  if (!boxes) return std::nullopt;
  const std::vector<int64_t>& s = seen.outputs[1 - *boxes].info.shape;
  return BoxesAndScores{*boxes, 1 - *boxes, s[1], static_cast<int>(s[2])};
}

absl::StatusOr<ScoredBoxes> ScoredBoxesFor(const ModelSpec& spec,
                                           std::span<const TensorInfo> outputs, size_t box_rank,
                                           int none_columns) {
  SL_ASSIGN_OR_RETURN(std::vector<size_t> meant, MeantOutputs(spec, outputs, 2));
  const auto has_four = [&](size_t i) {
    return !outputs[i].shape.empty() && outputs[i].shape.back() == 4;
  };
  // People list them as the file does.
  if (!has_four(meant[0]) && has_four(meant[1])) std::swap(meant[0], meant[1]);
  const TensorInfo &boxes = outputs[meant[0]], &scores = outputs[meant[1]];
  const bool fits = boxes.shape.size() == box_rank && boxes.shape.back() == 4 &&
                    scores.shape.size() == 3 && scores.shape[2] > none_columns &&
                    scores.shape[2] <= 100'000;
  if (!fits) {
    return InvalidArgument(
        "model {}: family {} has boxes [batch, rows, {}4] and class scores [batch, rows, "
        "classes{}]; the file has {}; correct `outputs` in its model.yaml",
        spec.name, spec.family, box_rank == 4 ? "1, " : "", none_columns > 0 ? " + 1" : "",
        DescribeTensors(outputs));
  }
  ScoredBoxes form;
  form.boxes = meant[0];
  form.scores = meant[1];
  form.columns = static_cast<int>(scores.shape[2]);
  form.box_rank = static_cast<int64_t>(box_rank);
  form.width = spec.input.width;
  form.height = spec.input.height;
  SL_RETURN_IF_ERROR(CheckLabels(spec, form.columns - none_columns));
  return form;
}

bool HasLabels(const SeenModel& seen, int classes) {
  return seen.metadata != nullptr && NamesIn(*seen.metadata, classes);
}

}  // namespace sightline
