// Classifiers of whole pictures: one output [B, C] (or [B, C, 1, 1]), a number for each class.
//   layout "logits":        softmax makes confidences of them (torchvision, timm, transformers)
//   layout "probabilities": softmax is done (Ultralytics, Keras)
//   layout "multilabel":    each class has a confidence of its own, sigmoid done
//   layout "multilabel_logits": the same without the sigmoid
// Results are the classes above `confidence`, best first, at most nms.max_detections of them.
#include <algorithm>
#include <array>
#include <cmath>

#include "detect/heads/scored_boxes.h"
#include "detect/heads/ultralytics.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

// Sizes of label sets that nothing but a classifier has: ImageNet (with and without a background
// class), ImageNet-21k, Places365.
constexpr std::array kWellKnownSets = {1000, 1001, 21841, 21843, 365};

enum class Scores : uint8_t { kLogits, kProbabilities, kMultilabel, kMultilabelLogits };
constexpr std::array<std::pair<std::string_view, Scores>, 4> kLayouts{
    {{"logits", Scores::kLogits},
     {"probabilities", Scores::kProbabilities},
     {"multilabel", Scores::kMultilabel},
     {"multilabel_logits", Scores::kMultilabelLogits}}};

// The classes of [batch, classes] or [batch, classes, 1, 1]; 0 for another shape.
int64_t ClassesOf(const std::vector<int64_t>& shape) {
  const bool flat = shape.size() == 2 || (shape.size() == 4 && shape[2] == 1 && shape[3] == 1);
  return flat && shape[1] >= 2 && shape[1] <= 100'000 ? shape[1] : 0;
}

class ClassifierHead : public WholePictureHead {
 public:
  ClassifierHead(size_t output, int classes, Scores scores, float least, int most)
      : output_(output), classes_(classes), scores_(scores), least_(least), most_(most) {}

  int classes() const override { return classes_; }

  absl::Status Complete(const RawResult& raw, Detections* result) const override {
    std::array<int64_t, 4> wanted = {-1, classes_, 1, 1};
    const bool nested = output_ < raw.outputs.size() && raw.outputs[output_].shape.size() == 4;
    SL_ASSIGN_OR_RETURN(const float* row,
                        EntryOf(raw, output_, std::span(wanted).first(nested ? 4 : 2)));
    const std::span values(row, static_cast<size_t>(classes_));
    float top = -std::numeric_limits<float>::infinity();
    for (const float v : values) top = v > top ? v : top;
    if (std::ranges::all_of(values, [](float v) { return std::isnan(v); })) return NothingButNan();
    double sum = 0;
    if (scores_ == Scores::kLogits) {
      for (const float v : values) sum += std::exp(static_cast<double>(v) - top);
      if (!std::isfinite(sum)) return DataLoss("one of the model's logits is not a finite number");
    } else if (scores_ != Scores::kMultilabelLogits && top > kMaxScore) {
      return NotProbabilities(top);
    }
    for (int32_t c = 0; c < classes_; ++c) {
      float confidence = values[c];
      if (scores_ == Scores::kLogits) {
        confidence = static_cast<float>(std::exp(static_cast<double>(values[c]) - top) / sum);
      } else if (scores_ == Scores::kMultilabelLogits) {
        confidence = Sigmoid(values[c]);
      }
      if (confidence > least_) result->classes.push_back({c, std::min(confidence, 1.0f)});
    }
    const auto better = [](const ClassScore& a, const ClassScore& b) {
      return a.confidence != b.confidence ? a.confidence > b.confidence : a.class_id < b.class_id;
    };
    const auto kept = std::min(result->classes.size(), static_cast<size_t>(most_));
    std::partial_sort(result->classes.begin(),
                      result->classes.begin() + static_cast<std::ptrdiff_t>(kept),
                      result->classes.end(), better);
    result->classes.resize(kept);
    return absl::OkStatus();
  }

 private:
  const size_t output_;
  const int classes_;
  const Scores scores_;
  const float least_;
  const int most_;
};

