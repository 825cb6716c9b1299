// FastestDet (dog-qiuqiu/FastestDet): one output [B, 5 + C, rows, columns], planes objectness
// (sigmoid done), dx, dy, w, h (raw), class scores (softmax done); one box a cell:
//   centre = (cell + tanh(dx, dy)) / cells, size = sigmoid(w, h), as fractions of the input,
//   confidence = objectness^0.6 * best class^0.4.
// Layout "grid".
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "detect/family.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

class FastestdetHead : public Head {
 public:
  FastestdetHead(size_t output, int classes, int64_t rows, int64_t columns, float width,
                 float height)
      : output_(output),
        classes_(classes),
        rows_(rows),
        columns_(columns),
        width_(width),
        height_(height) {}

  int classes() const override { return classes_; }

  absl::Status Decode(const RawResult& raw, float min_confidence,
                      std::vector<Detection>* out) const override {
    const std::array<int64_t, 4> wanted = {-1, 5 + classes_, rows_, columns_};
    SL_ASSIGN_OR_RETURN(const float* planes, EntryOf(raw, output_, wanted));
    const int64_t cells = rows_ * columns_;
    // A class score is at most 1, so confidence > c asks for objectness > c^(1/0.6); a hair less,
    // for the rounding of the powers.
    const float min_objectness = std::pow(std::max(min_confidence, 0.0f), 1 / 0.6f) * 0.999f;
    int64_t nan_cells = 0;
    for (int64_t i = 0; i < cells; ++i) {
      const float objectness = planes[i];
      if (!(objectness > min_objectness)) {
        nan_cells += objectness != objectness;
        continue;
      }
      const float* scores = planes + 5 * cells + i;
      float best = -1;
      int32_t class_id = 0;
      for (int32_t c = 0; c < classes_; ++c) {
        if (scores[c * cells] > best) {
          best = scores[c * cells];
          class_id = c;
        }
      }
      if (objectness > kMaxScore || best > kMaxScore) {
        const float score = std::max(objectness, best);
        if (std::isfinite(score)) return NotProbabilities(score);
        continue;
      }
      if (!(best > 0)) continue;
      const float score = std::pow(objectness, 0.6f) * std::pow(best, 0.4f);
      if (!(score > min_confidence)) continue;
      const float* cell = planes + cells + i;
      const float cx = (i % columns_ + std::tanh(cell[0])) / columns_ * width_;
      const float cy = (i / columns_ + std::tanh(cell[cells])) / rows_ * height_;
      const float half_w = Sigmoid(cell[2 * cells]) * width_ * 0.5f;
      const float half_h = Sigmoid(cell[3 * cells]) * height_ * 0.5f;
      const Box box = raw.mapping.ToImage({cx - half_w, cy - half_h, cx + half_w, cy + half_h});
      if (IsUsable(box)) out->push_back({box, std::min(score, 1.0f), class_id});
    }
    if (nan_cells == cells) return NothingButNan();
    return absl::OkStatus();
  }

 private:
  const size_t output_;
  const int classes_;
  const int64_t rows_;
  const int64_t columns_;
  const float width_;  // of the input tensor
  const float height_;
};

absl::Status CheckFastestdet(const ProbeOutput& output) {
  const std::vector<int64_t>& s = output.info.shape;
  const int64_t cells = s[2] * s[3];
  int64_t fine = 0;
  for (int64_t i = 0; i < cells; ++i) {
    double sum = 0;
    for (int64_t c = 5; c < s[1]; ++c) sum += output.values[c * cells + i];
    fine += output.values[i] >= 0 && output.values[i] <= 1.001f && std::abs(sum - 1) < 0.01;
  }
  if (fine >= kNearlyAll * cells) return absl::OkStatus();
  return InvalidArgument(
      "its {} has the shape of FastestDet's grid, but only {:.0f} % of the cells have an "
      "objectness "
      "within 0..1 and class scores that add up to 1; it looks like another family with one map "
      "(YOLOv2, a heat map or a segmentation)",
      ToString(output.info), 100.0 * fine / cells);
}

class Fastestdet : public ModelFamily {
 public:
  std::string_view name() const override { return "fastestdet"; }
  std::string_view outputs() const override { return "[batch, 5 + classes, rows, columns]"; }

  ModelSpec Defaults(int width, int height) const override {
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kBgr, 1 / 255.0f);
    // Its repository contradicts itself: training and test.py shrink with INTER_LINEAR, the ONNX
    // example with INTER_AREA. What the model was trained with is taken; input.interpolation: area
    // in model.yaml gives the other.
    spec.input.interpolation = Interpolation::kBilinear;
    spec.confidence_threshold = 0.5f;
    spec.nms.iou_threshold = 0.45f;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    if (seen.outputs.size() != 1) return std::nullopt;
    const TensorInfo& info = seen.outputs[0].info;
    const std::vector<int64_t>& s = info.shape;
    if (s.size() != 4 || s[1] < 6 || s[2] < 1 || s[3] < 1) return std::nullopt;
    // The family has one grid, at stride 16.
    if (s[2] != seen.height / 16 || s[3] != seen.width / 16) return std::nullopt;
    return FamilyMatch{{0},
                       static_cast<int>(s[1] - 5),
                       0,
                       fmt::format("{}: one grid of {}x{} cells at stride 16 with 5 + {} planes, "
                                   "as FastestDet has it",
                                   ToString(info), s[3], s[2], s[1] - 5)};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    SL_RETURN_IF_ERROR(CheckFastestdet(seen.outputs[match.outputs[0]]));
    return "grid";
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant, MeantOutputs(spec, outputs));
    if (!spec.layout.empty() && spec.layout != "grid") {
      return InvalidArgument("model {}: unknown layout \"{}\" of family fastestdet; it is grid",
                             spec.name, spec.layout);
    }
    if (meant.size() != 1 || outputs[meant[0]].shape.size() != 4 ||
        outputs[meant[0]].shape[1] < 6) {
      return InvalidArgument(
          "model {}: family fastestdet has one output [batch, 5 + classes, rows, columns], this "
          "file "
          "has {}",
          spec.name, DescribeTensors(outputs));
    }
    const std::vector<int64_t>& shape = outputs[meant[0]].shape;
    const auto classes = static_cast<int>(shape[1] - 5);
    SL_RETURN_IF_ERROR(CheckLabels(spec, classes));
    constexpr int kStride = 16;  // where the file leaves the grid open
    const int64_t rows = shape[2] > 0 ? shape[2] : spec.input.height / kStride;
    const int64_t columns = shape[3] > 0 ? shape[3] : spec.input.width / kStride;
    if (rows <= 0 || columns <= 0) {
      return InvalidArgument("model {}: an input of {}x{} is too small for family fastestdet",
                             spec.name, spec.input.width, spec.input.height);
    }
    return std::make_unique<FastestdetHead>(meant[0], classes, rows, columns,
                                            static_cast<float>(spec.input.width),
                                            static_cast<float>(spec.input.height));
  }
};

}  // namespace

const ModelFamily& FastestdetFamily() {
  static const Fastestdet family;
  return family;
}

}  // namespace sightline
