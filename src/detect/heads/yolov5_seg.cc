// YOLOv5-seg and YOLOv7-seg (ultralytics/yolov5 v7.0, segment/): [B, N, 5 + C + M] as YOLOv5 with M
// mask coefficients a box, and M prototypes [B, M, rows, columns]. Masks by PrototypeMasks. Layout
// "decoded".
#include <algorithm>

#include "detect/heads/prototype_masks.h"
#include "detect/heads/ultralytics.h"
#include "detect/heads/yolov5_rows.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

class Yolov5SegHead : public YoloRowsHead {
 public:
  Yolov5SegHead(YoloRows rows, PrototypeMasks masks)
      : YoloRowsHead(std::move(rows)), masks_(masks) {}

  absl::Status Complete(const RawResult& raw, Detections* result) const override {
    SL_ASSIGN_OR_RETURN(const float* rows, Rows(raw));
    SL_ASSIGN_OR_RETURN(const PrototypeMasks::View view, masks_.Of(raw));
    std::vector<float> coefficients(static_cast<size_t>(masks_.count()));
    for (Detection& d : result->items) {
      const float* row = rows + int64_t{d.detail} * numbers();
      // The reference's suppression takes them times the objectness, as it does the class scores.
      std::transform(row + 5 + rows_.classes, row + 5 + rows_.classes + masks_.count(),
                     coefficients.begin(), [row](float v) { return v * row[4]; });
      result->masks.push_back(
          masks_.Make(view, coefficients, TensorBox(row, d.detail), raw.mapping));
      d.detail = static_cast<int32_t>(result->masks.size()) - 1;
    }
    return absl::OkStatus();
  }

 private:
  const PrototypeMasks masks_;
};

class Yolov5Seg : public ModelFamily {
 public:
  std::string_view name() const override { return "yolov5_seg"; }
  std::string_view outputs() const override {
    return "[batch, 3 x cells, 5 + classes + coefficients] and [batch, coefficients, rows, "
           "columns]";
  }

  ModelSpec Defaults(int width, int height) const override {  // segment/predict.py
    ModelSpec spec = ultralytics::PredictorDefaults(name(), width, height);
    spec.nms.iou_threshold = 0.45f;
    spec.nms.max_detections = 1000;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const auto rows = yolov5::FindRows(seen);
    if (!rows) return std::nullopt;
    for (size_t p = 0; p < seen.outputs.size(); ++p) {
      const std::vector<int64_t>& s = seen.outputs[p].info.shape;
      if (s.size() != 4 || s[1] < 1 || rows->numbers < 6 + s[1]) continue;
      const auto classes = static_cast<int>(rows->numbers - 5 - s[1]);
      return FamilyMatch{{rows->output, p},
                         classes,
                         0,
                         fmt::format("{}: 5 + {} + {} numbers for three anchors in each cell of "
                                     "{}x{}, and {} mask prototypes, as YOLOv5-seg has it",
                                     ToString(seen.outputs[rows->output].info), classes, s[1],
                                     seen.width, seen.height, s[1])};
    }
    return std::nullopt;
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    SL_RETURN_IF_ERROR(yolov5::CheckRows(seen, *yolov5::FindRows(seen), match.classes, name()));
    return "decoded";
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_RETURN_IF_ERROR(CheckLayout(spec, {"decoded"}));
    SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant, MeantOutputs(spec, outputs, 2));
    SL_ASSIGN_OR_RETURN(const int count, PrototypeCount(spec, outputs[meant[1]]));
    SL_ASSIGN_OR_RETURN(YoloRows rows, RowsFor(spec, outputs, meant[0], count));
    return std::make_unique<Yolov5SegHead>(
        std::move(rows), PrototypeMasks(meant[1], count, spec.input.width, spec.input.height,
                                        MaskRule::kCutThenEnlarge));
  }
};

}  // namespace

const ModelFamily& Yolov5SegFamily() {
  static const Yolov5Seg family;
  return family;
}

}  // namespace sightline
