// YOLOv8-obb and YOLO11-obb (ultralytics 8.4): [B, 4 + C + 1, N] as YOLOv8 with an angle in radians
// behind the class scores; cx, cy, w, h are those of the turned box. Overlap is measured by ProbIoU
// (Llerena et al. 2021, arXiv 2106.06072), and a box goes when any better one of its class overlaps
// it that much, gone itself or not (Fast NMS). Angles are as the network gives them, -pi/4 to 3/4 pi.
// Layout "columns".
#include "detect/heads/rotated_boxes.h"
#include "detect/heads/ultralytics.h"
#include "detect/heads/yolo_columns.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

class Yolov8ObbHead : public YoloColumnsHead {
 public:
  using YoloColumnsHead::YoloColumnsHead;

  void Suppress(const RawResult& raw, const NmsSettings& settings, float min_confidence,
                NonMaxSuppressor* suppressor, std::vector<Detection>* boxes) const override {
    const auto planes = PlanesOf(raw);
    if (!planes.ok()) return boxes->clear();
    SuppressRotated(
        settings, min_confidence, suppressor,
        [&](const Detection& d) { return Rotated(*planes, d.detail); }, boxes);
  }

  absl::Status Complete(const RawResult& raw, Detections* result) const override {
    SL_ASSIGN_OR_RETURN(const Planes planes, PlanesOf(raw));
    for (Detection& d : result->items) {
      result->rotated_boxes.push_back(ToImage(Rotated(planes, d.detail), raw.mapping));
      d.detail = static_cast<int32_t>(result->rotated_boxes.size()) - 1;
    }
    return absl::OkStatus();
  }

 protected:
  Box TensorBox(const Planes& planes, int64_t box) const override {
    return BoundsOf(Rotated(planes, box));
  }

 private:
  RotatedBox Rotated(const Planes& p, int64_t box) const {  // in pixels of the input tensor
    return {{p.At(0, box), p.At(1, box)}, p.At(2, box), p.At(3, box), p.At(first_extra(), box)};
  }
};

class Yolov8Obb : public ModelFamily {
 public:
  std::string_view name() const override { return "yolov8_obb"; }
  std::string_view outputs() const override { return "[batch, 4 + classes + angle, boxes]"; }

  ModelSpec Defaults(int width, int height) const override {
    return ultralytics::PredictorDefaults(name(), width, height);
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const auto notes = ultralytics::NotesOf(seen);
    if (!notes.task.empty() && notes.task != "obb") return std::nullopt;
    if (seen.outputs.size() != 1) return std::nullopt;
    const std::vector<int64_t>& s = seen.outputs[0].info.shape;
    if (!AreColumns(seen.outputs[0].info, 6, seen)) return std::nullopt;
    const auto classes = static_cast<int>(s[1] - 5);
    return FamilyMatch{
        {0},
        classes,
        0,
        fmt::format("{}: 4 + {} numbers and an angle for each of the {} cells of "
                    "{}x{}, as YOLOv8-obb has it",
                    ToString(seen.outputs[0].info), classes, s[2], seen.width, seen.height)};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    const ProbeOutput& output = seen.outputs[match.outputs[0]];
    SL_RETURN_IF_ERROR(CheckColumns(seen, match, name()));
    if (!ultralytics::NotesOf(seen).task.empty()) return "columns";
    // Without the exporter's word: angles reach below 0 or above 1, class scores do not.
    const int64_t boxes = output.info.shape[2];
    const auto angles = std::span(output.values).last(boxes);
    const auto beyond =
        std::ranges::count_if(angles, [](float v) { return v < -0.01f || v > 1.01f; });
    const bool turns = std::ranges::all_of(angles, [](float v) { return v > -1.6f && v < 3.2f; });
    if (turns && beyond > 0) return "columns";
    return InvalidArgument(
        "its {} has the shape of {}, but its last numbers are no angles of oriented boxes",
        ToString(output.info), name());
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_RETURN_IF_ERROR(CheckLayout(spec, {"columns"}));
    SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant, MeantOutputs(spec, outputs, 1));
    SL_ASSIGN_OR_RETURN(const YoloColumns columns, ColumnsFor(spec, outputs, meant[0], 1));
    return std::make_unique<Yolov8ObbHead>(columns);
  }
};

}  // namespace

const ModelFamily& Yolov8ObbFamily() {
  static const Yolov8Obb family;
  return family;
}

}  // namespace sightline
