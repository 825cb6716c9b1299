// YOLOv5 and YOLOv7 (ultralytics/yolov5 v7.0, WongKinYiu/yolov7), and YOLOv3 and v4 exported in
// their way (ultralytics/yolov3): one output [B, N, 5 + C], rows cx, cy, w, h (pixels of the input),
// objectness, class scores (both after their sigmoid), N = three anchors for each cell of the grids
// at strides 8, 16, 32 (and 64 in the P6 models; 16, 32 in tiny ones). The files may have the inner
// maps as further outputs. Confidence = objectness * best class. Layout "decoded". Files that give
// those maps alone have the layouts "maps" and "maps_activated" of anchor_maps.h, with the anchors of
// YOLOv5 and YOLOv7-tiny; those of YOLOv7 are told.

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "detect/heads/anchor_maps.h"
#include "detect/heads/ultralytics.h"
#include "detect/heads/yolov5_rows.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

// Anchors of which project a file with maps alone was made for.
enum class Anchors : uint8_t { kUnknown, kYolov5, kYolov7, kDarknet };

// By its operators: YOLOv5 pools three times, YOLOv7 eight times, YOLOv7-tiny six times and with
// LeakyRelu; the others have SiLU, of which the sigmoids are left. Darknet's have neither sigmoids
// nor outputs of five dimensions with the anchors in front.
Anchors AnchorsOf(const SeenModel& seen) {
  if (seen.operators == nullptr || seen.operators->empty()) return Anchors::kUnknown;
  const int pools = seen.Operators("MaxPool");
  const bool smooth = seen.Operators("Sigmoid") + seen.Operators("HardSwish") >= 8;
  const bool anchors_in_front = seen.outputs[0].info.shape.size() == 5;
  if (!smooth && !anchors_in_front && (pools == 0 || seen.Operators("Softplus") > 0)) {
    return Anchors::kDarknet;
  }
  if (smooth && pools == 3) return Anchors::kYolov5;
  if (smooth && pools == 8) return Anchors::kYolov7;
  return seen.Operators("LeakyRelu") > 0 && pools == 6 ? Anchors::kYolov5 : Anchors::kUnknown;
}

const anchor_maps::FamilyMaps& Maps(Anchors anchors) {
  static const anchor_maps::FamilyMaps yolov5 = {
      anchor_maps::BoxLaw::kSquare, {anchor_maps::CocoAnchors(), {2, 2, 2}}, {}};
  static const anchor_maps::FamilyMaps yolov7 = {
      anchor_maps::BoxLaw::kSquare, {anchor_maps::WiderCocoAnchors(), {2, 2, 2}}, {}};
  return anchors == Anchors::kYolov7 ? yolov7 : yolov5;
}

class Yolov5 : public ModelFamily {
 public:
  std::string_view name() const override { return "yolov5"; }
  std::string_view outputs() const override {
    return "[batch, 3 x cells, 5 + classes], or [batch, 3, rows, columns, 5 + classes] at each "
           "stride";
  }

  ModelSpec Defaults(int width, int height) const override {  // detect.py of both
    ModelSpec spec = ultralytics::PredictorDefaults(name(), width, height);
    spec.nms.iou_threshold = 0.45f;
    spec.nms.max_detections = 1000;
    return spec;
  }

  void Adjust(const SeenModel& seen, ModelSpec* spec) const override {
    anchor_maps::WriteAnchors(seen, Maps(AnchorsOf(seen)), spec);
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const auto rows = yolov5::FindRows(seen);
    if (!rows) {
      // Anchors behind rows and columns are TensorFlow's way, and Darknet's models came from there.
      const auto form = anchor_maps::FindForm(seen);
      if (!form || form->levels[0].anchor_step < form->levels[0].cell_step) return std::nullopt;
      return anchor_maps::MatchShapes(seen, name(), Maps(Anchors::kYolov5));
    }
    // With prototypes it is a model for masks.
    for (const ProbeOutput& output : seen.outputs) {
      if (output.info.shape.size() == 4) return std::nullopt;
    }
    const int classes = rows->numbers - 5;
    return FamilyMatch{{rows->output},
                       classes,
                       0,
                       fmt::format("{}: 5 + {} numbers for three anchors in each cell of {}x{} at "
                                   "strides {} to {}, as YOLOv5 and YOLOv7 have it",
                                   ToString(seen.outputs[rows->output].info), classes, seen.width,
                                   seen.height, rows->stride, rows->stride << (rows->levels - 1))};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    if (!yolov5::FindRows(seen)) return LayoutOfMaps(seen);
    SL_RETURN_IF_ERROR(yolov5::CheckRows(seen, *yolov5::FindRows(seen), match.classes, name()));
    return "decoded";
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    if (anchor_maps::IsLayout(spec.layout)) {
      return anchor_maps::MakeHead(spec, outputs, Maps(Anchors::kYolov5));
    }
    SL_RETURN_IF_ERROR(
        CheckLayout(spec, {"decoded", "maps", "maps_scored", "maps_activated", "maps_decoded"}));
    SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant, MeantOutputs(spec, outputs, 1));
    SL_ASSIGN_OR_RETURN(const YoloRows rows, RowsFor(spec, outputs, meant[0], 0));
    return std::make_unique<YoloRowsHead>(rows);
  }

 private:
  absl::StatusOr<std::string> LayoutOfMaps(const SeenModel& seen) const {
    const Anchors anchors = AnchorsOf(seen);
    if (anchors == Anchors::kDarknet) {
      return InvalidArgument("its operators are not those of {}", name());
    }
    SL_ASSIGN_OR_RETURN(std::string layout,
                        anchor_maps::LayoutByValues(seen, name(), Maps(anchors)));
    if (anchors != Anchors::kUnknown || layout == "maps_decoded") return layout;
    return InvalidArgument(
        "its maps are those of YOLOv5 or YOLOv7 before their last layer, whose anchors are in no "
        "file; describe it by `family: {}` and `layout: {}` for YOLOv5 and YOLOv7-tiny, and by "
        "`anchors: [{}]` too for YOLOv7",
        name(), layout, fmt::join(anchor_maps::WiderCocoAnchors(), ", "));
  }
};

}  // namespace

const ModelFamily& Yolov5Family() {
  static const Yolov5 family;
  return family;
}

}  // namespace sightline
