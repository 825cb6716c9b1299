// Detectors with their choice of boxes in the graph: YOLOv10 and YOLO26 (end-to-end heads), and any
// Ultralytics model exported with nms=True (ultralytics 8.4): one output [B, K, 6 + E], rows x1,
// y1, x2, y2 (pixels of the input), confidence, class, and by layout
//   "boxes":         nothing more
//   "masks":         mask coefficients, with prototypes [B, E, rows, columns] as second output
//   "xy_confidence", "xy": keypoints of three or two numbers, in pixels of the input
//   "rotated":       an angle in radians; the box is cx, cy, w, h then
// Nothing is left to suppress: `nms.kind` is none.
#include <algorithm>
#include <array>
#include <cmath>

#include "detect/heads/prototype_masks.h"
#include "detect/heads/rotated_boxes.h"
#include "detect/heads/ultralytics.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

constexpr int kBoxNumbers = 6;
constexpr int64_t kMostRows = 10'000;  // chosen; the families have 300

struct EndToEnd {
  size_t output = 0;
  int extra = 0;
  int classes = 0;  // 0: not known
  int keypoints = 0;
  bool rotated = false;
  std::optional<PrototypeMasks> masks;
};

class EndToEndHead : public Head {
 public:
  explicit EndToEndHead(EndToEnd form) : form_(std::move(form)) {}

  int classes() const override { return form_.classes; }

  absl::Status Decode(const RawResult& raw, float min_confidence,
                      std::vector<Detection>* out) const override {
    SL_ASSIGN_OR_RETURN(const float* row, Rows(raw));
    const int64_t rows = raw.outputs[form_.output].shape[1];
    int64_t nan_rows = 0;
    for (int64_t r = 0; r < rows; ++r, row += numbers()) {
      const float score = row[4];
      if (!(score > min_confidence)) {
        nan_rows += score != score;
        continue;
      }
      if (score > kMaxScore) {
        if (std::isfinite(score)) return NotProbabilities(score);
        continue;
      }
      const float class_id = row[5];
      if (!(class_id >= 0 && class_id < 1e6f)) continue;
      if (form_.classes > 0 && class_id >= static_cast<float>(form_.classes)) {
        return DataLoss("the model gave class {} where it should know {}", class_id, form_.classes);
      }
      const Box box = raw.mapping.ToImage(form_.rotated ? BoundsOf(Rotated(row))
                                                        : Box{row[0], row[1], row[2], row[3]});
      if (!IsUsable(box)) continue;
      out->push_back(
          {box, std::min(score, 1.0f), static_cast<int32_t>(class_id), static_cast<int32_t>(r)});
    }
    if (rows > 0 && nan_rows == rows) return NothingButNan();
    return absl::OkStatus();
  }

  absl::Status Complete(const RawResult& raw, Detections* result) const override {
    if (form_.extra == 0) return Head::Complete(raw, result);
    SL_ASSIGN_OR_RETURN(const float* rows, Rows(raw));
    PrototypeMasks::View view;
    if (form_.masks) {
      SL_ASSIGN_OR_RETURN(view, form_.masks->Of(raw));
    }
    result->keypoints_per_item = form_.keypoints;
    int32_t next = 0;
    for (Detection& d : result->items) {
      const float* row = rows + int64_t{d.detail} * numbers();
      const std::span extra(row + kBoxNumbers, static_cast<size_t>(form_.extra));
      if (form_.rotated) {
        result->rotated_boxes.push_back(ToImage(Rotated(row), raw.mapping));
      } else if (form_.masks) {
        result->masks.push_back(
            form_.masks->Make(view, extra, {row[0], row[1], row[2], row[3]}, raw.mapping));
      } else {
        AddKeypoints(extra, raw.mapping, &result->keypoints);
      }
      d.detail = next++;
    }
    return absl::OkStatus();
  }

 private:
  int numbers() const { return kBoxNumbers + form_.extra; }

  absl::StatusOr<const float*> Rows(const RawResult& raw) const {
    std::array<int64_t, 3> wanted = {-1, -1, numbers()};
    if (form_.output < raw.outputs.size() && raw.outputs[form_.output].shape.size() == 3) {
      wanted[1] = std::min(raw.outputs[form_.output].shape[1], kMostRows);
    }
    return EntryOf(raw, form_.output, wanted);
  }

  RotatedBox Rotated(const float* row) const {
    return {{row[0], row[1]}, row[2], row[3], row[kBoxNumbers]};
  }

  void AddKeypoints(std::span<const float> numbers, const ImageToTensor& mapping,
                    std::vector<Keypoint>* keypoints) const {
    const size_t each = numbers.size() / static_cast<size_t>(form_.keypoints);
    for (size_t k = 0; k + each <= numbers.size(); k += each) {
      const Box at = mapping.ToImage({numbers[k], numbers[k + 1], numbers[k], numbers[k + 1]});
      const float confidence = each == 3 ? std::clamp(numbers[k + 2], 0.0f, 1.0f) : 1.0f;
      keypoints->push_back({{at.x1, at.y1}, confidence});
    }
  }

  const EndToEnd form_;
};

class YoloEndToEnd : public ModelFamily {
 public:
  std::string_view name() const override { return "yolo_end2end"; }
  std::string_view outputs() const override {
    return "[batch, boxes, x1 y1 x2 y2 confidence class ...]";
  }

