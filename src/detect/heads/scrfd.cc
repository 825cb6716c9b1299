// SCRFD (Guo et al. 2021, arXiv 2105.04714; insightface, model_zoo/scrfd.py): for each of the
// strides 8, 16, 32 scores [n, 1] (sigmoid done), distances to the four sides [n, 4] and, where the
// model has them, landmarks [n, 10], all in strides; two anchors a cell, at its corner:
//   centre = cell * stride, box = centre -+ distances * stride, point = centre + offset * stride
// Outputs in the order of scores, boxes, landmarks, or in any other; with a batch in front or
// without. Layouts "landmarks" (nine outputs) and "boxes" (six).
#include <algorithm>
#include <array>
#include <cmath>

#include "detect/family.h"
#include "detect/heads/face_rows.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

constexpr std::array<int, 3> kStrides = {8, 16, 32};
constexpr int kAnchors = 2;
constexpr std::array<int64_t, 3> kNumbers = {1, 4, 10};

struct Outputs {
  std::array<std::array<size_t, 3>, 3> index{};  // [score, box, landmarks][level]
  bool landmarks = false;
  bool batched = false;
};

int64_t RowsOf(int width, int height, int stride) {
  return int64_t{kAnchors} * (width / stride) * (height / stride);
}

// An output whose rows are not declared fits the first free level of its kind.
std::optional<Outputs> FindOutputs(std::span<const TensorInfo> outputs, int width, int height) {
  if (outputs.size() != 9 && outputs.size() != 6) return std::nullopt;
  Outputs found;
  found.landmarks = outputs.size() == 9;
  found.batched = outputs[0].shape.size() == 3;
  std::array<std::array<bool, 3>, 3> taken{};
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::vector<int64_t>& s = outputs[i].shape;
    if (s.size() != (found.batched ? 3u : 2u)) return std::nullopt;
    const auto part = std::ranges::find(kNumbers, s.back()) - kNumbers.begin();
    if (part == 3) return std::nullopt;
    const int64_t rows = s[s.size() - 2];
    bool placed = false;
    for (size_t level = 0; level < kStrides.size() && !placed; ++level) {
      if (taken[part][level]) continue;
      if (rows != -1 && rows != RowsOf(width, height, kStrides[level])) continue;
      found.index[part][level] = i;
      taken[part][level] = placed = true;
    }
    if (!placed) return std::nullopt;
  }
  return found;
}

class ScrfdHead : public FaceRowsHead {
 public:
  ScrfdHead(const Outputs& outputs, int width, int height)
      : outputs_(outputs), width_(width), height_(height) {}

 protected:
  absl::StatusOr<Levels> Open(const RawResult& raw) const override {
    Levels levels;
    levels.landmarks = outputs_.landmarks;
    int64_t first = 0;
    for (size_t l = 0; l < kStrides.size(); ++l) {
      Level& level = levels.level[levels.count++];
      level.rows = RowsOf(width_, height_, kStrides[l]);
      level.first = first;
      first += level.rows;
      for (size_t part = 0; part < (outputs_.landmarks ? 3u : 2u); ++part) {
        SL_ASSIGN_OR_RETURN(level.data[part],
                            Rows(raw, outputs_.index[part][l], level.rows, kNumbers[part]));
      }
    }
    return levels;
  }

  float Score(const Level& level, int64_t row) const override { return level.data[0][row]; }

  Box TensorBox(const Levels& levels, int index, int64_t row) const override {
    const float* d = levels.level[index].data[1] + row * 4;
    const float stride = static_cast<float>(kStrides[index]);
    const PointF c = Centre(index, row);
    return {c.x - d[0] * stride, c.y - d[1] * stride, c.x + d[2] * stride, c.y + d[3] * stride};
  }

  PointF TensorPoint(const Levels& levels, int index, int64_t row, int point) const override {
    const float* p = levels.level[index].data[2] + row * 10 + 2 * point;
    const float stride = static_cast<float>(kStrides[index]);
    const PointF c = Centre(index, row);
    return {c.x + p[0] * stride, c.y + p[1] * stride};
  }

