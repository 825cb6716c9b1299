// Detectors with boxes and class scores for every cell as two outputs (scores after their sigmoid):
//   yolo_nas   boxes [B, N, 4] (x1, y1, x2, y2 in pixels of the input) and scores [B, N, C]
//              (Deci-AI/super-gradients 3.7)
//   damo_yolo  the same (Xu et al. 2022, arXiv 2211.15444; tinyvision/DAMO-YOLO), scores first
//   yolov4     boxes [B, N, 1, 4] in fractions of the input and scores [B, N, C] of objectness times
//              class (Tianxiaomo/pytorch-YOLOv4)
// Layout "boxes_scores". YOLOv4 (Bochkovskiy et al. 2020, arXiv 2004.10934) also comes as maps before
// its last layer, in the layouts of anchor_maps.h.
#include <algorithm>

#include "detect/heads/darknet.h"
#include "detect/heads/scored_boxes.h"
#include "detect/known_strangers.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: these families' share of it

class ScoredFamily : public ModelFamily {
 public:
  std::string_view outputs() const override {
    return "boxes [batch, cells, 4] and scores [batch, cells, classes]";
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const auto found = FindBoxesAndScores(seen, box_rank());
    if (!found || !HasRows(found->rows, seen) || !AreInOrder(*found)) return std::nullopt;
    return FamilyMatch{{found->boxes, found->scores},
                       found->columns,
                       0,
                       fmt::format("{} and {}: a box and {} class scores for each of {} places, as "
                                   "{} has them",
                                   ToString(seen.outputs[found->boxes].info),
                                   ToString(seen.outputs[found->scores].info), found->columns,
                                   found->rows, name())};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    const ProbeOutput &boxes = seen.outputs[match.outputs[0]],
                      &scores = seen.outputs[match.outputs[1]];
    if (ShareWithinUnit(scores.values) < kNearlyAll) {
      return InvalidArgument(
          "its {} and {} have the shapes of {}, but the class scores are not within 0..1: its "
          "export "
          "lacks the last sigmoid",
          ToString(boxes.info), ToString(scores.info), name());
    }
    const float reach = boxes.values.empty() ? 0 : *std::ranges::max_element(boxes.values);
    const bool fractions = reach < 3;
    const bool wants_fractions = corners() == ScoredBoxes::Corners::kXyxyFrac;
    int64_t ordered = 0;
    for (size_t i = 0; i + 3 < boxes.values.size(); i += 4) {
      ordered +=
          boxes.values[i + 2] >= boxes.values[i] && boxes.values[i + 3] >= boxes.values[i + 1];
    }
    const bool is_corners =
        static_cast<double>(ordered) * 4 >= kNearlyAll * static_cast<double>(boxes.values.size());
    if (fractions == wants_fractions && is_corners) return "boxes_scores";
    return InvalidArgument(
        "its {} and {} have the shapes of {}, but its boxes are not {} corners: they reach to "
        "{:.3g}",
        ToString(boxes.info), ToString(scores.info), name(),
        wants_fractions ? "fractional" : "pixels of", reach);
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_RETURN_IF_ERROR(CheckLayout(spec, {"boxes_scores"}));
    SL_ASSIGN_OR_RETURN(ScoredBoxes form, ScoredBoxesFor(spec, outputs, box_rank(), 0));
    form.corners = corners();
    form.score = ScoredBoxes::Score::kAsIs;
    form.several = several();
    return std::make_unique<ScoredBoxesHead>(form);
  }

 protected:
  virtual size_t box_rank() const { return 3; }
  virtual ScoredBoxes::Corners corners() const { return ScoredBoxes::Corners::kXyxyPx; }
  virtual bool several() const { return false; }
  virtual bool HasRows(int64_t rows, const SeenModel& seen) const {
    return rows == CellsAtStrides(seen.width, seen.height, 3);
  }
  // The order of the two is what tells YOLO-NAS from DAMO-YOLO.
  virtual bool AreInOrder(const BoxesAndScores& found) const { return found.boxes < found.scores; }

