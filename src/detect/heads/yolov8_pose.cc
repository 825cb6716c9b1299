// YOLOv8-pose and YOLO11-pose (ultralytics 8.4): [B, 4 + C + K * D, N] as YOLOv8 with K keypoints a
// box, each x, y (pixels of the input) and, where D is 3, a confidence (sigmoid done). Layouts
// "xy_confidence" (D = 3) and "xy" (D = 2). K stands as `keypoints` in model.yaml.
#include <algorithm>

#include "detect/heads/ultralytics.h"
#include "detect/heads/yolo_columns.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

class Yolov8PoseHead : public YoloColumnsHead {
 public:
  Yolov8PoseHead(YoloColumns columns, int keypoints)
      : YoloColumnsHead(columns), keypoints_(keypoints), numbers_(columns.extra / keypoints) {}

  absl::Status Complete(const RawResult& raw, Detections* result) const override {
    SL_ASSIGN_OR_RETURN(const Planes planes, PlanesOf(raw));
    result->keypoints_per_item = keypoints_;
    int32_t next = 0;
    for (Detection& d : result->items) {
      for (int k = 0; k < keypoints_; ++k) {
        const int first = first_extra() + k * numbers_;
        const float x = planes.At(first, d.detail), y = planes.At(first + 1, d.detail);
        const Box at = raw.mapping.ToImage({x, y, x, y});
        const float confidence = numbers_ == 3 ? planes.At(first + 2, d.detail) : 1.0f;
        result->keypoints.push_back({{at.x1, at.y1}, std::clamp(confidence, 0.0f, 1.0f)});
      }
      d.detail = next++;
    }
    return absl::OkStatus();
  }

 private:
  const int keypoints_;
  const int numbers_;  // of a keypoint
};

class Yolov8Pose : public ModelFamily {
 public:
  std::string_view name() const override { return "yolov8_pose"; }
  std::string_view outputs() const override {
    return "[batch, 4 + classes + 3 x keypoints, boxes]";
  }

  ModelSpec Defaults(int width, int height) const override {
    return ultralytics::PredictorDefaults(name(), width, height);
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    if (seen.outputs.size() != 1) return std::nullopt;
    const std::vector<int64_t>& s = seen.outputs[0].info.shape;
    if (!AreColumns(seen.outputs[0].info, 5, seen)) return std::nullopt;
    const auto notes = ultralytics::NotesOf(seen);
    int classes = notes.classes, keypoints = notes.keypoints;
    if (notes.task.empty()) {
      // Nearly all such models know one class, people, and give a confidence for each point.
      classes = 1;
      if (s[1] < 5 + 3 * 3 || (s[1] - 5) % 3 != 0) return std::nullopt;
      keypoints = static_cast<int>((s[1] - 5) / 3);
      if (keypoints > 1'000) return std::nullopt;
    } else if (notes.task != "pose" || keypoints == 0 ||
               s[1] != 4 + classes + keypoints * notes.keypoint_numbers) {
      return std::nullopt;
    }
    return FamilyMatch{
        {0},
        classes,
        keypoints,
        fmt::format("{}: 4 + {} numbers and {} keypoints for each of the {} cells of "
                    "{}x{}, as YOLOv8-pose has it",
                    ToString(seen.outputs[0].info), classes, keypoints, s[2], seen.width,
                    seen.height)};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    const ProbeOutput& output = seen.outputs[match.outputs[0]];
    SL_RETURN_IF_ERROR(CheckColumns(seen, match, name()));
    const int64_t boxes = output.info.shape[2];
    const int64_t first = (4 + match.classes) * boxes;
    const auto beyond = std::count_if(output.values.begin() + first, output.values.end(),
                                      [](float v) { return v < -0.01f || v > 1.01f; });
    if (beyond * 4 < static_cast<int64_t>(output.values.size()) - first) {
      return InvalidArgument(
          "its {} has the shape of {}, but what would be places of keypoints lies within 0..1 like "
          "class scores",
          ToString(output.info), name());
    }
    const int64_t extra = output.info.shape[1] - 4 - match.classes;
    return extra == 2 * match.keypoints ? "xy" : "xy_confidence";
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant, MeantOutputs(spec, outputs, 1));
    SL_ASSIGN_OR_RETURN(const YoloColumns columns,
                        ColumnsFor(spec, outputs, meant[0], std::nullopt));
    if (spec.layout != "xy" && spec.layout != "xy_confidence") {
      return InvalidArgument(
          "model {}: unknown layout \"{}\" of family {}; it is xy or "
          "xy_confidence",
          spec.name, spec.layout, name());
    }
    const int numbers = spec.layout == "xy" ? 2 : 3;
    const int keypoints = columns.extra / numbers;
    if (keypoints < 1 || columns.extra != keypoints * numbers ||
        (spec.keypoints > 0 && spec.keypoints != keypoints)) {
      return InvalidArgument(
          "model {}: behind box and {} class scores {} has {} numbers, which is not {} for each of "
          "{} keypoints; correct `classes`, `keypoints` or `layout` in its model.yaml",
          spec.name, columns.classes, ToString(outputs[meant[0]]), columns.extra, numbers,
          spec.keypoints);
    }
    return std::make_unique<Yolov8PoseHead>(columns, keypoints);
  }
};

}  // namespace

const ModelFamily& Yolov8PoseFamily() {
  static const Yolov8Pose family;
  return family;
}

}  // namespace sightline
