// RetinaFace (Deng et al. 2019, arXiv 1905.00641; biubug6/Pytorch_Retinaface and what follows it):
// boxes [B, N, 4], scores [B, N, 2] (softmax done; background, face) and landmarks [B, N, 10] as
// deltas over priors at strides 8, 16, 32 with sides 16, 32 / 64, 128 / 256, 512:
//   centre = prior + delta * 0.1 * side, size = side * exp(delta * 0.2), point as the centre
// Layout "deltas".
#include <algorithm>
#include <array>
#include <cmath>

#include "detect/family.h"
#include "detect/heads/face_rows.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

constexpr std::array<int, 3> kStrides = {8, 16, 32};
constexpr std::array<std::array<float, 2>, 3> kSides{{{16, 32}, {64, 128}, {256, 512}}};
constexpr float kCentreVariance = 0.1f;
constexpr float kSizeVariance = 0.2f;

int CellsAlong(int side, int stride) { return (side + stride - 1) / stride; }

int64_t PriorCount(int width, int height) {
  int64_t count = 0;
  for (const int stride : kStrides) {
    count += int64_t{2} * CellsAlong(width, stride) * CellsAlong(height, stride);
  }
  return count;
}

// Indices of boxes, scores, landmarks.
std::optional<std::array<size_t, 3>> FindOutputs(std::span<const TensorInfo> outputs,
                                                 int64_t rows) {
  if (outputs.size() != 3) return std::nullopt;
  constexpr std::array<int64_t, 3> kNumbers = {4, 2, 10};
  std::array<size_t, 3> found{};
  for (size_t part = 0; part < 3; ++part) {
    const auto at = std::ranges::find_if(outputs, [&](const TensorInfo& t) {
      return t.shape.size() == 3 && t.shape[2] == kNumbers[part] &&
             (t.shape[1] == rows || t.shape[1] == -1);
    });
    if (at == outputs.end()) return std::nullopt;
    found[part] = at - outputs.begin();
  }
  return found;
}

class RetinafaceHead : public FaceRowsHead {
 public:
  RetinafaceHead(const std::array<size_t, 3>& outputs, int width, int height)
      : outputs_(outputs), width_(width), height_(height) {}

 protected:
  absl::StatusOr<Levels> Open(const RawResult& raw) const override {
    const int64_t rows = PriorCount(width_, height_);
    SL_ASSIGN_OR_RETURN(const float* boxes,
                        EntryOf(raw, outputs_[0], std::array<int64_t, 3>{-1, rows, 4}));
    SL_ASSIGN_OR_RETURN(const float* scores,
                        EntryOf(raw, outputs_[1], std::array<int64_t, 3>{-1, rows, 2}));
    SL_ASSIGN_OR_RETURN(const float* points,
                        EntryOf(raw, outputs_[2], std::array<int64_t, 3>{-1, rows, 10}));
    Levels levels;
    int64_t first = 0;
    for (const int stride : kStrides) {
      Level& level = levels.level[levels.count++];
      level.rows = int64_t{2} * CellsAlong(width_, stride) * CellsAlong(height_, stride);
      level.first = first;
      level.data = {boxes + first * 4, scores + first * 2, points + first * 10, nullptr};
      first += level.rows;
    }
    return levels;
  }

  float Score(const Level& level, int64_t row) const override { return level.data[1][2 * row + 1]; }

  Box TensorBox(const Levels& levels, int index, int64_t row) const override {
    const float* d = levels.level[index].data[0] + row * 4;
    const PointF c = Centre(index, row);
    const float side = kSides[index][row % 2];
    const float cx = c.x + d[0] * kCentreVariance * side, cy = c.y + d[1] * kCentreVariance * side;
    const float half_w = side * std::exp(d[2] * kSizeVariance) * 0.5f;
    const float half_h = side * std::exp(d[3] * kSizeVariance) * 0.5f;
    return {cx - half_w, cy - half_h, cx + half_w, cy + half_h};
  }

  PointF TensorPoint(const Levels& levels, int index, int64_t row, int point) const override {
    const float* p = levels.level[index].data[2] + row * 10 + 2 * point;
    const PointF c = Centre(index, row);
    const float step = kCentreVariance * kSides[index][row % 2];
    return {c.x + p[0] * step, c.y + p[1] * step};
  }

 private:
  PointF Centre(int index, int64_t row) const {
    const int64_t cell = row / 2;
    const int stride = kStrides[index], columns = CellsAlong(width_, stride);
    return {(static_cast<float>(cell % columns) + 0.5f) * static_cast<float>(stride),
            (static_cast<float>(cell / columns) + 0.5f) * static_cast<float>(stride)};
  }

  const std::array<size_t, 3> outputs_;
  const int width_;
  const int height_;
};

class Retinaface : public ModelFamily {
 public:
  std::string_view name() const override { return "retinaface"; }
  std::string_view outputs() const override {
    return "boxes [batch, priors, 4], scores [batch, priors, 2], landmarks [batch, priors, 10]";
  }

  ModelSpec Defaults(int width, int height) const override {  // the reference's test_widerface.py
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kBgr);
    spec.input.resize = ResizeMode::kStretch;
    spec.input.mean = {104, 117, 123};
    spec.confidence_threshold = 0.5f;
    spec.nms.iou_threshold = 0.4f;
    spec.nms.max_detections = 750;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const std::vector<TensorInfo> infos = InfosOf(seen.outputs);
    const int64_t rows = PriorCount(seen.width, seen.height);
    const auto found = FindOutputs(infos, rows);
    if (!found) return std::nullopt;
    return FamilyMatch{
        {found->begin(), found->end()},
        1,
        FaceRowsHead::kLandmarks,
        fmt::format("boxes, scores and landmarks for the {} priors of RetinaFace for "
                    "{}x{}",
                    rows, seen.width, seen.height)};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    const ProbeOutput& scores = seen.outputs[match.outputs[1]];
    int64_t rows = 0, fine = 0;
    for (size_t i = 0; i + 1 < scores.values.size(); i += 2, ++rows) {
      const float sum = scores.values[i] + scores.values[i + 1];
      fine +=
          scores.values[i] >= -1e-3f && scores.values[i + 1] >= -1e-3f && std::abs(sum - 1) < 1e-2f;
    }
    if (static_cast<double>(fine) >= kNearlyAll * static_cast<double>(rows)) return "deltas";
    return InvalidArgument(
        "its outputs have the shapes of RetinaFace's, but only {} of {} pairs of scores add up to "
        "1: its export lacks the softmax",
        fine, rows);
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_RETURN_IF_ERROR(CheckLayout(spec, {"deltas"}));
    const int64_t rows = PriorCount(spec.input.width, spec.input.height);
    SL_ASSIGN_OR_RETURN(const MeantTensors meant, NamedOutputs(spec, outputs));
    auto found = FindOutputs(meant.infos, rows);
    if (!found) {
      return InvalidArgument(
          "model {}: family retinaface has boxes [batch, {}, 4], scores [batch, {}, 2] and "
          "landmarks "
          "[batch, {}, 10] for a {}x{} input; this file has {}",
          spec.name, rows, rows, rows, spec.input.width, spec.input.height,
          DescribeTensors(meant.infos));
    }
    SL_RETURN_IF_ERROR(CheckLabels(spec, 1));
    for (size_t& index : *found) index = meant.index[index];
    return std::make_unique<RetinafaceHead>(*found, spec.input.width, spec.input.height);
  }
};

}  // namespace

const ModelFamily& RetinafaceFamily() {
  static const Retinaface family;
  return family;
}

}  // namespace sightline
