// RT-DETR (Zhao et al. 2023, arXiv 2304.08069), RT-DETRv2, D-FINE and DEIM with their choice of
// boxes in the graph; nothing is left to suppress.
//   layout "deployed":   labels [B, Q], boxes [B, Q, 4] (x1, y1, x2, y2) and scores [B, Q], as the
//                        reference's tools/export_onnx.py gives them: a second input takes the
//                        pictures' sizes, and boxes are in pixels of the source
//   layout "rows":       one output [B, Q, 6]: cx, cy, w, h in fractions, confidence, class
//                        (ultralytics 8.4)
//   layout "class_rows": one output [B, Q, 4 + C]: cx, cy, w, h in fractions, class scores
//                        (earlier ultralytics)
#include <algorithm>
#include <array>
#include <cmath>

#include "detect/heads/detection_lists.h"
#include "detect/heads/scored_boxes.h"
#include "detect/heads/ultralytics.h"
#include "detect/known_strangers.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

constexpr int64_t kMostQueries = 5'000;  // chosen; the families have 300
constexpr int64_t kMostRows = 1'000;     // the same where rows alone say what it is

class DeployedHead : public Head {
 public:
  DeployedHead(const DetectionLists& lists, int classes) : lists_(lists), classes_(classes) {}

  int classes() const override { return classes_; }

  absl::Status Decode(const RawResult& raw, float min_confidence,
                      std::vector<Detection>* out) const override {
    int64_t queries = -1;
    if (lists_.scores < raw.outputs.size() && raw.outputs[lists_.scores].shape.size() == 2) {
      queries = std::min(raw.outputs[lists_.scores].shape[1], kMostQueries);
    }
    SL_ASSIGN_OR_RETURN(const float* scores,
                        EntryOf(raw, lists_.scores, std::array<int64_t, 2>{-1, queries}));
    SL_ASSIGN_OR_RETURN(const float* box,
                        EntryOf(raw, lists_.boxes, std::array<int64_t, 3>{-1, queries, 4}));
    if (lists_.labels >= raw.outputs.size() ||
        raw.outputs[lists_.labels].shape != raw.outputs[lists_.scores].shape) {
      return DataLoss("the model gave labels that are not of the scores' shape");
    }
    const TensorView& labels = raw.outputs[lists_.labels];
    if (!HoldsIntegers(labels)) {
      return DataLoss("the model gave labels as {}, not as integers", ToString(labels.dtype));
    }
    int64_t nan = 0;
    for (int64_t q = 0; q < queries; ++q, box += 4) {
      nan += std::isnan(scores[q]);
      if (!(scores[q] > min_confidence) || !std::isfinite(scores[q])) continue;
      if (scores[q] > kMaxScore) return NotProbabilities(scores[q]);
      const int64_t at = raw.batch_index * queries + q;
      const int64_t label = IntegerAt(labels, at);
      if (label < 0 || label > 1'000'000 || (classes_ > 0 && label >= classes_)) {
        return DataLoss("the model gave label {} where it should know {} classes", label, classes_);
      }
      const Box found = {box[0], box[1], box[2], box[3]};  // in pixels of the source already
      if (!IsUsable(found)) continue;
      out->push_back(
          {found, std::min(scores[q], 1.0f), static_cast<int32_t>(label), static_cast<int32_t>(q)});
    }
    return queries > 0 && nan == queries ? NothingButNan() : absl::OkStatus();
  }

 private:
  const DetectionLists lists_;
  const int classes_;  // 0: not known
};

// Rows of fractions: with one score and a class, or a score for each class.
class RowsHead : public Head {
 public:
  RowsHead(size_t output, int numbers, int classes, bool one_score, int width, int height)
      : output_(output),
        numbers_(numbers),
        classes_(classes),
        one_score_(one_score),
        width_(static_cast<float>(width)),
        height_(static_cast<float>(height)) {}

  int classes() const override { return classes_; }

