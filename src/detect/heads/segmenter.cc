// Semantic segmentation: one output [B, C, rows, columns], a number for each class and place.
//   layout "argmax":               the class with the highest number (DeepLabV3, U-Net, SegFormer)
//   layout "binary_logits":        C = 1: class 1 where the number is above 0
//   layout "binary_probabilities": C = 1: class 1 where it is above 0.5
// Results are a ClassMap on the output's own grid.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "detect/heads/scored_boxes.h"
#include "detect/heads/ultralytics.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

constexpr int64_t kTile = 1024;                // places looked at together, for the cache's sake
constexpr float kMostLogit = 100;              // of a map of logits; chosen
constexpr int64_t kMostClasses = 4096;         // chosen
constexpr int64_t kMostCells = 4096ll * 4096;  // of a map; chosen

class SegmenterHead : public WholePictureHead {
 public:
  SegmenterHead(size_t output, int channels, float threshold, int width, int height)
      : output_(output),
        channels_(channels),
        threshold_(threshold),
        width_(width),
        height_(height) {}

  int classes() const override { return std::max(channels_, 2); }

  absl::Status Complete(const RawResult& raw, Detections* result) const override {
    std::array<int64_t, 4> wanted = {-1, channels_, -1, -1};
    if (output_ < raw.outputs.size() && raw.outputs[output_].shape.size() == 4) {
      wanted[2] = raw.outputs[output_].shape[2];
      wanted[3] = raw.outputs[output_].shape[3];
    }
    SL_ASSIGN_OR_RETURN(const float* planes, EntryOf(raw, output_, wanted));
    const int64_t cells = wanted[2] * wanted[3];
    if (cells < 1 || cells > kMostCells) {
      return DataLoss("the model gave a map of {}x{} cells, none or more than can be stored",
                      wanted[3], wanted[2]);
    }
    ClassMap& map = result->class_map;
    map.extent_px =
        raw.mapping.ToImage({0, 0, static_cast<float>(width_), static_cast<float>(height_)});
    map.width = static_cast<int>(wanted[3]);
    map.height = static_cast<int>(wanted[2]);
    map.class_ids.assign(static_cast<size_t>(cells), 0);
    for (int64_t from = 0; from < cells; from += kTile) {
      const int64_t count = std::min(kTile, cells - from);
      uint16_t* classes = map.class_ids.data() + from;
      if (channels_ == 1) {
        for (int64_t i = 0; i < count; ++i) classes[i] = planes[from + i] > threshold_;
        continue;
      }
      std::array<float, kTile> best;
      best.fill(-std::numeric_limits<float>::infinity());  // NaN never wins
      for (int c = 0; c < channels_; ++c) {
        const float* plane = planes + c * cells + from;
        for (int64_t i = 0; i < count; ++i) {
          if (plane[i] > best[i]) {
            best[i] = plane[i];
            classes[i] = static_cast<uint16_t>(c);
          }
        }
      }
    }
    const int64_t entries = cells * channels_;
    if (cells > 0 && std::all_of(planes, planes + entries, [](float v) { return std::isnan(v); })) {
      return NothingButNan();
    }
    return absl::OkStatus();
  }

 private:
  const size_t output_;
  const int channels_;
  const float threshold_;  // of a single channel
  const int width_;        // of the input tensor
  const int height_;
};

class Segmenter : public ModelFamily {
 public:
  std::string_view name() const override { return "segmenter"; }
  std::string_view outputs() const override { return "[batch, classes, rows, columns]"; }
  bool preparation_varies() const override { return true; }

