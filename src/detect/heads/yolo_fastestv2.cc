// Yolo-FastestV2 (dog-qiuqiu/Yolo-FastestV2): at strides 16 and 32, for each cell three anchors with
// four numbers of a box and an objectness, and class scores that the three share:
//   centre = (2 * (x, y) - 0.5 + cell) * stride, size = (2 * (w, h))^2 * anchor
//   confidence = objectness * best class
//   layout "activated": two outputs [B, rows, columns, 12 + 3 + C], sigmoid and softmax done
//   layout "maps":      six outputs [B, 12 | 3 | C, rows, columns], nothing done
// The anchors are those of the project's COCO models, in pixels; no file holds them.
#include <algorithm>
#include <array>
#include <cmath>

#include "detect/family.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

constexpr int kAnchors = 3;
constexpr int kBoxNumbers = 4 * kAnchors;
constexpr std::array<int, 2> kStrides = {16, 32};
constexpr float kAnchorSizes[2][kAnchors][2] = {
    {{12.64f, 19.39f}, {37.88f, 51.48f}, {55.71f, 138.31f}},
    {{126.91f, 78.23f}, {131.57f, 214.55f}, {279.92f, 258.87f}}};  // data/coco.data

struct Form {
  bool maps = false;
  int classes = 0;
  // Of each stride: boxes, objectness, classes; all the same one where they are in one output.
  std::array<std::array<size_t, 3>, 2> index{};
};

std::optional<Form> FindForm(std::span<const TensorInfo> outputs, int width, int height) {
  Form form;
  form.maps = outputs.size() == 6;
  if (!form.maps && outputs.size() != 2) return std::nullopt;
  std::array<std::array<bool, 3>, 2> found{};
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::vector<int64_t>& s = outputs[i].shape;
    if (s.size() != 4) return std::nullopt;
    bool placed = false;
    for (size_t l = 0; l < kStrides.size() && !placed; ++l) {
      const int rows = height / kStrides[l], columns = width / kStrides[l];
      if (form.maps ? s[2] != rows || s[3] != columns : s[1] != rows || s[2] != columns) continue;
      const int64_t channels = form.maps ? s[1] : s[3];
      // Classes last, so that a file with 12 or 3 of them is not misread.
      size_t part = channels == kBoxNumbers && !found[l][0] ? 0
                    : channels == kAnchors && !found[l][1]  ? 1
                                                            : 2;
      if (!form.maps) part = 2;
      const auto classes = static_cast<int>(form.maps ? channels : channels - 5 * kAnchors);
      if (part == 2 && (classes < 1 || classes > 100'000 || found[l][2] ||
                        (form.classes != 0 && form.classes != classes))) {
        return std::nullopt;
      }
      if (part == 2) form.classes = classes;
      found[l][part] = placed = true;
      form.index[l][part] = i;
      if (!form.maps) form.index[l] = {i, i, i};
    }
    if (!placed) return std::nullopt;
  }
  return form;
}

class FastestV2Head : public Head {
 public:
  FastestV2Head(const Form& form, int width, int height)
      : form_(form), width_(width), height_(height) {}

  int classes() const override { return form_.classes; }

  absl::Status Decode(const RawResult& raw, float min_confidence,
                      std::vector<Detection>* out) const override {
    int64_t cells = 0, nan_cells = 0;
    for (size_t l = 0; l < kStrides.size(); ++l) {
      const int rows = height_ / kStrides[l], columns = width_ / kStrides[l];
      Grid grid;
      SL_RETURN_IF_ERROR(Open(raw, l, rows, columns, &grid));
      for (int cell = 0; cell < rows * columns; ++cell) {
        ++cells;
        const auto [best, class_id] = BestClass(grid, cell);
        nan_cells += std::isnan(best);
        if (!(best > min_confidence)) continue;
        for (int a = 0; a < kAnchors; ++a) {
          const float objectness = Activated(grid.At(grid.objectness, a, cell));
          const float score = objectness * best;
          if (!(score > min_confidence) || !std::isfinite(score)) continue;
          if (score > kMaxScore) return NotProbabilities(score);
          const Box box = raw.mapping.ToImage(TensorBox(grid, l, a, cell, columns));
          if (!IsUsable(box)) continue;
          out->push_back({box, std::min(score, 1.0f), class_id,
                          static_cast<int32_t>(cells - 1) * kAnchors + a});
        }
      }
    }
    return cells > 0 && nan_cells == cells ? NothingButNan() : absl::OkStatus();
  }

 private:
  // Where the numbers of a cell lie: number k of a part at [k * step + cell * stride].
  struct Grid {
    const float* boxes = nullptr;
    const float* objectness = nullptr;
    const float* classes = nullptr;
    int64_t number_step = 1;
    int64_t cell_step = 1;
    float At(const float* part, int64_t number, int64_t cell) const {
      return part[number * number_step + cell * cell_step];
    }
  };

