// YOLOv3 and YOLOv3-tiny (Redmon, Farhadi 2018, arXiv 1804.02767) in the forms that Darknet's weights
// are exported to:
//   layouts "maps", "maps_scored", "maps_decoded": see anchor_maps.h
//   layout "selected": keras-yolo3 as the ONNX model zoo has it, with its suppression in the graph:
//     boxes [1, N, 4] (y1, x1, y2, x2 in pixels of the source), scores [1, C, N], and indices [K, 3]
//     or [1, K, 3] of what is left: picture, class, box. A second input takes the picture's size.
// YOLOv3 by ultralytics/yolov3 has the outputs of family yolov5 or yolov8; by pytorch-YOLOv4 those of
// family yolov4.
#include <algorithm>
#include <array>
#include <cmath>

#include "detect/heads/darknet.h"
#include "detect/heads/detection_lists.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

// Indices among a model's outputs.
struct Selected {
  size_t boxes = 0;
  size_t scores = 0;
  size_t indices = 0;
};

std::optional<Selected> FindSelected(std::span<const TensorInfo> outputs) {
  if (outputs.size() != 3) return std::nullopt;
  std::optional<size_t> boxes, scores, indices;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::vector<int64_t>& s = outputs[i].shape;
    const DataType type = outputs[i].dtype;
    if (type == DataType::kInt32 || type == DataType::kInt64) {
      if (s.size() >= 2 && s.size() <= 3 && (s.back() == 3 || s.back() == -1)) indices = i;
    } else if (type == DataType::kFloat32 && s.size() == 3) {
      (s[2] == 4 && !boxes ? boxes : scores) = i;
    }
  }
  if (!boxes || !scores || !indices) return std::nullopt;
  // Shapes as declared may be open.
  const int64_t rows = outputs[*boxes].shape[1], columns = outputs[*scores].shape[2];
  if (rows > 0 && columns > 0 && rows != columns) return std::nullopt;
  return Selected{*boxes, *scores, *indices};
}

class SelectedHead : public Head {
 public:
  SelectedHead(const Selected& outputs, int classes) : at_(outputs), classes_(classes) {}

  int classes() const override { return classes_; }

  absl::Status Decode(const RawResult& raw, float min_confidence,
                      std::vector<Detection>* out) const override {
    for (const size_t i : {at_.boxes, at_.scores, at_.indices}) {
      if (i >= raw.outputs.size() || raw.outputs[i].shape.size() < 2) {
        return DataLoss("the model gave no boxes, scores and indices of them");
      }
    }
    const int64_t rows = raw.outputs[at_.boxes].shape[1];
    SL_ASSIGN_OR_RETURN(const float* boxes,
                        EntryOf(raw, at_.boxes, std::array<int64_t, 3>{-1, rows, 4}));
    SL_ASSIGN_OR_RETURN(const float* scores,
                        EntryOf(raw, at_.scores, std::array<int64_t, 3>{-1, classes_, rows}));
    const TensorView& indices = raw.outputs[at_.indices];
    if (!HoldsIntegers(indices) || indices.shape.back() != 3 || indices.data == nullptr) {
      if (indices.elements() == 0) return absl::OkStatus();
      return DataLoss("the model gave indices as {} with {} numbers each, not 3 integers",
                      ToString(indices.dtype), indices.shape.back());
    }
    const int64_t kept = indices.elements() / 3;
    for (int64_t i = 0; i < kept; ++i) {
      const int64_t picture = IntegerAt(indices, 3 * i), class_id = IntegerAt(indices, 3 * i + 1),
                    row = IntegerAt(indices, 3 * i + 2);
      if (picture != raw.batch_index) continue;
      if (class_id < 0 || class_id >= classes_ || row < 0 || row >= rows) {
        return DataLoss("the model gave index {} of class {} where it has {} boxes of {} classes",
                        row, class_id, rows, classes_);
      }
      const float score = scores[class_id * rows + row];
      if (!(score > min_confidence) || !std::isfinite(score)) continue;
      if (score > kMaxScore) return NotProbabilities(score);
      const float* b = boxes + 4 * row;
      const Box box = {b[1], b[0], b[3], b[2]};  // in pixels of the source already
      if (!IsUsable(box)) continue;
      if (out->size() >= kMostCandidates) return TooManyCandidates();
      out->push_back(
          {box, std::min(score, 1.0f), static_cast<int32_t>(class_id), static_cast<int32_t>(row)});
    }
    return absl::OkStatus();
  }