  absl::Status Decode(const RawResult& raw, float min_confidence,
                      std::vector<Detection>* out) const override {
    std::array<int64_t, 3> wanted = {-1, -1, numbers_};
    if (output_ < raw.outputs.size() && raw.outputs[output_].shape.size() == 3) {
      wanted[1] = std::min(raw.outputs[output_].shape[1], kMostQueries);
    }
    SL_ASSIGN_OR_RETURN(const float* row, EntryOf(raw, output_, wanted));
    int64_t nan_rows = 0;
    for (int64_t q = 0; q < wanted[1]; ++q, row += numbers_) {
      float score = row[4];
      float class_id = one_score_ ? row[5] : 0;
      if (!one_score_) {
        const float* best = std::max_element(row + 4, row + numbers_);
        score = *best;
        class_id = static_cast<float>(best - row - 4);
      }
      nan_rows += std::isnan(score);
      if (!(score > min_confidence) || !std::isfinite(score)) continue;
      if (score > kMaxScore) return NotProbabilities(score);
      if (!(class_id >= 0 && class_id < 1e6f) ||
          (classes_ > 0 && class_id >= static_cast<float>(classes_))) {
        return DataLoss("the model gave class {} where it should know {}", class_id, classes_);
      }
      const float cx = row[0] * width_, cy = row[1] * height_;
      const float half_w = row[2] * width_ * 0.5f, half_h = row[3] * height_ * 0.5f;
      const Box box = raw.mapping.ToImage({cx - half_w, cy - half_h, cx + half_w, cy + half_h});
      if (!IsUsable(box)) continue;
      out->push_back(
          {box, std::min(score, 1.0f), static_cast<int32_t>(class_id), static_cast<int32_t>(q)});
    }
    return wanted[1] > 0 && nan_rows == wanted[1] ? NothingButNan() : absl::OkStatus();
  }

 private:
  const size_t output_;
  const int numbers_;  // of a row
  const int classes_;  // 0: not known
  const bool one_score_;
  const float width_;  // of the input tensor
  const float height_;
};

class Rtdetr : public ModelFamily {
 public:
  std::string_view name() const override { return "rtdetr"; }
  std::string_view outputs() const override {
    return "labels, boxes and scores of queries, or [batch, queries, 6 or 4 + classes]";
  }

