// Ultra-Light-Fast-Generic-Face-Detector-1MB (Linzaer): scores [B, N, 2] (background, face; softmax
// done) and boxes [B, N, 4], N = all priors.
//   layout "raw_deltas": SSD offsets over the priors, centre variance 0.1, size variance 0.2
//   layout "decoded":    x1, y1, x2, y2 as fractions of the input, done by the graph
// Priors: at strides 8, 16, 32, 64, boxes of 10 16 24 / 32 48 / 64 96 / 128 192 256 pixels at
// every cell's centre of a map of ceil(input / stride) cells, clamped to 0..1; the same rule for
// every input size.
#include <algorithm>
#include <array>
#include <cmath>

#include "detect/heads/head.h"
#include "detect/heads/ultraface_priors.h"

namespace sightline {

std::vector<UltrafacePrior> UltrafacePriors(int width, int height) {
  struct Level {
    int stride;
    std::array<int, 3> sides_px;  // 0 = none
  };
  constexpr std::array<Level, 4> kLevels = {Level{8, {10, 16, 24}}, Level{16, {32, 48, 0}},
                                            Level{32, {64, 96, 0}}, Level{64, {128, 192, 256}}};
  std::vector<UltrafacePrior> priors;
  if (width <= 0 || height <= 0) return priors;
  for (const Level& level : kLevels) {
    const int columns = (width + level.stride - 1) / level.stride;
    const int rows = (height + level.stride - 1) / level.stride;
    for (int y = 0; y < rows; ++y) {
      for (int x = 0; x < columns; ++x) {
        for (const int side : level.sides_px) {
          if (side == 0) continue;
          const auto clamped = [](double v) { return static_cast<float>(std::clamp(v, 0.0, 1.0)); };
          priors.push_back({clamped((x + 0.5) / columns), clamped((y + 0.5) / rows),
                            clamped(double(side) / width), clamped(double(side) / height)});
        }
      }
    }
  }
  return priors;
}

namespace {

using namespace head_internal;  // NOLINT: this family's share of it

class UltrafaceHead : public Head {
 public:
  UltrafaceHead(size_t scores, size_t boxes, int64_t rows, std::vector<UltrafacePrior> priors,
                float width, float height)
      : scores_(scores),
        boxes_(boxes),
        rows_(rows),
        priors_(std::move(priors)),
        width_(width),
        height_(height) {}

  int classes() const override { return 1; }

  absl::Status Decode(std::span<const TensorView> outputs, int batch_index,
                      const ImageToTensor& mapping, float min_confidence,
                      std::vector<Detection>* out) const override {
    int64_t rows = rows_;
    if (rows == -1 && scores_ < outputs.size() && outputs[scores_].shape.size() == 3) {
      rows = outputs[scores_].shape[1];
    }
    SL_ASSIGN_OR_RETURN(const float* scores, EntryOf(outputs, scores_, batch_index,
                                                     std::array<int64_t, 3>{-1, rows, 2}));
    SL_ASSIGN_OR_RETURN(const float* boxes,
                        EntryOf(outputs, boxes_, batch_index, std::array<int64_t, 3>{-1, rows, 4}));
    int64_t nan_rows = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const float score = scores[2 * r + 1];
      if (!(score > min_confidence)) {
        nan_rows += score != score;
        continue;
      }
      if (score > kMaxScore) {
        if (std::isfinite(score)) return NotProbabilities(score);
        continue;
      }
      const float* b = boxes + 4 * r;
      Box fraction = {b[0], b[1], b[2], b[3]};
      if (!priors_.empty()) {
        const UltrafacePrior& p = priors_[r];
        const float cx = b[0] * 0.1f * p.w + p.cx;
        const float cy = b[1] * 0.1f * p.h + p.cy;
        const float w = std::exp(b[2] * 0.2f) * p.w;
        const float h = std::exp(b[3] * 0.2f) * p.h;
        fraction = {cx - w * 0.5f, cy - h * 0.5f, cx + w * 0.5f, cy + h * 0.5f};
      }
      const Box box = mapping.ToImage({fraction.x1 * width_, fraction.y1 * height_,
                                       fraction.x2 * width_, fraction.y2 * height_});
      if (IsUsable(box)) out->push_back({box, std::min(score, 1.0f), 0});
    }
    if (nan_rows == rows) return NothingButNan();
    return absl::OkStatus();
  }

 private:
  const size_t scores_;
  const size_t boxes_;
  const int64_t rows_;                        // -1 when any
  const std::vector<UltrafacePrior> priors_;  // empty when the boxes come decoded
  const float width_;                         // of the input tensor
  const float height_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Head>> MakeUltrafaceHead(const ModelSpec& spec,
                                                        std::span<const TensorInfo> outputs) {
  SL_ASSIGN_OR_RETURN(std::vector<size_t> meant, MeantOutputs(spec, outputs));
  const bool decoded = spec.layout == "decoded";
  if (!decoded && spec.layout != "raw_deltas") {
    return InvalidArgument(
        "model {}: unknown layout \"{}\" of family ultraface; it is raw_deltas or decoded",
        spec.name, spec.layout);
  }
  const auto last_is = [&](size_t i, int64_t last) {
    return outputs[i].shape.size() == 3 && outputs[i].shape[2] == last;
  };
  if (meant.size() == 2 && last_is(meant[0], 4)) std::swap(meant[0], meant[1]);
  if (meant.size() != 2 || !last_is(meant[0], 2) || !last_is(meant[1], 4)) {
    return InvalidArgument(
        "model {}: family ultraface has two outputs, scores [batch, priors, 2] and boxes [batch, "
        "priors, 4], this file has {}",
        spec.name, DescribeTensors(outputs));
  }
  SL_RETURN_IF_ERROR(CheckLabels(spec, 1));
  int64_t rows = outputs[meant[0]].shape[1];
  std::vector<UltrafacePrior> priors;
  if (!decoded) {
    priors = UltrafacePriors(spec.input.width, spec.input.height);
    const auto count = static_cast<int64_t>(priors.size());
    if (count == 0 || (rows != -1 && rows != count)) {
      return InvalidArgument(
          "model {}: {} has {} rows, but an input of {}x{} gives {} priors; correct the input size "
          "or the family in its model.yaml",
          spec.name, ToString(outputs[meant[0]]), rows, spec.input.width, spec.input.height, count);
    }
    rows = count;
  }
  return std::make_unique<UltrafaceHead>(meant[0], meant[1], rows, std::move(priors),
                                         static_cast<float>(spec.input.width),
                                         static_cast<float>(spec.input.height));
}

}  // namespace sightline
