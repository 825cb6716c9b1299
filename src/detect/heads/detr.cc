// Transformers that predict a set (Carion et al. 2020, arXiv 2005.12872): logits [B, Q, C'] and
// boxes [B, Q, 4], cx, cy, w, h in fractions of the input, nothing to suppress.
//   layout "softmax": C' = C + 1, the last being "no object"; each query is its best class (DETR,
//                     Conditional DETR, YOLOS, Table Transformer)
//   layout "sigmoid": C' = C; every class of a query is a candidate of its own, and the best Q of
//                     all are kept (RT-DETR, D-FINE, RF-DETR, Deformable DETR, DINO)
// Source: transformers 5, image processors' post_process_object_detection.
#include <algorithm>
#include <cmath>

#include "detect/heads/scored_boxes.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

constexpr int64_t kMostQueries = 5'000;  // chosen; the families have 100 to 900

class Detr : public ModelFamily {
 public:
  std::string_view name() const override { return "detr"; }
  std::string_view outputs() const override {
    return "logits [batch, queries, classes] and boxes [batch, queries, 4]";
  }

  // The picture stretched to the input: RT-DETR, D-FINE and RF-DETR; the last of them and DETR
  // itself also normalise by ImageNet's mean and deviation, which no file shows.
  ModelSpec Defaults(int width, int height) const override {
    ModelSpec spec;
    spec.family = name();
    spec.input.width = width;
    spec.input.height = height;
    spec.input.channels = ChannelOrder::kRgb;
    spec.input.scale = {1 / 255.0f, 1 / 255.0f, 1 / 255.0f};
    spec.confidence_threshold = 0.5f;
    spec.nms.kind = NmsSettings::Kind::kNone;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const auto found = FindBoxesAndScores(seen);
    if (!found || found->rows > kMostQueries || found->columns < 2) return std::nullopt;
    return FamilyMatch{
        {found->boxes, found->scores},
        found->columns,
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
    if (none * 10 >= queries * 7) return "softmax";
    if (low * 10 >= queries * 7 && none * 10 < queries * 3) return "sigmoid";
    return InvalidArgument(
        "its {} and {} are those of a DETR; whether its logits want softmax (with a last class for "
        "\"no object\") or sigmoid cannot be seen: describe it by `family: detr` and `layout: "
        "softmax` or `layout: sigmoid`",
        ToString(logits.info), ToString(boxes.info));
  }

  int ClassesIn(const FamilyMatch& match, std::string_view layout) const override {
    return layout == "softmax" ? match.classes - 1 : match.classes;
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    if (spec.layout != "softmax" && spec.layout != "sigmoid") {
      return InvalidArgument(
          "model {}: unknown layout \"{}\" of family {}; it is softmax or "
          "sigmoid",
          spec.name, spec.layout, name());
    }
    const bool softmax = spec.layout == "softmax";
    SL_ASSIGN_OR_RETURN(ScoredBoxes form, ScoredBoxesFor(spec, outputs, 3, softmax ? 1 : 0));
    form.corners = ScoredBoxes::Corners::kCxcywhFrac;
    form.score = softmax ? ScoredBoxes::Score::kSoftmaxLastIsNone : ScoredBoxes::Score::kSigmoid;
    form.several = !softmax;
    return std::make_unique<ScoredBoxesHead>(form);
  }
};

}  // namespace

const ModelFamily& DetrFamily() {
  static const Detr family;
  return family;
}

}  // namespace sightline
