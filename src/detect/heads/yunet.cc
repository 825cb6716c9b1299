// YuNet (Wu, Peng, Yu 2023, doi 10.1007/s11633-023-1423-y; ShiqiYu/libfacedetection.train): for each
// of the strides 8, 16, 32 class and objectness scores [B, n, 1] (sigmoid done), boxes [B, n, 4] and
// landmarks [B, n, 10], one row a cell:
//   centre = (cell + (dx, dy)) * stride, size = exp(w, h) * stride, point = (cell + (x, y)) * stride
// Twelve outputs, told apart by "cls", "obj", "bbox" and "kps" in their names, or, where a file names
// them otherwise, by their order in `outputs` of model.yaml: the strides of each part. The confidence is the
// root of class times objectness, as OpenCV's FaceDetectorYN has it. Layout "strides".
#include <algorithm>
#include <array>
#include <cmath>

#include "detect/family.h"
#include "detect/heads/face_rows.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

constexpr std::array<int, 3> kStrides = {8, 16, 32};
constexpr std::array<std::string_view, 4> kParts = {"cls", "obj", "bbox", "kps"};
constexpr std::array<int64_t, 4> kNumbers = {1, 1, 4, 10};

// Index of the output for [part][level]; nothing when one is missing.
using Outputs = std::array<std::array<size_t, 3>, 4>;

int64_t CellsOf(int width, int height, int stride) {
  return int64_t{width / stride} * (height / stride);
}

std::optional<Outputs> FindOutputs(std::span<const TensorInfo> outputs, int width, int height) {
  if (outputs.size() != 12) return std::nullopt;
  Outputs found{};
  for (size_t part = 0; part < kParts.size(); ++part) {
    for (size_t level = 0; level < kStrides.size(); ++level) {
      const int64_t cells = CellsOf(width, height, kStrides[level]);
      const auto fits = [&](const TensorInfo& t) {
        return t.name.find(kParts[part]) != std::string::npos && t.shape.size() == 3 &&
               t.shape[2] == kNumbers[part] && (t.shape[1] == cells || t.shape[1] == -1) &&
               (t.shape[1] != -1 || t.name.ends_with(fmt::format("_{}", kStrides[level])));
      };
      const auto at = std::ranges::find_if(outputs, fits);
      if (at == outputs.end()) return std::nullopt;
      found[part][level] = at - outputs.begin();
    }
  }
  return found;
}

// Outputs in the family's order, whatever their names.
std::optional<Outputs> OutputsInOrder(std::span<const TensorInfo> outputs, int width, int height) {
  if (outputs.size() != 12) return std::nullopt;
  Outputs found{};
  for (size_t i = 0; i < outputs.size(); ++i) {
    const size_t part = i / kStrides.size(), level = i % kStrides.size();
    const std::array<int64_t, 3> wanted = {-1, CellsOf(width, height, kStrides[level]),
                                           kNumbers[part]};
    if (!ShapeFits(outputs[i].shape, wanted)) return std::nullopt;
    found[part][level] = i;
  }
  return found;
}

class YunetHead : public FaceRowsHead {
 public:
  YunetHead(const Outputs& outputs, int width, int height)
      : outputs_(outputs), width_(width), height_(height) {}

 protected:
  absl::StatusOr<Levels> Open(const RawResult& raw) const override {
    Levels levels;
    int64_t first = 0;
    for (size_t l = 0; l < kStrides.size(); ++l) {
      Level& level = levels.level[levels.count++];
      level.rows = CellsOf(width_, height_, kStrides[l]);
      level.first = first;
      first += level.rows;
      for (size_t part = 0; part < kParts.size(); ++part) {
        const std::array<int64_t, 3> wanted = {-1, level.rows, kNumbers[part]};
        SL_ASSIGN_OR_RETURN(level.data[part], EntryOf(raw, outputs_[part][l], wanted));
      }
    }
    return levels;
  }