  // The picture stretched to the input, ImageNet's mean and deviation (torchvision, SegFormer,
  // segmentation_models).
  ModelSpec Defaults(int width, int height) const override {
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kRgb);
    NormaliseAsImageNet(&spec.input);
    spec.nms.kind = NmsSettings::Kind::kNone;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const auto notes = ultralytics::NotesOf(seen);
    if (!notes.task.empty() && notes.task != "semantic") return std::nullopt;
    if (seen.outputs.empty() || seen.outputs.size() > 2) return std::nullopt;
    // torchvision adds a second one for training; both are of one size.
    const std::vector<int64_t>& s = seen.outputs[0].info.shape;
    if (s.size() != 4 || s[1] < 1 || s[1] > kMostClasses) return std::nullopt;
    if (seen.outputs.size() == 2 && seen.outputs[1].info.shape != s) return std::nullopt;
    // The whole picture, or a half, quarter or eighth of it.
    bool whole = false;
    for (const int part : {1, 2, 4, 8}) {
      whole |= s[2] == (seen.height + part - 1) / part && s[3] == (seen.width + part - 1) / part;
    }
    if (!whole) return std::nullopt;
    const int classes = std::max(static_cast<int>(s[1]), 2);
    return FamilyMatch{
        {0},
        classes,
        0,
        fmt::format("{}: {} for each place of a {}x{} map of the picture",
                    ToString(seen.outputs[0].info),
                    s[1] == 1 ? "a number" : fmt::format("{} class scores", s[1]), s[3], s[2])};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    const ProbeOutput& output = seen.outputs[match.outputs[0]];
    const bool unit = ShareWithinUnit(output.values) == 1;
    const bool whole = output.info.shape[2] == seen.height;
    const auto is_small = [](float v) { return std::abs(v) < 2; };
    if (!whole && output.info.shape[1] > 1 && std::ranges::all_of(output.values, is_small)) {
      return InvalidArgument(
          "its {} may be class scores for each place or heat maps of keypoints; describe it by "
          "`family: segmenter` with `layout: argmax` if it is the former",
          ToString(output.info));
    }
    const auto [least, most] = std::ranges::minmax_element(output.values);
    if (output.info.shape[1] == 1) {
      if (unit) return "binary_probabilities";
      if (*least < 0 && *most < kMostLogit) return "binary_logits";
      return InvalidArgument(
          "its {} has one number for each place that is neither a probability nor a logit: a depth "
          "map, or a picture",
          ToString(output.info));
    }
    if (!unit && *most > kMostLogit && output.info.shape[1] == 3) {
      return InvalidArgument("its {} looks like a picture of its own, not like class scores",
                             ToString(output.info));
    }
    if (!unit) return "argmax";
    const int64_t cells = output.info.shape[2] * output.info.shape[3];
    int64_t ones = 0;
    for (int64_t i = 0; i < cells; ++i) {
      double sum = 0;
      for (int64_t c = 0; c < output.info.shape[1]; ++c) sum += output.values[c * cells + i];
      ones += std::abs(sum - 1) < 1e-2;
    }
    if (static_cast<double>(ones) >= kNearlyAll * static_cast<double>(cells)) return "argmax";
    return InvalidArgument(
        "its {} has the shape of class scores for each place, but its values are neither logits "
        "nor "
        "probabilities that add up to 1: heat maps of keypoints, a reconstructed picture, or "
        "classes "
        "that are independent of each other",
        ToString(output.info));
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant, MeantOutputs(spec, outputs, 1));
    const std::vector<int64_t>& s = outputs[meant[0]].shape;
    if (s.size() != 4 || s[1] < 1 || s[1] > kMostClasses) {
      return InvalidArgument(
          "model {}: family {} has one output [batch, classes, rows, columns], this file has {}; "
          "correct `family` or `outputs` in its model.yaml",
          spec.name, name(), DescribeTensors(outputs));
    }
    const auto channels = static_cast<int>(s[1]);
    SL_RETURN_IF_ERROR(CheckLabels(spec, std::max(channels, 2)));
    const bool fits = channels == 1
                          ? spec.layout == "binary_logits" || spec.layout == "binary_probabilities"
                          : spec.layout == "argmax";
    if (!fits) {
      return InvalidArgument(
          "model {}: layout \"{}\" of family {} does not go with {}; it is argmax for several "
          "channels, binary_logits or binary_probabilities for one",
          spec.name, spec.layout, name(), ToString(outputs[meant[0]]));
    }
    const float threshold = spec.layout == "binary_probabilities" ? 0.5f : 0.0f;
    return std::make_unique<SegmenterHead>(meant[0], channels, threshold, spec.input.width,
                                           spec.input.height);
  }
};

}  // namespace

const ModelFamily& SegmenterFamily() {
  static const Segmenter family;
  return family;
}

}  // namespace sightline
