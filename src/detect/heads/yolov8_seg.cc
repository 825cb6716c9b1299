// YOLOv8-seg and what has its outputs: YOLOv9-seg, YOLO11-seg, YOLOv12-seg (ultralytics 8.4):
// [B, 4 + C + M, N] as YOLOv8 with M mask coefficients a box, and M prototypes [B, M, rows,
// columns]. Masks by PrototypeMasks. Layout "columns".
#include "detect/heads/prototype_masks.h"
#include "detect/heads/ultralytics.h"
#include "detect/heads/yolo_columns.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

class Yolov8SegHead : public YoloColumnsHead {
 public:
  Yolov8SegHead(YoloColumns columns, PrototypeMasks masks)
      : YoloColumnsHead(columns), masks_(masks) {}

  absl::Status Complete(const RawResult& raw, Detections* result) const override {
    SL_ASSIGN_OR_RETURN(const Planes planes, PlanesOf(raw));
    SL_ASSIGN_OR_RETURN(const PrototypeMasks::View view, masks_.Of(raw));
    std::vector<float> coefficients(masks_.count());
    for (Detection& d : result->items) {
      for (int k = 0; k < masks_.count(); ++k) {
        coefficients[k] = planes.At(first_extra() + k, d.detail);
      }
      result->masks.push_back(
          masks_.Make(view, coefficients, TensorBox(planes, d.detail), raw.mapping));
      d.detail = static_cast<int32_t>(result->masks.size()) - 1;
    }
    return absl::OkStatus();
  }

 private:
  const PrototypeMasks masks_;
};

class Yolov8Seg : public ModelFamily {
 public:
  std::string_view name() const override { return "yolov8_seg"; }
  std::string_view outputs() const override {
    return "[batch, 4 + classes + coefficients, boxes] and [batch, coefficients, rows, columns]";
  }

  ModelSpec Defaults(int width, int height) const override {
    return ultralytics::PredictorDefaults(name(), width, height);
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const auto notes = ultralytics::NotesOf(seen);
    if (!notes.task.empty() && notes.task != "segment") return std::nullopt;
    if (seen.outputs.size() != 2) return std::nullopt;
    const size_t boxes = seen.outputs[0].info.shape.size() == 3 ? 0 : 1;
    const std::vector<int64_t>& s = seen.outputs[boxes].info.shape;
    const std::vector<int64_t>& p = seen.outputs[1 - boxes].info.shape;
    if (p.size() != 4 || !AreColumns(seen.outputs[boxes].info, 5 + p[1], seen)) return std::nullopt;
    const auto classes = static_cast<int>(s[1] - 4 - p[1]);
    return FamilyMatch{{boxes, 1 - boxes},
                       classes,
                       0,
                       fmt::format("{}: 4 + {} + {} numbers for each of the {} cells of {}x{}, and "
                                   "{} mask prototypes, as YOLOv8-seg has it",
                                   ToString(seen.outputs[boxes].info), classes, p[1], s[2],
                                   seen.width, seen.height, p[1])};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    SL_RETURN_IF_ERROR(CheckColumns(seen, match, name()));
    return "columns";
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_RETURN_IF_ERROR(CheckLayout(spec, {"columns"}));
    SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant, MeantOutputs(spec, outputs, 2));
    SL_ASSIGN_OR_RETURN(const int count, PrototypeCount(spec, outputs[meant[1]]));
    SL_ASSIGN_OR_RETURN(const YoloColumns columns, ColumnsFor(spec, outputs, meant[0], count));
    return std::make_unique<Yolov8SegHead>(
        columns, PrototypeMasks(meant[1], count, spec.input.width, spec.input.height));
  }
};

}  // namespace

const ModelFamily& Yolov8SegFamily() {
  static const Yolov8Seg family;
  return family;
}

}  // namespace sightline
