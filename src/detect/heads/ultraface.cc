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
#include <optional>

#include "detect/family.h"
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

  absl::Status Decode(const RawResult& raw, float min_confidence,
                      std::vector<Detection>* out) const override {
    int64_t rows = rows_;
    if (rows == -1 && scores_ < raw.outputs.size() && raw.outputs[scores_].shape.size() == 3) {
      rows = raw.outputs[scores_].shape[1];
    }
    SL_ASSIGN_OR_RETURN(const float* scores,
                        EntryOf(raw, scores_, std::array<int64_t, 3>{-1, rows, 2}));
    SL_ASSIGN_OR_RETURN(const float* boxes,
                        EntryOf(raw, boxes_, std::array<int64_t, 3>{-1, rows, 4}));
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
      const Box box = raw.mapping.ToImage({fraction.x1 * width_, fraction.y1 * height_,
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

struct UltrafaceShape {
  size_t scores;
  size_t boxes;
};

std::optional<UltrafaceShape> FindUltraface(std::span<const ProbeOutput> outputs, int width,
                                            int height) {
  if (outputs.size() != 2) return std::nullopt;
  const auto priors = static_cast<int64_t>(UltrafacePriors(width, height).size());
  for (const size_t scores : {0u, 1u}) {
    const std::vector<int64_t>& s = outputs[scores].info.shape;
    const std::vector<int64_t>& b = outputs[1 - scores].info.shape;
    if (s.size() == 3 && b.size() == 3 && s[2] == 2 && b[2] == 4 && s[1] == b[1] &&
        s[1] == priors) {
      return UltrafaceShape{scores, 1 - scores};
    }
  }
  return std::nullopt;
}

absl::StatusOr<std::string> UltrafaceLayout(const ProbeOutput& scores, const ProbeOutput& boxes,
                                            int width, int height) {
  const std::vector<UltrafacePrior> priors = UltrafacePriors(width, height);
  int64_t sums_to_one = 0, background = 0, is_box = 0;
  for (size_t i = 0; i < priors.size(); ++i) {
    const float* s = scores.values.data() + 2 * i;
    const float* b = boxes.values.data() + 4 * i;
    sums_to_one += std::abs(s[0] + s[1] - 1) < 0.01f && s[0] >= 0 && s[1] >= 0;
    background += s[0] > s[1];
    is_box += b[2] > b[0] && b[3] > b[1] && std::abs((b[0] + b[2]) / 2 - priors[i].cx) < 0.25f &&
              std::abs((b[1] + b[3]) / 2 - priors[i].cy) < 0.25f;
  }
  const auto count = static_cast<double>(priors.size());
  if (sums_to_one < kNearlyAll * count) {
    return InvalidArgument(
        "its {} has the shape of Ultra-Light face scores, but only {:.0f} % of the pairs add up to "
        "1; "
        "its export lacks the softmax",
        ToString(scores.info), 100 * sums_to_one / count);
  }
  if (background < 0.5 * count) {
    return InvalidArgument(
        "its {} has the shape of Ultra-Light face scores, but takes most of a picture without "
        "faces "
        "for faces; background is expected in the first column",
        ToString(scores.info));
  }
  if (is_box > 0.9 * count) return "decoded";
  if (is_box < 0.5 * count) return "raw_deltas";
  return InvalidArgument(
      "its {} has the shape of Ultra-Light face boxes, but {:.0f} % of them look like corners and "
      "the rest like offsets; if you know them, describe it by `family: ultraface` and `layout: "
      "raw_deltas` or `layout: decoded`",
      ToString(boxes.info), 100 * is_box / count);
}

class Ultraface : public ModelFamily {
 public:
  std::string_view name() const override { return "ultraface"; }
  std::string_view outputs() const override { return "[batch, priors, 2] and [batch, priors, 4]"; }

  ModelSpec Defaults(int width, int height) const override {  // run_video_face_detect_onnx.py
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kRgb);
    spec.input.mean = {127, 127, 127};
    spec.input.scale = {1 / 128.0f, 1 / 128.0f, 1 / 128.0f};
    spec.confidence_threshold = 0.7f;
    spec.nms.iou_threshold = 0.3f;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const auto face = FindUltraface(seen.outputs, seen.width, seen.height);
    if (!face) return std::nullopt;
    const TensorInfo& scores = seen.outputs[face->scores].info;
    return FamilyMatch{{face->scores, face->boxes},
                       1,
                       0,
                       fmt::format("{} and {}: the {} priors of Ultra-Light face for {}x{}",
                                   ToString(scores), ToString(seen.outputs[face->boxes].info),
                                   scores.shape[1], seen.width, seen.height)};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    return UltrafaceLayout(seen.outputs[match.outputs[0]], seen.outputs[match.outputs[1]],
                           seen.width, seen.height);
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
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
            "model {}: {} has {} rows, but an input of {}x{} gives {} priors; correct the input "
            "size "
            "or the family in its model.yaml",
            spec.name, ToString(outputs[meant[0]]), rows, spec.input.width, spec.input.height,
            count);
      }
      rows = count;
    }
    return std::make_unique<UltrafaceHead>(meant[0], meant[1], rows, std::move(priors),
                                           static_cast<float>(spec.input.width),
                                           static_cast<float>(spec.input.height));
  }
};

}  // namespace

const ModelFamily& UltrafaceFamily() {
  static const Ultraface family;
  return family;
}

}  // namespace sightline