 private:
  const Selected at_;
  const int classes_;
};

class Yolov3 : public ModelFamily {
 public:
  std::string_view name() const override { return "yolov3"; }
  std::string_view outputs() const override {
    return "[batch, 3 x (5 + classes), rows, columns] at each stride, or boxes, scores and indices";
  }

  ModelSpec Defaults(int width, int height) const override {  // AlexeyAB/darknet, detector test
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kRgb, 1 / 255.0f);
    spec.nms.iou_threshold = 0.45f;
    return spec;
  }

  void Adjust(const SeenModel& seen, ModelSpec* spec) const override {
    if (!FindSelected(InfosOf(seen.outputs))) {
      anchor_maps::WriteAnchors(seen, darknet::MapsOf(darknet::Version::kThree), spec);
      return;
    }
    spec->input.resize = ResizeMode::kLetterboxCenter;  // letterbox_image of keras-yolo3
    spec->input.interpolation = Interpolation::kCubicAntialias;
    spec->input.pad_value = {128, 128, 128};
    spec->nms.kind = NmsSettings::Kind::kNone;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const std::vector<TensorInfo> infos = InfosOf(seen.outputs);
    if (const auto selected = FindSelected(infos)) {
      const int64_t classes = infos[selected->scores].shape[1];
      if (classes < 1 || classes > 100'000) return std::nullopt;
      return FamilyMatch{{selected->boxes, selected->scores, selected->indices},
                         static_cast<int>(classes),
                         0,
                         fmt::format("{}: boxes, scores of {} classes and indices of what is left, "
                                     "as keras-yolo3 has them in the ONNX model zoo",
                                     DescribeTensors(infos), classes)};
    }
    return anchor_maps::MatchShapes(seen, name(), darknet::MapsOf(darknet::Version::kThree));
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    if (!FindSelected(InfosOf(seen.outputs))) {
      return darknet::LayoutByValues(seen, name(), darknet::Version::kThree);
    }
    const double share = ShareWithinUnit(seen.outputs[match.outputs[1]].values);
    if (share >= kNearlyAll) return "selected";
    return InvalidArgument(
        "its outputs have the shapes of {} with its suppression in the graph, but only {:.0f} % of "
        "its scores are within 0..1",
        name(), 100 * share);
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    if (anchor_maps::IsLayout(spec.layout)) {
      return anchor_maps::MakeHead(spec, outputs, darknet::MapsOf(darknet::Version::kThree));
    }
    SL_RETURN_IF_ERROR(
        CheckLayout(spec, {"maps", "maps_scored", "maps_activated", "maps_decoded", "selected"}));
    SL_ASSIGN_OR_RETURN(const MeantTensors meant, NamedOutputs(spec, outputs));
    const auto selected = FindSelected(meant.infos);
    if (!selected || spec.size_input_name.empty()) {
      return InvalidArgument(
          "model {}: family yolov3 in layout selected has boxes [1, rows, 4], scores [1, classes, "
          "rows], indices [n, 3] and an input for the pictures' sizes (`input.size_name`); this "
          "file has {}; `outputs` in its model.yaml says which of them are meant",
          spec.name, DescribeTensors(meant.infos));
    }
    int classes =
        static_cast<int>(std::min<int64_t>(meant.infos[selected->scores].shape[1], 100'000));
    if (classes < 1) classes = spec.classes;
    if (classes < 1) {
      return InvalidArgument(
          "model {}: how many classes it has stands neither in its outputs {} nor in `classes` in "
          "its model.yaml",
          spec.name, DescribeTensors(meant.infos));
    }
    SL_RETURN_IF_ERROR(CheckLabels(spec, classes));
    return std::make_unique<SelectedHead>(
        Selected{meant.index[selected->boxes], meant.index[selected->scores],
                 meant.index[selected->indices]},
        classes);
  }
};

}  // namespace

const ModelFamily& Yolov3Family() {
  static const Yolov3 family;
  return family;
}

}  // namespace sightline
