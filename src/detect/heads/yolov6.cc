// YOLOv6 (Li et al. 2022, arXiv 2209.02976; meituan/YOLOv6 0.4): one output [B, N, 5 + C], rows cx,
// cy, w, h (pixels of the input), a one in the objectness' place and class scores (sigmoid done), N
// = all cells at strides 8, 16, 32 (and 64). Confidence = best class. Layout "decoded".
#include <algorithm>
#include <cmath>

#include "detect/heads/ultralytics.h"
#include "detect/heads/yolo_rows.h"
#include "detect/known_strangers.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

class Yolov6 : public ModelFamily {
 public:
  std::string_view name() const override { return "yolov6"; }
  std::string_view outputs() const override { return "[batch, cells, 4 + 1 + classes]"; }

  ModelSpec Defaults(int width, int height) const override {  // tools/infer.py
    ModelSpec spec = ultralytics::PredictorDefaults(name(), width, height);
    spec.confidence_threshold = 0.4f;
    spec.nms.iou_threshold = 0.45f;
    spec.nms.max_detections = 1000;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    if (seen.outputs.size() != 1) return std::nullopt;
    const std::vector<int64_t>& s = seen.outputs[0].info.shape;
    if (s.size() != 3 || s[2] < 6 || s[2] > 100'000) return std::nullopt;
    if (s[1] != CellsAtStrides(seen.width, seen.height, 3) &&
        s[1] != CellsAtStrides(seen.width, seen.height, 4)) {
      return std::nullopt;
    }
    const auto classes = static_cast<int>(s[2] - 5);
    return FamilyMatch{
        {0},
        classes,
        0,
        fmt::format("{}: a box, a one and {} class scores for each of the {} cells "
                    "of {}x{}, as YOLOv6 has it",
                    ToString(seen.outputs[0].info), classes, s[1], seen.width, seen.height)};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    const ProbeOutput& output = seen.outputs[match.outputs[0]];
    const int64_t numbers = output.info.shape[2], rows = output.info.shape[1];
    int64_t ones = 0, fine = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const float* row = output.values.data() + r * numbers;
      ones += row[4] > 0.9999f && row[4] < 1.0001f;
      fine += std::all_of(row + 5, row + numbers, IsWithinUnit);
    }
    const auto nearly_all = kNearlyAll * static_cast<double>(rows);
    if (static_cast<double>(ones) >= nearly_all && static_cast<double>(fine) >= nearly_all) {
      return "decoded";
    }
    return InvalidArgument(
        "its {} has the shape of {}, but only {:.0f} % of its rows have a one in the fifth place "
        "and {:.0f} % have scores within 0..1",
        ToString(output.info), name(),
        100.0 * static_cast<double>(ones) / static_cast<double>(rows),
        100.0 * static_cast<double>(fine) / static_cast<double>(rows));
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

const ModelFamily& Yolov6Family() {
  static const Yolov6 family;
  return family;
}

}  // namespace sightline