  ModelSpec Defaults(int width, int height) const override {
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kRgb, 1 / 255.0f);
    spec.input.interpolation = Interpolation::kBilinearAntialias;
    spec.confidence_threshold = 0.5f;
    spec.nms.kind = NmsSettings::Kind::kNone;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const std::vector<TensorInfo> infos = InfosOf(seen.outputs);
    if (const auto lists = FindDetectionLists(infos, /*batched=*/true)) {
      return FamilyMatch{{lists->labels, lists->boxes, lists->scores},
                         0,
                         0,
                         fmt::format("{}: labels, boxes and scores of queries, as RT-DETR's and "
                                     "D-FINE's own exports have them",
                                     DescribeTensors(infos))};
    }
    if (infos.size() != 1) return std::nullopt;
    const std::vector<int64_t>& s = infos[0].shape;
    if (s.size() != 3 || s[1] < 1 || s[1] > kMostRows || s[2] < 5 || s[2] > 100'000) {
      return std::nullopt;
    }
    if (s[1] == CellsAtStrides(seen.width, seen.height, 3)) return std::nullopt;  // a grid
    const auto notes = ultralytics::NotesOf(seen);
    const bool one_score = s[2] == 6 && notes.classes != 2;
    return FamilyMatch{
        {0},
        one_score ? notes.classes : static_cast<int>(s[2]) - 4,
        0,
        fmt::format("{}: {} queries, as RT-DETR has them", ToString(infos[0]), s[1])};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    if (match.outputs.size() == 3) return "deployed";
    const ProbeOutput& output = seen.outputs[match.outputs[0]];
    const auto numbers = static_cast<size_t>(output.info.shape[2]);
    size_t rows = 0, boxes = 0, scores = 0, classes = 0, ones = 0;
    for (size_t at = 0; at + numbers <= output.values.size(); at += numbers, ++rows) {
      const std::span row(output.values.data() + at, numbers);
      // Other rows of probabilities, such as a text recogniser's, are no boxes with a size.
      boxes += ShareWithinUnit(row.first(4)) == 1 && row[2] > 1e-3f && row[3] > 1e-3f;
      double sum = 0;
      for (const float v : row) sum += v;
      ones += std::abs(sum - 1) < 1e-2;
      scores += ShareWithinUnit(row.subspan(4)) == 1;
      classes += numbers == 6 && ShareWithinUnit(row.subspan(4, 1)) == 1 && row[5] >= 0 &&
                 row[5] == std::floor(row[5]);
    }
    if (std::ranges::all_of(output.values, [](float v) { return v == 0; })) boxes = scores = 0;
    const double nearly_all = kNearlyAll * static_cast<double>(rows);
    if (static_cast<double>(boxes) >= nearly_all && ones * 2 < rows) {
      // A file may know two classes, whose scores are rarely whole numbers.
      if (static_cast<double>(classes) >= nearly_all) return "rows";
      if (static_cast<double>(scores) >= nearly_all) return "class_rows";
    }
    return InvalidArgument(
        "its {} has the shape of RT-DETR's queries, but only {} of {} rows have a box in fractions "
        "of the picture, and {} have scores within 0..1",
        ToString(output.info), boxes, rows, std::max(scores, classes));
  }

  int ClassesIn(const FamilyMatch& match, std::string_view layout) const override {
    return layout == "class_rows" && match.classes == 0 ? 2 : match.classes;
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    int classes = spec.classes;
    if (classes == 0 && spec.labels != nullptr) {
      classes = static_cast<int>(spec.labels->names.size());
    }
    if (spec.layout == "deployed") {
      SL_ASSIGN_OR_RETURN(const MeantTensors meant, NamedOutputs(spec, outputs));
      const auto lists = FindDetectionLists(meant.infos, /*batched=*/true);
      if (!lists || spec.size_input_name.empty()) {
        return InvalidArgument(
            "model {}: family rtdetr in layout deployed has labels [batch, queries], boxes [batch, "
            "queries, 4], scores [batch, queries] and an input for the pictures' sizes "
            "(`input.size_name`); this file has {}; `outputs` in its model.yaml says which of them "
            "are meant",
            spec.name, DescribeTensors(meant.infos));
      }
      return std::make_unique<DeployedHead>(PlacedAmongAll(*lists, meant.index), classes);
    }
    SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant, MeantOutputs(spec, outputs, 1));
    const TensorInfo& info = outputs[meant[0]];
    const bool one_score = spec.layout == "rows";
    if ((!one_score && spec.layout != "class_rows") || info.shape.size() != 3 ||
        info.shape[2] < 5 || (one_score && info.shape[2] != 6)) {
      return InvalidArgument(
          "model {}: family rtdetr has [batch, queries, 6] in layout rows, [batch, queries, 4 + "
          "classes] in layout class_rows and three outputs in layout deployed; this file has {}, "
          "and "
          "its model.yaml says layout \"{}\"",
          spec.name, DescribeTensors(outputs), spec.layout);
    }
    const auto numbers = static_cast<int>(info.shape[2]);
    if (!one_score) {
      classes = numbers - 4;
      SL_RETURN_IF_ERROR(CheckLabels(spec, classes));
    }
    return std::make_unique<RowsHead>(meant[0], numbers, classes, one_score, spec.input.width,
                                      spec.input.height);
  }
};

}  // namespace

const ModelFamily& RtdetrFamily() {
  static const Rtdetr family;
  return family;
}

}  // namespace sightline
