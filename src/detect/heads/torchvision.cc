// Detectors of torchvision 0.13 and later as torch.onnx exports them (SSD, SSDlite, RetinaNet,
// Faster and Mask R-CNN): resizing, normalisation and suppression are in the graph, one picture at
// a time. Outputs, in any order: boxes [n, 4] x1, y1, x2, y2 in pixels of the input, labels [n]
// (integers), scores [n], and for masks [n, 1, rows, columns], probabilities over the input.
//   layout "boxes", "masks"
// Class 0 is "__background__" and never comes; with labels for the others alone, ids begin at 0.
#include <algorithm>
#include <array>
#include <cmath>

#include "detect/family.h"
#include "detect/heads/detection_lists.h"
#include "detect/heads/mask_runs.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

constexpr float kMaskThreshold = 0.5f;       // the reference's demonstration
constexpr int64_t kMostClasses = 1'000'000;  // chosen
constexpr int64_t kMostBoxes = 100'000;      // chosen; the families give 100 to 300

class TorchvisionHead : public Head {
 public:
  TorchvisionHead(const DetectionLists& lists, std::vector<size_t> meant, int classes,
                  int first_class, int width, int height)
      : lists_(lists),
        meant_(std::move(meant)),
        classes_(classes),
        first_class_(first_class),
        width_(width),
        height_(height) {}

  int classes() const override { return classes_; }

  absl::Status Decode(const RawResult& raw, float min_confidence,
                      std::vector<Detection>* out) const override {
    SL_RETURN_IF_ERROR(Check(raw));
    const TensorView& labels = raw.outputs[lists_.labels];
    const float* box = raw.outputs[lists_.boxes].f32();
    const float* scores = raw.outputs[lists_.scores].f32();
    const int64_t count = raw.outputs[lists_.scores].shape[0];
    int64_t nan = 0;
    for (int64_t i = 0; i < count; ++i, box += 4) {
      nan += std::isnan(scores[i]);
      if (!(scores[i] > min_confidence) || !std::isfinite(scores[i])) continue;
      if (scores[i] > kMaxScore) return NotProbabilities(scores[i]);
      const int64_t class_id = IntegerAt(labels, i) - first_class_;
      if (class_id < 0 || class_id > kMostClasses || (classes_ > 0 && class_id >= classes_)) {
        return DataLoss("the model gave label {} where it should know {} classes{}",
                        IntegerAt(labels, i), classes_, first_class_ > 0 ? " that begin at 1" : "");
      }
      const Box found = raw.mapping.ToImage({box[0], box[1], box[2], box[3]});
      if (!IsUsable(found)) continue;
      out->push_back({found, std::min(scores[i], 1.0f), static_cast<int32_t>(class_id),
                      static_cast<int32_t>(i)});
    }
    return count > 0 && nan == count ? NothingButNan() : absl::OkStatus();
  }