  ModelSpec CommonDefaults(int width, int height) const {
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kRgb, 1 / 255.0f);
    return spec;
  }
};

class YoloNas : public ScoredFamily {
  std::string_view name() const override { return "yolo_nas"; }
  ModelSpec Defaults(int width, int height) const override {
    ModelSpec spec = CommonDefaults(width, height);
    spec.input.resize = ResizeMode::kLetterboxCenter;
    spec.input.rounding = Rounding::kNearest;
    // Of the published weights' DetectionLongestMaxSizeRescale, which fills 636 pixels of 640.
    spec.input.border = 2;
    spec.input.pad_value = {114, 114, 114};
    spec.nms.iou_threshold = 0.7f;
    return spec;
  }
  bool several() const override { return true; }  // multi_label_per_box of its predict()
};

class DamoYolo : public ScoredFamily {
  std::string_view name() const override { return "damo_yolo"; }
  ModelSpec Defaults(int width, int height) const override {  // tools/demo.py, configs/
    ModelSpec spec = CommonDefaults(width, height);
    spec.input.scale = {1, 1, 1};
    spec.confidence_threshold = 0.3f;
    spec.nms.iou_threshold = 0.7f;
    spec.nms.max_detections = 500;
    return spec;
  }
  bool several() const override { return true; }
  bool AreInOrder(const BoxesAndScores& found) const override { return found.scores < found.boxes; }
};

class Yolov4 : public ScoredFamily {
  std::string_view name() const override { return "yolov4"; }
  std::string_view outputs() const override {
    return "boxes [batch, rows, 1, 4] and scores [batch, rows, classes], or [batch, 3 x (5 + "
           "classes), rows, columns] at each stride";
  }
  ModelSpec Defaults(int width, int height) const override {  // tool/utils.py, demo.py
    ModelSpec spec = CommonDefaults(width, height);
    spec.confidence_threshold = 0.4f;
    spec.nms.iou_threshold = 0.6f;
    return spec;
  }

  void Adjust(const SeenModel& seen, ModelSpec* spec) const override {
    anchor_maps::WriteAnchors(seen, Maps(), spec);
    // The conversion of the ONNX model zoo and what it says of pictures and thresholds.
    if (!anchor_maps::FindForm(seen) || seen.outputs[0].info.shape.size() != 5) return;
    spec->input.resize = ResizeMode::kLetterboxCenter;
    spec->input.pad_value = {128, 128, 128};
    spec->confidence_threshold = 0.25f;
    spec->nms.iou_threshold = 0.213f;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    if (auto maps = anchor_maps::MatchShapes(seen, name(), Maps())) return maps;
    return ScoredFamily::MatchShapes(seen);
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    if (anchor_maps::FindForm(seen)) {
      return darknet::LayoutByValues(seen, name(), darknet::Version::kFour);
    }
    return ScoredFamily::LayoutByValues(seen, match);
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    if (anchor_maps::IsLayout(spec.layout)) return anchor_maps::MakeHead(spec, outputs, Maps());
    return ScoredFamily::MakeHead(spec, outputs);
  }

  static const anchor_maps::FamilyMaps& Maps() { return darknet::MapsOf(darknet::Version::kFour); }

  size_t box_rank() const override { return 4; }
  ScoredBoxes::Corners corners() const override { return ScoredBoxes::Corners::kXyxyFrac; }
  bool HasRows(int64_t rows, const SeenModel& seen) const override {
    return rows % 3 == 0 && rows <= 4 * 3 * CellsAtStrides(seen.width, seen.height, 3);
  }
};

}  // namespace

const ModelFamily& YoloNasFamily() {
  static const YoloNas family;
  return family;
}

const ModelFamily& DamoYoloFamily() {
  static const DamoYolo family;
  return family;
}

const ModelFamily& Yolov4Family() {
  static const Yolov4 family;
  return family;
}

}  // namespace sightline
