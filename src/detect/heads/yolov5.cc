// YOLOv5 and YOLOv7 (ultralytics/yolov5 v7.0, WongKinYiu/yolov7), and YOLOv3 and v4 exported in
// their way: one output [B, N, 5 + C], rows cx, cy, w, h (pixels of the input), objectness, class
// scores (both after their sigmoid), N = three anchors for each cell of the grids at strides 8, 16,
// 32 (and 64 in the P6 models), anchor by anchor. The files may have the inner maps as further
// outputs. Confidence = objectness * best class. Layout "decoded".
#include <algorithm>
#include <cmath>

#include "detect/heads/ultralytics.h"
#include "detect/heads/yolov5_rows.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

class Yolov5 : public ModelFamily {
 public:
  std::string_view name() const override { return "yolov5"; }
  std::string_view outputs() const override { return "[batch, 3 x cells, 5 + classes]"; }

  ModelSpec Defaults(int width, int height) const override {  // detect.py of both
    ModelSpec spec = ultralytics::PredictorDefaults(name(), width, height);
    spec.nms.iou_threshold = 0.45f;
    spec.nms.max_detections = 1000;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const auto rows = yolov5::FindRows(seen);
    if (!rows) return std::nullopt;
    // With prototypes it is a model for masks.
    for (const ProbeOutput& output : seen.outputs) {
      if (output.info.shape.size() == 4) return std::nullopt;
    }
    const int classes = rows->numbers - 5;
    return FamilyMatch{{rows->output},
                       classes,
                       0,
                       fmt::format("{}: 5 + {} numbers for three anchors in each cell of {}x{} at "
                                   "strides 8 to {}, as YOLOv5 and YOLOv7 have it",
                                   ToString(seen.outputs[rows->output].info), classes, seen.width,
                                   seen.height, 4 << rows->levels)};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    SL_RETURN_IF_ERROR(yolov5::CheckRows(seen, *yolov5::FindRows(seen), match.classes, name()));
    return "decoded";
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_RETURN_IF_ERROR(CheckLayout(spec, {"decoded"}));
    SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant, MeantOutputs(spec, outputs, 1));
    SL_ASSIGN_OR_RETURN(const YoloRows rows, RowsFor(spec, outputs, meant[0], 0));
    return std::make_unique<YoloRowsHead>(rows);
  }
};

}  // namespace

const ModelFamily& Yolov5Family() {
  static const Yolov5 family;
  return family;
}

}  // namespace sightline
