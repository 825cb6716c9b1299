// YOLOX (Ge et al. 2021, arXiv 2107.08430; Megvii-BaseDetection/YOLOX): one output [B, N, 5 + C],
// rows cx, cy, w, h, objectness, class scores (both after their sigmoid), N = all cells of the
// grids of strides 8, 16, 32 (and 64 in the P6 models), row by row.
//   layout "raw_grid": centre = (cx, cy + cell) * stride, size = exp(w, h) * stride (the files
//                      that the project exports by default)
//   layout "decoded":  the same in input pixels already (exported with --decode_in_inference).
//                      Any N: rows of YOLOv5 and YOLOv7 read the same.
// Confidence = objectness * best class.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "detect/family.h"
#include "detect/heads/yolo_rows.h"
#include "detect/known_strangers.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

// The cells in row order, or none when no set of strides gives `rows`.
std::vector<GridCell> CellsOf(int width, int height, int64_t rows) {
  for (const int levels : {3, 4}) {
    std::vector<GridCell> cells = GridCells(width, height, levels);
    if (static_cast<int64_t>(cells.size()) == rows || rows == -1) return cells;
  }
  return {};
}

struct YoloxShape {
  size_t output;
  int levels;
  int classes;
};

std::optional<YoloxShape> FindYolox(std::span<const ProbeOutput> outputs, int width, int height) {
  const std::vector<TensorInfo> infos = InfosOf(outputs);
  // One of several outputs may be it only if together they look like nothing else.
  if (outputs.size() > 1 && !NameStranger(width, height, infos).name.empty()) {
    return std::nullopt;
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::vector<int64_t>& s = outputs[i].info.shape;
    if (s.size() != 3 || s[2] < 6 || s[2] > 100'000) continue;
    for (const int levels : {3, 4}) {
      if (s[1] == CellsAtStrides(width, height, levels)) {
        return YoloxShape{i, levels, static_cast<int>(s[2] - 5)};
      }
    }
  }
  return std::nullopt;
}

// How far the boxes' centres lie from where each reading would have them, in cells. The nearest
// reading must be nearer by a factor of four than the others.
absl::StatusOr<std::string> YoloxLayout(const ProbeOutput& output, const YoloxShape& shape,
                                        int width, int height) {
  const int64_t numbers = 5 + shape.classes;
  std::vector<double> raw, decoded, fractions;
  int64_t in_range = 0, ones = 0, row = 0;
  for (int level = 0; level < shape.levels; ++level) {
    const int stride = 8 << level;
    for (int y = 0; y < height / stride; ++y) {
      for (int x = 0; x < width / stride; ++x, ++row) {
        const float* r = output.values.data() + row * numbers;
        raw.push_back(std::abs(r[0] - 0.5) + std::abs(r[1] - 0.5));
        decoded.push_back(std::abs(r[0] / stride - x - 0.5) + std::abs(r[1] / stride - y - 0.5));
        fractions.push_back(std::abs(r[0] * width / stride - x - 0.5) +
                            std::abs(r[1] * height / stride - y - 0.5));
        in_range += std::all_of(r + 4, r + numbers, IsWithinUnit);
        ones += r[4] > 0.9999f;
      }
    }
  }
  if (in_range < kNearlyAll * row) {
    return InvalidArgument(
        "its {} has the shape of YOLOX rows, but only {:.0f} % of them have scores within 0..1; "
        "either its export lacks the last sigmoid, or it is another family (NanoDet-Plus has rows "
        "of "
        "classes + 32)",
        ToString(output.info), 100.0 * in_range / row);
  }
  if (ones > kNearlyAll * row) {
    return InvalidArgument(
        "its {} has the shape of YOLOX rows, but every objectness is 1, as YOLOv6 has it",
        ToString(output.info));
  }
  const double d_raw = Median(raw), d_decoded = Median(decoded), d_fractions = Median(fractions);
  if (d_raw * 4 < std::min(d_decoded, d_fractions)) return "raw_grid";
  if (d_decoded * 4 < std::min(d_raw, d_fractions)) return "decoded";
  return InvalidArgument(
      "its {} has the shape of YOLOX rows, but the boxes it gives for a test picture are neither "
      "offsets to the cells (off by {:.2g} cells) nor pixels (off by {:.2g}){}; if you know them, "
      "describe it by `family: yolox` and `layout: raw_grid` or `layout: decoded`",
      ToString(output.info), d_raw, d_decoded,
      d_fractions < 2 && d_fractions * 4 < d_decoded ? "; they look like fractions of the picture"
                                                     : "");
}

class Yolox : public ModelFamily {
 public:
  std::string_view name() const override { return "yolox"; }
  std::string_view outputs() const override { return "[batch, cells, 5 + classes]"; }

  ModelSpec Defaults(int width, int height) const override {  // demo/ONNXRuntime and tools/demo.py
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kBgr);
    spec.input.resize = ResizeMode::kLetterboxTopLeft;
    spec.input.pad_value = {114, 114, 114};
    spec.confidence_threshold = 0.25f;
    spec.nms.iou_threshold = 0.45f;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const auto shape = FindYolox(seen.outputs, seen.width, seen.height);
    if (!shape) return std::nullopt;
    const TensorInfo& info = seen.outputs[shape->output].info;
    return FamilyMatch{
        {shape->output},
        shape->classes,
        0,
        fmt::format("{}: 5 + {} numbers for each of the {} cells of {}x{} at strides 8 to {}, as "
                    "YOLOX has it",
                    ToString(info), shape->classes, info.shape[1], seen.width, seen.height,
                    8 << (shape->levels - 1))};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    return YoloxLayout(seen.outputs[match.outputs[0]],
                       *FindYolox(seen.outputs, seen.width, seen.height), seen.width, seen.height);
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant, MeantOutputs(spec, outputs));
    const bool decoded = spec.layout == "decoded";
    if (!decoded && spec.layout != "raw_grid") {
      return InvalidArgument(
          "model {}: unknown layout \"{}\" of family yolox; it is raw_grid or decoded", spec.name,
          spec.layout);
    }
    if (meant.size() != 1 || outputs[meant[0]].shape.size() != 3 ||
        outputs[meant[0]].shape[2] < 6 || outputs[meant[0]].shape[2] > 100'000) {
      return InvalidArgument(
          "model {}: family yolox has one output [batch, cells, 5 + classes], this file has {}; "
          "set "
          "`outputs` in its model.yaml if one of several is meant",
          spec.name, DescribeTensors(outputs));
    }
    const TensorInfo& output = outputs[meant[0]];
    const int64_t rows = output.shape[1];
    const auto classes = static_cast<int>(output.shape[2] - 5);
    SL_RETURN_IF_ERROR(CheckLabels(spec, classes));
    std::vector<GridCell> cells;
    if (!decoded) {
      cells = CellsOf(spec.input.width, spec.input.height, rows);
      if (cells.empty()) {
        return InvalidArgument(
            "model {}: {} has {} rows, but an input of {}x{} gives {} cells at strides 8, 16, 32; "
            "correct the input size or the family in its model.yaml",
            spec.name, ToString(output), rows, spec.input.width, spec.input.height,
            GridCells(spec.input.width, spec.input.height, 3).size());
      }
    }
    const int64_t fixed_rows = decoded ? rows : static_cast<int64_t>(cells.size());
    return std::make_unique<YoloRowsHead>(
        YoloRows{meant[0], classes, 0, fixed_rows, std::move(cells)});
  }
};

}  // namespace

const ModelFamily& YoloxFamily() {
  static const Yolox family;
  return family;
}

}  // namespace sightline
