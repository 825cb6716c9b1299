// Transformers that predict a set (Carion et al. 2020, arXiv 2005.12872): logits [B, Q, C'] and
// boxes [B, Q, 4], cx, cy, w, h in fractions of the input, nothing to suppress.
//   detr           softmax; C' = C + 1, the last being "no object"; each query is its best class
//                  (DETR, Conditional DETR, YOLOS, Table Transformer). Layout "softmax".
//   rtdetr_logits  sigmoid; every class of a query is a candidate of its own, and the best Q of all
//                  are kept (RT-DETR and D-FINE as transformers exports them). Layout "sigmoid".
//   rf_detr        the same, outputs named "dets" and "labels" as its own exporter does, pictures
//                  normalised by ImageNet's mean and deviation. Layout "sigmoid".
// Source: transformers 5, image processors' post_process_object_detection; rfdetr 1.
#include <algorithm>
#include <cmath>

#include "detect/heads/scored_boxes.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

constexpr int64_t kMostQueries = 5'000;  // chosen; the families have 100 to 900

class SetFamily : public ModelFamily {
 public:
  std::string_view outputs() const override {
    return "logits [batch, queries, classes] and boxes [batch, queries, 4]";
  }

  ModelSpec Defaults(int width, int height) const override {
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kRgb, 1 / 255.0f);
    spec.input.interpolation = Interpolation::kBilinearAntialias;
    if (is_normalised()) {
      NormaliseAsImageNet(&spec.input);
    }
    spec.confidence_threshold = 0.5f;
    spec.nms.kind = NmsSettings::Kind::kNone;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const auto found = FindBoxesAndScores(seen);
    if (!found || found->rows > kMostQueries || found->columns < 2) return std::nullopt;
    if (IsNamedAsRfDetr(seen.outputs) != is_rf_detr()) return std::nullopt;
    return FamilyMatch{
        {found->boxes, found->scores},
        is_softmax() ? found->columns - 1 : found->columns,
        0,
        fmt::format("{} and {}: {} queries of a DETR", ToString(seen.outputs[found->scores].info),
                    ToString(seen.outputs[found->boxes].info), found->rows)};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    const ProbeOutput &boxes = seen.outputs[match.outputs[0]],
                      &logits = seen.outputs[match.outputs[1]];
    if (ShareWithinUnit(boxes.values) < kNearlyAll) {
      return InvalidArgument(
          "its {} and {} have the shapes of a DETR, but the boxes are not fractions of the picture",
          ToString(logits.info), ToString(boxes.info));
    }
    if (ShareWithinUnit(logits.values) >= kNearlyAll) {
      return InvalidArgument(
          "its {} and {} have the shapes of a DETR, but its class scores are within 0..1 and not "
          "logits",
          ToString(logits.info), ToString(boxes.info));
    }
    // On a made-up picture most queries are "no object"; or, without that class, all are low.
    const int64_t columns = logits.info.shape[2];
    int64_t queries = 0, none = 0, low = 0;
    for (auto q = logits.values.begin(); q != logits.values.end(); q += columns, ++queries) {
      const auto best = std::max_element(q, q + columns);
      none += best == q + columns - 1;
      low += *best < 0;
    }
    const bool softmax = none * 10 >= queries * 7;
    const bool sigmoid = none * 10 < queries * 4 && low * 10 >= queries * 7;
    if (is_softmax() && softmax) return "softmax";
    if (!is_softmax() && (sigmoid || is_rf_detr())) return "sigmoid";
    if (softmax || sigmoid) {
      return InvalidArgument("its {} are not the logits of {}", ToString(logits.info), name());
    }
    return InvalidArgument(
        "its {} and {} are those of a DETR; whether its logits want softmax (with a last class for "
        "\"no object\") or sigmoid cannot be seen: describe it by `family: detr` with `layout: "
        "softmax`, or by `family: rtdetr_logits` with `layout: sigmoid`",
        ToString(logits.info), ToString(boxes.info));
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    const std::string_view layout = is_softmax() ? "softmax" : "sigmoid";
    if (spec.layout != layout) {
      return InvalidArgument("model {}: unknown layout \"{}\" of family {}; it is {}", spec.name,
                             spec.layout, name(), layout);
    }
    SL_ASSIGN_OR_RETURN(ScoredBoxes form, ScoredBoxesFor(spec, outputs, 3, is_softmax() ? 1 : 0));
    form.corners = ScoredBoxes::Corners::kCxcywhFrac;
    form.score =
        is_softmax() ? ScoredBoxes::Score::kSoftmaxLastIsNone : ScoredBoxes::Score::kSigmoid;
    form.several = !is_softmax();
    return std::make_unique<ScoredBoxesHead>(form);
  }

 protected:
  virtual bool is_softmax() const { return false; }
  virtual bool is_normalised() const { return true; }
  virtual bool is_rf_detr() const { return false; }

 private:
  static bool IsNamedAsRfDetr(std::span<const ProbeOutput> outputs) {
    return std::ranges::any_of(outputs, [](const ProbeOutput& o) { return o.info.name == "dets"; });
  }
};

class Detr : public SetFamily {
  std::string_view name() const override { return "detr"; }
  bool is_softmax() const override { return true; }
};

class RtdetrLogits : public SetFamily {
  std::string_view name() const override { return "rtdetr_logits"; }
  bool is_normalised() const override { return false; }
};

class RfDetr : public SetFamily {
  std::string_view name() const override { return "rf_detr"; }
  bool is_rf_detr() const override { return true; }
};

}  // namespace

const ModelFamily& DetrFamily() {
  static const Detr family;
  return family;
}

const ModelFamily& RtdetrLogitsFamily() {
  static const RtdetrLogits family;
  return family;
}

const ModelFamily& RfDetrFamily() {
  static const RfDetr family;
  return family;
}

}  // namespace sightline