  absl::Status Open(const RawResult& raw, size_t l, int rows, int columns, Grid* grid) const {
    const auto map = [&](size_t part, int64_t channels) {
      return EntryOf(raw, form_.index[l][part],
                     std::array<int64_t, 4>{-1, channels, rows, columns});
    };
    if (form_.maps) {
      SL_ASSIGN_OR_RETURN(grid->boxes, map(0, kBoxNumbers));
      SL_ASSIGN_OR_RETURN(grid->objectness, map(1, kAnchors));
      SL_ASSIGN_OR_RETURN(grid->classes, map(2, form_.classes));
      grid->number_step = int64_t{rows} * columns;
      return absl::OkStatus();
    }
    const int64_t numbers = 5 * kAnchors + form_.classes;
    SL_ASSIGN_OR_RETURN(grid->boxes, EntryOf(raw, form_.index[l][0],
                                             std::array<int64_t, 4>{-1, rows, columns, numbers}));
    grid->objectness = grid->boxes + kBoxNumbers;
    grid->classes = grid->objectness + kAnchors;
    grid->cell_step = numbers;
    return absl::OkStatus();
  }

  float Activated(float v) const { return form_.maps ? Sigmoid(v) : v; }

  // The best class and its probability; NaN when there is none.
  std::pair<float, int32_t> BestClass(const Grid& grid, int cell) const {
    float best = -std::numeric_limits<float>::infinity();
    int32_t class_id = -1;
    for (int c = 0; c < form_.classes; ++c) {
      const float v = grid.At(grid.classes, c, cell);
      if (v > best) {
        best = v;
        class_id = c;
      }
    }
    if (class_id < 0) return {std::numeric_limits<float>::quiet_NaN(), 0};
    if (!form_.maps) return {best, class_id};
    float sum = 0;
    for (int c = 0; c < form_.classes; ++c) sum += std::exp(grid.At(grid.classes, c, cell) - best);
    return {1 / sum, class_id};
  }

  Box TensorBox(const Grid& grid, size_t l, int anchor, int cell, int columns) const {
    const auto number = [&](int k) {
      return 2 * Activated(grid.At(grid.boxes, 4 * anchor + k, cell));
    };
    const auto stride = static_cast<float>(kStrides[l]);
    const float cx = (number(0) - 0.5f + static_cast<float>(cell % columns)) * stride;
    const float cy = (number(1) - 0.5f + static_cast<float>(cell / columns)) * stride;
    const float w = number(2), h = number(3);
    const float half_w = w * w * kAnchorSizes[l][anchor][0] * 0.5f;
    const float half_h = h * h * kAnchorSizes[l][anchor][1] * 0.5f;
    return {cx - half_w, cy - half_h, cx + half_w, cy + half_h};
  }

  const Form form_;
  const int width_;  // of the input tensor
  const int height_;
};

class YoloFastestV2 : public ModelFamily {
 public:
  std::string_view name() const override { return "yolo_fastestv2"; }
  std::string_view outputs() const override {
    return "[batch, rows, columns, 15 + classes] at strides 16 and 32, or six maps";
  }

  ModelSpec Defaults(int width, int height) const override {  // test.py
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kBgr, 1 / 255.0f);
    spec.confidence_threshold = 0.3f;
    spec.nms.iou_threshold = 0.4f;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const std::vector<TensorInfo> infos = InfosOf(seen.outputs);
    const auto form = FindForm(infos, seen.width, seen.height);
    if (!form) return std::nullopt;
    FamilyMatch match{{}, form->classes, 0, ""};
    for (size_t i = 0; i < infos.size(); ++i) match.outputs.push_back(i);
    match.sentence = fmt::format(
        "{}: three anchors and {} shared class scores for each of the cells of {}x{} at strides 16 "
        "and 32, as Yolo-FastestV2 has them",
        DescribeTensors(infos), form->classes, seen.width, seen.height);
    return match;
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    bool unit = true;
    for (const size_t i : match.outputs) {
      unit = unit && AreWithinUnit(seen.outputs[i].values);
    }
    const bool maps = match.outputs.size() == 6;
    if (maps != unit) return maps ? "maps" : "activated";
    return InvalidArgument(
        "its outputs have the shapes of {}, but their values are {}: it is exported in a way that "
        "is "
        "not known",
        name(), maps ? "within 0..1 where raw numbers were expected" : "not within 0..1");
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_ASSIGN_OR_RETURN(const MeantTensors meant, NamedOutputs(spec, outputs));
    auto form = FindForm(meant.infos, spec.input.width, spec.input.height);
    if (!form || spec.layout != (form->maps ? "maps" : "activated")) {
      return InvalidArgument(
          "model {}: family {} has two outputs [batch, rows, columns, 15 + classes] in layout "
          "activated, or six maps in layout maps, for a {}x{} input at strides 16 and 32; this "
          "file "
          "has {}, and its model.yaml says layout \"{}\"",
          spec.name, name(), spec.input.width, spec.input.height, DescribeTensors(meant.infos),
          spec.layout);
    }
    SL_RETURN_IF_ERROR(CheckLabels(spec, form->classes));
    for (auto& parts : form->index) {
      for (size_t& index : parts) index = meant.index[index];
    }
    return std::make_unique<FastestV2Head>(*form, spec.input.width, spec.input.height);
  }
};

}  // namespace

const ModelFamily& YoloFastestV2Family() {
  static const YoloFastestV2 family;
  return family;
}

}  // namespace sightline