  absl::Status Complete(const RawResult& raw, Detections* result) const override {
    if (!lists_.masks) return Head::Complete(raw, result);
    SL_RETURN_IF_ERROR(Check(raw));
    const TensorView& masks = raw.outputs[*lists_.masks];
    const int64_t rows = masks.shape[2], columns = masks.shape[3];
    for (Detection& d : result->items) {
      InstanceMask mask;
      mask.extent_px =
          raw.mapping.ToImage({0, 0, static_cast<float>(width_), static_cast<float>(height_)});
      mask.width = static_cast<int>(columns);
      mask.height = static_cast<int>(rows);
      MaskRunWriter runs(&mask.runs);
      const float* values = masks.f32() + int64_t{d.detail} * rows * columns;
      for (int64_t i = 0; i < rows * columns; ++i) runs.Add(values[i] > kMaskThreshold, 1);
      runs.End();
      result->masks.push_back(std::move(mask));
      d.detail = static_cast<int32_t>(result->masks.size()) - 1;
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Check(const RawResult& raw) const {
    std::vector<TensorInfo> seen;
    for (const size_t i : meant_) {
      if (i >= raw.outputs.size()) break;
      seen.push_back({"", raw.outputs[i].dtype, raw.outputs[i].shape});
    }
    const std::optional<DetectionLists> found = FindDetectionLists(seen, /*batched=*/false);
    const bool same =
        seen.size() == meant_.size() && found && PlacedAmongAll(*found, meant_) == lists_;
    const int64_t count = same ? seen[found->scores].shape[0] : -1;
    if (raw.batch_index == 0 && same && count <= kMostBoxes &&
        seen[found->boxes].shape[0] == count && seen[found->labels].shape[0] == count &&
        (!found->masks || seen[*found->masks].shape[0] == count)) {
      return absl::OkStatus();
    }
    return DataLoss("the model gave {} where boxes, labels and scores of one picture were expected",
                    DescribeTensors(seen));
  }

  const DetectionLists lists_;
  const std::vector<size_t> meant_;  // outputs that are looked at
  const int classes_;                // 0: not known
  const int first_class_;            // 1 where the background has no label
  const int width_;                  // of the input tensor
  const int height_;
};

class Torchvision : public ModelFamily {
 public:
  std::string_view name() const override { return "torchvision"; }
  std::string_view outputs() const override { return "boxes [n, 4], labels [n], scores [n]"; }

  ModelSpec Defaults(int width, int height) const override {
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kRgb, 1 / 255.0f);
    spec.confidence_threshold = 0.5f;
    spec.nms.kind = NmsSettings::Kind::kNone;
    spec.nms.max_detections = 1000;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const std::vector<TensorInfo> infos = InfosOf(seen.outputs);
    const std::optional<DetectionLists> lists = FindDetectionLists(infos, /*batched=*/false);
    if (!lists) return std::nullopt;
    FamilyMatch match{{lists->boxes, lists->labels, lists->scores}, 0, 0, ""};
    if (lists->masks) match.outputs.push_back(*lists->masks);
    match.sentence = fmt::format(
        "{}: lists of boxes, labels and scores{}, as torchvision's "
        "detectors give them",
        DescribeTensors(infos), lists->masks ? " and masks" : "");
    return match;
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    const std::vector<float>& scores = seen.outputs[match.outputs[2]].values;
    if (!AreWithinUnit(scores)) {
      return InvalidArgument(
          "its outputs are lists as torchvision's detectors give them, but the "
          "scores are not within 0..1");
    }
    return match.outputs.size() == 4 ? "masks" : "boxes";
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_ASSIGN_OR_RETURN(MeantTensors meant, NamedOutputs(spec, outputs));
    const std::optional<DetectionLists> lists = FindDetectionLists(meant.infos, /*batched=*/false);
    if (!lists || (spec.layout == "masks") != lists->masks.has_value() ||
        (spec.layout != "masks" && spec.layout != "boxes")) {
      return InvalidArgument(
          "model {}: family {} has outputs boxes [n, 4], labels [n] of integers and scores [n] in "
          "layout boxes, and masks [n, 1, rows, columns] too in layout masks; this file has {}, "
          "and its model.yaml says layout \"{}\"; `outputs` there says which of them are meant",
          spec.name, name(), DescribeTensors(meant.infos), spec.layout);
    }
    int classes = spec.classes, first = 0;
    if (spec.labels != nullptr && !spec.labels->names.empty()) {
      classes = static_cast<int>(spec.labels->names.size());
      const std::string& none = spec.labels->names[0];
      first = none == "__background__" || none == "background" || none == "N/A" ? 0 : 1;
    }
    const DetectionLists placed = PlacedAmongAll(*lists, meant.index);
    return std::make_unique<TorchvisionHead>(placed, std::move(meant.index), classes, first,
                                             spec.input.width, spec.input.height);
  }
};

}  // namespace

const ModelFamily& TorchvisionFamily() {
  static const Torchvision family;
  return family;
}

}  // namespace sightline