  ModelSpec Defaults(int width, int height) const override {
    ModelSpec spec = ultralytics::PredictorDefaults(name(), width, height);
    spec.nms.kind = NmsSettings::Kind::kNone;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    if (seen.outputs.empty() || seen.outputs.size() > 2) return std::nullopt;
    const std::vector<int64_t>& s = seen.outputs[0].info.shape;
    if (s.size() != 3 || s[2] < kBoxNumbers || s[2] > 4096 || s[1] < 1 || s[1] > kMostRows) {
      return std::nullopt;
    }
    const auto extra = static_cast<int>(s[2]) - kBoxNumbers;
    const auto notes = ultralytics::NotesOf(seen);
    FamilyMatch match{{0}, notes.classes, 0, ""};
    std::string_view more = "";
    if (seen.outputs.size() == 2) {
      const std::vector<int64_t>& p = seen.outputs[1].info.shape;
      if (p.size() != 4 || p[1] != extra) return std::nullopt;
      match.outputs.push_back(1);
      more = ", with mask prototypes";
    } else if (notes.task == "obb" || (notes.task.empty() && extra == 1)) {
      if (extra != 1) return std::nullopt;
      more = " and an angle";
    } else if (notes.task == "pose" || (notes.task.empty() && extra >= 9)) {
      match.keypoints = notes.keypoints > 0 ? notes.keypoints : extra / 3;
      if (match.keypoints < 1 || extra == 0 || extra % match.keypoints != 0) return std::nullopt;
      more = " and keypoints";
    } else if (extra != 0) {
      return std::nullopt;
    }
    match.sentence = fmt::format(
        "{}: {} boxes of corners, confidence and class{}, chosen in the graph, as YOLOv10 and "
        "YOLO26 have it",
        ToString(seen.outputs[0].info), s[1], more);
    return match;
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    const ProbeOutput& output = seen.outputs[0];
    const auto numbers = output.info.shape[2];
    const auto task = ultralytics::NotesOf(seen).task;
    const int extra = static_cast<int>(numbers) - kBoxNumbers;
    const bool rotated = match.outputs.size() == 1 && match.keypoints == 0 && extra == 1;
    int64_t rows = 0, fine = 0, beyond_unit = 0;
    for (size_t at = 0; at + numbers <= output.values.size(); at += numbers, ++rows) {
      const float* r = output.values.data() + at;
      const bool corners = rotated ? r[2] >= 0 && r[3] >= 0 : r[2] >= r[0] && r[3] >= r[1];
      const bool score = IsWithinUnit(r[4]);
      fine += corners && score && r[5] >= 0 && r[5] == std::floor(r[5]);
      beyond_unit += std::max({std::abs(r[0]), std::abs(r[1]), r[2], r[3]}) > 2.0f;
    }
    if (rows == 0 || static_cast<double>(fine) < kNearlyAll * static_cast<double>(rows)) {
      return InvalidArgument(
          "its {} has the shape of {}, but only {} of {} rows are corners, a confidence within "
          "0..1 and a whole class number",
          ToString(output.info), name(), fine, rows);
    }
    // A file with suppression in it may find nothing on a made-up picture and leave only zeros.
    const bool empty = std::ranges::all_of(output.values, [](float v) { return v == 0; });
    if (beyond_unit == 0 && !(empty && !task.empty())) {
      return InvalidArgument(
          "its {} has the shape of {}, but no box is larger than two pixels of the input{}",
          ToString(output.info), name(),
          empty ? ": it finds nothing on a made-up picture, so nothing can be seen of it"
                : "; they may be fractions of the picture (an RT-DETR)");
    }
    if (rotated) return "rotated";
    if (match.outputs.size() == 2) return "masks";
    if (match.keypoints == 0) return "boxes";
    return extra == 2 * match.keypoints ? "xy" : "xy_confidence";
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    const bool masks = spec.layout == "masks";
    SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant,
                        MeantOutputs(spec, outputs, masks ? 2 : 1));
    const TensorInfo& info = outputs[meant[0]];
    if (info.shape.size() != 3 || info.shape[2] < kBoxNumbers || info.shape[2] > 4096) {
      return InvalidArgument(
          "model {}: family {} has rows [batch, boxes, 6 and more], this file has {}; correct "
          "`outputs` or `family` in its model.yaml",
          spec.name, name(), DescribeTensors(outputs));
    }
    EndToEnd form;
    form.output = meant[0];
    form.extra = static_cast<int>(info.shape[2]) - kBoxNumbers;
    form.classes = spec.classes;
    if (form.classes == 0 && spec.labels != nullptr) {
      form.classes = static_cast<int>(spec.labels->names.size());
    }
    bool fits = false;
    if (spec.layout == "boxes") {
      fits = form.extra == 0;
    } else if (spec.layout == "rotated") {
      fits = form.rotated = form.extra == 1;
    } else if (masks) {
      SL_ASSIGN_OR_RETURN(const int count, PrototypeCount(spec, outputs[meant[1]]));
      form.masks.emplace(meant[1], count, spec.input.width, spec.input.height);
      fits = form.extra == count;
    } else if (spec.layout == "xy" || spec.layout == "xy_confidence") {
      const int numbers = spec.layout == "xy" ? 2 : 3;
      form.keypoints = form.extra / numbers;
      fits = form.keypoints > 0 && form.extra == form.keypoints * numbers &&
             (spec.keypoints == 0 || spec.keypoints == form.keypoints);
    } else {
      return InvalidArgument(
          "model {}: unknown layout \"{}\" of family {}; it is boxes, masks, xy, xy_confidence or "
          "rotated",
          spec.name, spec.layout, name());
    }
    if (!fits) {
      return InvalidArgument(
          "model {}: layout {} of family {} does not go with {}; correct "
          "`layout` or `keypoints` in its model.yaml",
          spec.name, spec.layout, name(), DescribeTensors(outputs));
    }
    return std::make_unique<EndToEndHead>(std::move(form));
  }
};

}  // namespace

const ModelFamily& YoloEndToEndFamily() {
  static const YoloEndToEnd family;
  return family;
}

}  // namespace sightline