 private:
  absl::StatusOr<const float*> Rows(const RawResult& raw, size_t output, int64_t rows,
                                    int64_t numbers) const {
    if (outputs_.batched) {
      return EntryOf(raw, output, std::array<int64_t, 3>{-1, rows, numbers});
    }
    // Without a batch in front, the rows are one picture's.
    const bool fits = output < raw.outputs.size() && raw.batch_index == 0 &&
                      raw.outputs[output].shape == std::vector<int64_t>{rows, numbers};
    if (!fits) return DataLoss("output {} is not [{}, {}] of one picture", output, rows, numbers);
    return EntryOf(raw, output, std::array<int64_t, 2>{-1, numbers});
  }

  PointF Centre(int index, int64_t row) const {
    const int64_t cell = row / kAnchors;
    const int columns = width_ / kStrides[index];
    return {static_cast<float>(cell % columns * kStrides[index]),
            static_cast<float>(cell / columns * kStrides[index])};
  }

  const Outputs outputs_;
  const int width_;
  const int height_;
};

class Scrfd : public ModelFamily {
 public:
  std::string_view name() const override { return "scrfd"; }
  std::string_view outputs() const override {
    return "scores [n, 1], boxes [n, 4], landmarks [n, 10] at three strides";
  }

  ModelSpec Defaults(int width, int height) const override {  // insightface's SCRFD.detect
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kRgb);
    spec.input.resize = ResizeMode::kLetterboxTopLeft;
    spec.input.mean = {127.5f, 127.5f, 127.5f};
    spec.input.scale = {1 / 128.0f, 1 / 128.0f, 1 / 128.0f};
    spec.confidence_threshold = 0.5f;
    spec.nms.iou_threshold = 0.4f;
    spec.nms.max_detections = 1000;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const std::vector<TensorInfo> infos = InfosOf(seen.outputs);
    const auto found = FindOutputs(infos, seen.width, seen.height);
    if (!found) return std::nullopt;
    FamilyMatch match{{}, 1, found->landmarks ? FaceRowsHead::kLandmarks : 0, ""};
    for (size_t part = 0; part < (found->landmarks ? 3u : 2u); ++part) {
      for (const size_t index : found->index[part]) match.outputs.push_back(index);
    }
    match.sentence = fmt::format(
        "{} outputs, scores, boxes{} for two anchors in each cell of {}x{} at strides 8, 16 and "
        "32, "
        "as SCRFD has them",
        infos.size(), found->landmarks ? " and landmarks" : "", seen.width, seen.height);
    return match;
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    for (size_t i = 0; i < kStrides.size(); ++i) {
      const ProbeOutput& output = seen.outputs[match.outputs[i]];
      const bool unit = AreWithinUnit(output.values);
      if (!unit) {
        return InvalidArgument(
            "its outputs have the shapes of SCRFD's, but {} is not within 0..1: "
            "its export lacks the last sigmoid",
            ToString(output.info));
      }
    }
    return match.keypoints > 0 ? "landmarks" : "boxes";
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_RETURN_IF_ERROR(CheckLayout(spec, {"landmarks", "boxes"}));
    SL_ASSIGN_OR_RETURN(const MeantTensors meant, NamedOutputs(spec, outputs));
    auto found = FindOutputs(meant.infos, spec.input.width, spec.input.height);
    if (!found || found->landmarks != (spec.layout == "landmarks")) {
      return InvalidArgument(
          "model {}: family scrfd has scores, boxes and landmarks for two anchors a cell at "
          "strides "
          "8, 16 and 32 of a {}x{} input; this file has {}",
          spec.name, spec.input.width, spec.input.height, DescribeTensors(meant.infos));
    }
    SL_RETURN_IF_ERROR(CheckLabels(spec, 1));
    for (size_t part = 0; part < (found->landmarks ? 3u : 2u); ++part) {
      for (size_t& index : found->index[part]) index = meant.index[index];
    }
    return std::make_unique<ScrfdHead>(*found, spec.input.width, spec.input.height);
  }
};

}  // namespace

const ModelFamily& ScrfdFamily() {
  static const Scrfd family;
  return family;
}

}  // namespace sightline