  float Score(const Level& level, int64_t row) const override {
    const float product = level.data[0][row] * level.data[1][row];
    return product <= 0 ? product : std::sqrt(product);
  }

  Box TensorBox(const Levels& levels, int index, int64_t row) const override {
    const float* b = levels.level[index].data[2] + row * 4;
    const float stride = static_cast<float>(kStrides[index]);
    const float cx = (Column(index, row) + b[0]) * stride, cy = (Row(index, row) + b[1]) * stride;
    const float half_w = std::exp(b[2]) * stride * 0.5f, half_h = std::exp(b[3]) * stride * 0.5f;
    return {cx - half_w, cy - half_h, cx + half_w, cy + half_h};
  }

  PointF TensorPoint(const Levels& levels, int index, int64_t row, int point) const override {
    const float* p = levels.level[index].data[3] + row * 10 + 2 * point;
    const float stride = static_cast<float>(kStrides[index]);
    return {(Column(index, row) + p[0]) * stride, (Row(index, row) + p[1]) * stride};
  }

 private:
  float Column(int index, int64_t row) const {
    return static_cast<float>(row % (width_ / kStrides[index]));
  }
  float Row(int index, int64_t row) const {
    return static_cast<float>(row / (width_ / kStrides[index]));
  }

  const Outputs outputs_;
  const int width_;
  const int height_;
};

class Yunet : public ModelFamily {
 public:
  std::string_view name() const override { return "yunet"; }
  std::string_view outputs() const override {
    return "cls, obj, bbox and kps [batch, cells, 1, 1, 4, 10] at three strides";
  }

  ModelSpec Defaults(int width, int height) const override {  // OpenCV's FaceDetectorYN
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kBgr);
    spec.confidence_threshold = 0.6f;
    spec.nms.iou_threshold = 0.3f;
    spec.nms.max_detections = 5000;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const std::vector<TensorInfo> infos = InfosOf(seen.outputs);
    const auto found = FindOutputs(infos, seen.width, seen.height);
    if (!found) return std::nullopt;
    FamilyMatch match{{}, 1, kLandmarks, ""};
    for (const auto& part : *found)
      match.outputs.insert(match.outputs.end(), part.begin(), part.end());
    match.sentence = fmt::format(
        "twelve outputs, scores, boxes and landmarks for the cells of {}x{} at strides 8, 16 and "
        "32, as YuNet has them",
        seen.width, seen.height);
    return match;
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    for (size_t i = 0; i < 2 * kStrides.size(); ++i) {
      const ProbeOutput& output = seen.outputs[match.outputs[i]];
      const bool unit = AreWithinUnit(output.values);
      if (!unit) {
        return InvalidArgument(
            "its outputs have the shapes and names of YuNet's, but {} is not "
            "within 0..1: its export lacks the last sigmoid",
            ToString(output.info));
      }
    }
    return "strides";
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_RETURN_IF_ERROR(CheckLayout(spec, {"strides"}));
    SL_ASSIGN_OR_RETURN(const MeantTensors meant, NamedOutputs(spec, outputs));
    auto found = FindOutputs(meant.infos, spec.input.width, spec.input.height);
    if (!found && !spec.output_names.empty()) {
      found = OutputsInOrder(meant.infos, spec.input.width, spec.input.height);
    }
    if (!found) {
      return InvalidArgument(
          "model {}: family yunet has cls, obj, bbox and kps outputs at strides 8, 16 and 32 of a "
          "{}x{} input; this file has {}",
          spec.name, spec.input.width, spec.input.height, DescribeTensors(meant.infos));
    }
    SL_RETURN_IF_ERROR(CheckLabels(spec, 1));
    for (auto& part : *found) {
      for (size_t& index : part) index = meant.index[index];
    }
    return std::make_unique<YunetHead>(*found, spec.input.width, spec.input.height);
  }

 private:
  static constexpr int kLandmarks = FaceRowsHead::kLandmarks;
};

}  // namespace

const ModelFamily& YunetFamily() {
  static const Yunet family;
  return family;
}

}  // namespace sightline