class Classifier : public ModelFamily {
 public:
  std::string_view name() const override { return "classifier"; }
  std::string_view outputs() const override { return "[batch, classes]"; }
  bool preparation_varies() const override { return true; }

  // torchvision's evaluation: the shorter side an eighth larger than the crop, ImageNet's mean and
  // deviation.
  ModelSpec Defaults(int width, int height) const override {
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kRgb);
    spec.input.resize = ResizeMode::kCenterCrop;
    spec.input.rounding = Rounding::kNearest;
    spec.input.crop_from = static_cast<int>(std::lround(std::max(width, height) * 256.0 / 224.0));
    spec.input.interpolation = Interpolation::kBilinearAntialias;
    NormaliseAsImageNet(&spec.input);
    spec.confidence_threshold = 0;
    spec.nms.kind = NmsSettings::Kind::kNone;
    spec.nms.max_detections = 5;
    return spec;
  }

  // Ultralytics crops from the input's own size and does not normalise.
  void Adjust(const SeenModel& seen, ModelSpec* spec) const override {
    if (ultralytics::NotesOf(seen).task.empty()) return;
    spec->input.crop_from = std::max(seen.width, seen.height);
    spec->input.mean = {0, 0, 0};
    spec->input.scale = {1 / 255.0f, 1 / 255.0f, 1 / 255.0f};
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const auto notes = ultralytics::NotesOf(seen);
    if (!notes.task.empty() && notes.task != "classify") return std::nullopt;
    if (seen.outputs.size() != 1) return std::nullopt;
    const auto classes = static_cast<int>(ClassesOf(seen.outputs[0].info.shape));
    if (classes == 0) return std::nullopt;
    return FamilyMatch{{0},
                       classes,
                       0,
                       fmt::format("{}: a number for each of {} classes of the whole picture",
                                   ToString(seen.outputs[0].info), classes)};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    const ProbeOutput& output = seen.outputs[match.outputs[0]];
    double sum = 0, square = 0;
    for (int c = 0; c < match.classes; ++c) {
      sum += output.values[c];
      square += double{output.values[c]} * output.values[c];
    }
    const bool in_unit = ShareWithinUnit(output.values) == 1;
    if (in_unit && std::abs(sum - 1) < 1e-2) return "probabilities";
    const bool named = !ultralytics::NotesOf(seen).task.empty() || HasLabels(seen, match.classes) ||
                       std::ranges::count(kWellKnownSets, match.classes) > 0;
    if (std::abs(square - 1) < 1e-3 && !named) {
      return InvalidArgument("its {} has length 1: it is an embedding", ToString(output.info));
    }
    if (in_unit && square > 0 && named) return "multilabel";
    if (named) return "logits";
    return InvalidArgument(
        "its {} may be the scores of a classifier or an embedding; describe it by `family: "
        "classifier` with `layout: logits` or `layout: multilabel`, or by `family: embedding`",
        ToString(output.info));
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant, MeantOutputs(spec, outputs, 1));
    const auto classes = static_cast<int>(ClassesOf(outputs[meant[0]].shape));
    if (classes == 0) {
      return InvalidArgument(
          "model {}: family {} has one output [batch, classes], this file has {}; correct `family` "
          "or `outputs` in its model.yaml",
          spec.name, name(), DescribeTensors(outputs));
    }
    SL_RETURN_IF_ERROR(CheckLabels(spec, classes));
    for (const auto& [word, scores] : kLayouts) {
      if (word == spec.layout) {
        return std::make_unique<ClassifierHead>(meant[0], classes, scores,
                                                spec.confidence_threshold, spec.nms.max_detections);
      }
    }
    return InvalidArgument(
        "model {}: unknown layout \"{}\" of family {}; it is logits, probabilities, multilabel or "
        "multilabel_logits",
        spec.name, spec.layout, name());
  }
};

}  // namespace

const ModelFamily& ClassifierFamily() {
  static const Classifier family;
  return family;
}

}  // namespace sightline
