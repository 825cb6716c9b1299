// YOLOv8, and what has its outputs: YOLOv9, YOLO11, YOLOv12, and v3 and v5 in their "u" editions
// (ultralytics 8.4): one output [B, 4 + C, N], planes cx, cy, w, h (pixels of the input) and C class
// scores (sigmoid done), N = all cells. Confidence = best class. Layout "columns".
#include <algorithm>
#include <cmath>

#include "detect/heads/ultralytics.h"
#include "detect/heads/yolo_columns.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

class Yolov8 : public ModelFamily {
 public:
  std::string_view name() const override { return "yolov8"; }
  std::string_view outputs() const override { return "[batch, 4 + classes, boxes]"; }

  ModelSpec Defaults(int width, int height) const override {
    return ultralytics::PredictorDefaults(name(), width, height);
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const auto notes = ultralytics::NotesOf(seen);
    if (!notes.task.empty() && notes.task != "detect") return std::nullopt;
    if (seen.outputs.size() != 1) return std::nullopt;
    const std::vector<int64_t>& s = seen.outputs[0].info.shape;
    if (!AreColumns(seen.outputs[0].info, 5, seen)) return std::nullopt;
    const auto classes = static_cast<int>(s[1] - 4);
    return FamilyMatch{
        {0},
        classes,
        0,
        fmt::format("{}: 4 + {} numbers for each of the {} cells of {}x{}, as YOLOv8 "
                    "has it",
                    ToString(seen.outputs[0].info), classes, s[2], seen.width, seen.height)};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    SL_RETURN_IF_ERROR(CheckColumns(seen, match, name()));
    return "columns";
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_RETURN_IF_ERROR(CheckLayout(spec, {"columns"}));
    SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant, MeantOutputs(spec, outputs, 1));
    SL_ASSIGN_OR_RETURN(const YoloColumns columns, ColumnsFor(spec, outputs, meant[0], 0));
    return std::make_unique<YoloColumnsHead>(columns);
  }
};

}  // namespace

const ModelFamily& Yolov8Family() {
  static const Yolov8 family;
  return family;
}

}  // namespace sightline
