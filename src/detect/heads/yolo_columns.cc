#include "detect/heads/yolo_columns.h"

#include <algorithm>
#include <array>
#include <span>

#include "detect/heads/ultralytics.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: the heads' own

// Boxes looked at together: their running maxima fit the first-level cache, and each plane's share
// is some cache lines in a row.
constexpr int64_t kTile = 512;

absl::Status CheckScores(const ProbeOutput& output, int classes, std::string_view family) {
  const int64_t boxes = output.info.shape[2];
  const auto scores = std::span(output.values).subspan(4 * boxes, classes * boxes);
  const auto fine = std::ranges::count_if(scores, IsWithinUnit);
  if (static_cast<double>(fine) >= kNearlyAll * static_cast<double>(scores.size())) {
    return absl::OkStatus();
  }
  return InvalidArgument(
      "its {} has the shape of {}, but only {:.0f} % of its class scores are within 0..1: its "
      "export lacks the last sigmoid, or it is another task (keypoints, oriented boxes) or family; "
      "describe it by `family` and `classes` if you know it",
      ToString(output.info), family, 100.0 * fine / std::max<size_t>(scores.size(), 1));
}

absl::Status CheckBoxes(const ProbeOutput& output, int width, int height, std::string_view family) {
  const int64_t boxes = output.info.shape[2];
  const float* x = output.values.data();
  const float* y = x + boxes;
  const auto centres = std::span(output.values).first(2 * boxes);
  const double span = std::max(width, height);
  const auto inside =
      std::ranges::count_if(centres, [&](float v) { return v > -span * 0.5 && v < span * 1.5; });
  double spread = 0;
  for (int64_t i = 0; i < boxes; ++i) spread = std::max<double>({spread, x[i], y[i]});
  // A grid over the whole picture reaches to its far side, whatever it sees there.
  if (static_cast<double>(inside) >= 0.9 * static_cast<double>(centres.size()) &&
      spread > 0.5 * std::min(width, height)) {
    return absl::OkStatus();
  }
  return InvalidArgument(
      "its {} has the shape of {}, but its boxes are not in pixels of the {}x{} input (the largest "
      "centre is {:.3g}){}",
      ToString(output.info), family, width, height, spread,
      spread <= 1.5 ? "; they look like fractions of the picture: export it to ONNX by Ultralytics "
                      "itself, which gives pixels"
                    : "");
}

}  // namespace

absl::StatusOr<YoloColumnsHead::Planes> YoloColumnsHead::PlanesOf(const RawResult& raw) const {
  const size_t o = columns_.output;
  const bool known = o < raw.outputs.size() && raw.outputs[o].shape.size() == 3;
  const std::array<int64_t, 3> wanted = {-1, first_extra() + columns_.extra,
                                         known ? raw.outputs[o].shape[2] : -1};
  SL_ASSIGN_OR_RETURN(const float* data, EntryOf(raw, o, wanted));
  return Planes{data, wanted[2]};
}

Box YoloColumnsHead::TensorBox(const Planes& p, int64_t box) const {
  const float cx = p.At(0, box), cy = p.At(1, box);
  const float half_w = p.At(2, box) * 0.5f, half_h = p.At(3, box) * 0.5f;
  return {cx - half_w, cy - half_h, cx + half_w, cy + half_h};
}

absl::Status YoloColumnsHead::Decode(const RawResult& raw, float min_confidence,
                                     std::vector<Detection>* out) const {
  SL_ASSIGN_OR_RETURN(const Planes planes, PlanesOf(raw));
  int64_t nothing_but_nan = 0;
  std::array<float, kTile> best;
  for (int64_t from = 0; from < planes.boxes; from += kTile) {
    const int64_t count = std::min(kTile, planes.boxes - from);
    best.fill(-1);
    for (int c = 0; c < columns_.classes; ++c) {
      const float* scores = planes.data + (4 + c) * planes.boxes + from;
      // NaN never wins.
      for (int64_t i = 0; i < count; ++i) best[i] = scores[i] > best[i] ? scores[i] : best[i];
    }
    for (int64_t i = 0; i < count; ++i) {
      const float score = best[i];
      nothing_but_nan += score == -1;
      if (!(score > min_confidence)) continue;
      if (score > kMaxScore) {
        if (std::isfinite(score)) return NotProbabilities(score);
        continue;
      }
      const int64_t box = from + i;
      const Box found = raw.mapping.ToImage(TensorBox(planes, box));
      if (!IsUsable(found)) continue;
      int32_t class_id = 0;
      while (planes.At(4 + class_id, box) != score) ++class_id;
      out->push_back({found, std::min(score, 1.0f), class_id, static_cast<int32_t>(box)});
    }
  }
  if (planes.boxes > 0 && nothing_but_nan == planes.boxes) return NothingButNan();
  return absl::OkStatus();
}

absl::StatusOr<YoloColumns> ColumnsFor(const ModelSpec& spec, std::span<const TensorInfo> outputs,
                                       size_t output, std::optional<int> extra) {
  const TensorInfo& info = outputs[output];
  if (info.shape.size() != 3 || info.shape[1] < 5 || info.shape[1] > 200'000) {
    return InvalidArgument(
        "model {}: family {} has an output [batch, 4 + classes{}, boxes], this file has {}; set "
        "`outputs` in its model.yaml if another one is meant",
        spec.name, spec.family, extra == 0 ? "" : " + more", ToString(info));
  }
  const auto planes = static_cast<int>(info.shape[1]);
  int classes = spec.classes;
  if (classes == 0 && spec.labels != nullptr) classes = static_cast<int>(spec.labels->names.size());
  if (extra) classes = planes - 4 - *extra;
  if (classes == 0) classes = 1;
  if (classes < 1 || 4 + classes > planes) {
    return InvalidArgument(
        "model {}: {} has {} planes, too few for a box and {} classes; correct `classes` or "
        "`labels` in its model.yaml",
        spec.name, ToString(info), planes, classes);
  }
  if (spec.classes > 0 && spec.classes != classes) {
    return InvalidArgument(
        "model {}: its model.yaml says {} classes, but {} is for {}; correct `classes`", spec.name,
        spec.classes, ToString(info), classes);
  }
  SL_RETURN_IF_ERROR(CheckLabels(spec, classes));
  return YoloColumns{output, classes, planes - 4 - classes};
}

bool AreColumns(const TensorInfo& output, int64_t least, const SeenModel& seen) {
  const std::vector<int64_t>& s = output.shape;
  return s.size() == 3 && s[1] >= least && s[1] <= 100'000 &&
         ultralytics::IsCellCount(s[2], seen.width, seen.height);
}

absl::Status CheckColumns(const SeenModel& seen, const FamilyMatch& match,
                          std::string_view family) {
  const ProbeOutput& output = seen.outputs[match.outputs[0]];
  SL_RETURN_IF_ERROR(CheckScores(output, match.classes, family));
  return CheckBoxes(output, seen.width, seen.height, family);
}

}  // namespace sightline
