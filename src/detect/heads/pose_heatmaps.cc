// Keypoints of one object by heat maps: one output [B, K, rows, columns], a map for each keypoint,
// of a picture that shows the object alone (a crop). Gives one result with the input's bounds as its
// box, the mean of the maps' largest values as its confidence, and K keypoints.
//   layout "quarter_offset": the largest cell, moved a quarter of a cell to its larger neighbour;
//                            a cell is a whole part of the input (HRNet, SimpleBaseline; Sun et al.
//                            2019, arXiv 1902.09212; core/inference.py of the reference)
//   layout "dark_udp":       one Newton step on the logarithm of the blurred map (DARK, Zhang et al.
//                            2020, arXiv 1910.06278); cells lie from edge to edge of the input (UDP,
//                            Huang et al. 2020, arXiv 1911.07524), as in ViTPose (transformers 5)
#include <algorithm>
#include <array>
#include <cmath>

#include "detect/family.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

constexpr int64_t kMostKeypoints = 1'000;  // chosen; whole-body models have 133
constexpr int64_t kMostCells = 1 << 20;    // of a map; chosen

struct Map {
  const float* values = nullptr;
  int rows = 0;
  int columns = 0;
  // Beyond the edge: the edge.
  float At(int x, int y) const {
    return values[static_cast<size_t>(std::clamp(y, 0, rows - 1)) * columns +
                  std::clamp(x, 0, columns - 1)];
  }
};

struct Peak {
  int x = 0;
  int y = 0;
  float value = 0;
};

Peak PeakOf(const Map& map) {
  Peak peak{0, 0, -std::numeric_limits<float>::infinity()};
  for (int y = 0; y < map.rows; ++y) {
    for (int x = 0; x < map.columns; ++x) {
      const float v = map.values[static_cast<size_t>(y) * map.columns + x];
      if (v > peak.value) peak = {x, y, v};
    }
  }
  return peak;
}

PointF QuarterOffset(const Map& map, const Peak& peak) {
  PointF at = {static_cast<float>(peak.x), static_cast<float>(peak.y)};
  const bool inside = peak.x > 1 && peak.x < map.columns - 1 && peak.y > 1 && peak.y < map.rows - 1;
  if (!inside) return at;
  const auto sign = [](float v) { return v > 0 ? 1.0f : v < 0 ? -1.0f : 0.0f; };
  at.x += 0.25f * sign(map.At(peak.x + 1, peak.y) - map.At(peak.x - 1, peak.y));
  at.y += 0.25f * sign(map.At(peak.x, peak.y + 1) - map.At(peak.x, peak.y - 1));
  return at;
}

// The map blurred by a Gaussian and as a logarithm, about one place.
class LogBlur {
 public:
  explicit LogBlur(const Map& map) : map_(map) {
    constexpr double kSigma = 0.8;
    double sum = 0;
    for (int i = -kRadius; i <= kRadius; ++i) {
      sum += kernel_[i + kRadius] = std::exp(-0.5 * i * i / (kSigma * kSigma));
    }
    for (double& k : kernel_) k /= sum;
  }

  double At(int x, int y) const {
    // Beyond the edge the blurred map goes on with its edge.
    x = std::clamp(x, 0, map_.columns - 1);
    y = std::clamp(y, 0, map_.rows - 1);
    double sum = 0;
    for (int j = -kRadius; j <= kRadius; ++j) {
      double row = 0;
      for (int i = -kRadius; i <= kRadius; ++i) {
        row += kernel_[i + kRadius] *
               map_.At(Mirrored(x + i, map_.columns), Mirrored(y + j, map_.rows));
      }
      sum += kernel_[j + kRadius] * row;
    }
    return std::log(std::clamp(sum, 0.001, 50.0));
  }

 private:
  static constexpr int kRadius = 5;
  static int Mirrored(int i, int size) {  // the edge itself is repeated
    while (i < 0 || i >= size) i = i < 0 ? -1 - i : 2 * size - 1 - i;
    return i;
  }
  const Map& map_;
  std::array<double, 2 * kRadius + 1> kernel_{};
};

PointF DarkOffset(const Map& map, const Peak& peak) {
  const LogBlur f(map);
  const int x = peak.x, y = peak.y;
  const double c = f.At(x, y), right = f.At(x + 1, y), left = f.At(x - 1, y);
  const double below = f.At(x, y + 1), above = f.At(x, y - 1);
  const double dx = 0.5 * (right - left), dy = 0.5 * (below - above);
  constexpr double kEps = std::numeric_limits<float>::epsilon();
  const double dxx = right - 2 * c + left + kEps, dyy = below - 2 * c + above + kEps;
  const double dxy =
      0.5 * (f.At(x + 1, y + 1) - right - below + c + c - left - above + f.At(x - 1, y - 1));
  const double det = dxx * dyy - dxy * dxy;
  if (det == 0 || !std::isfinite(det)) return {static_cast<float>(x), static_cast<float>(y)};
  return {static_cast<float>(x - (dyy * dx - dxy * dy) / det),
          static_cast<float>(y - (dxx * dy - dxy * dx) / det)};
}

class PoseHeatmapsHead : public Head {
 public:
  PoseHeatmapsHead(size_t output, int keypoints, bool dark, int width, int height)
      : output_(output), keypoints_(keypoints), dark_(dark), width_(width), height_(height) {}

  int classes() const override { return 1; }

  absl::Status Decode(const RawResult& raw, float min_confidence,
                      std::vector<Detection>* out) const override {
    SL_ASSIGN_OR_RETURN(Map map, First(raw));
    double sum = 0;
    for (int k = 0; k < keypoints_; ++k, map.values += int64_t{map.rows} * map.columns) {
      sum += PeakOf(map).value;
    }
    const auto score = static_cast<float>(sum / keypoints_);
    if (!std::isfinite(score)) return NothingButNan();
    if (!(score > min_confidence)) return absl::OkStatus();
    const Box box =
        raw.mapping.ToImage({0, 0, static_cast<float>(width_), static_cast<float>(height_)});
    if (IsUsable(box)) out->push_back({box, std::min(score, 1.0f), 0, 0});
    return absl::OkStatus();
  }

  absl::Status Complete(const RawResult& raw, Detections* result) const override {
    if (result->items.empty()) return absl::OkStatus();
    SL_ASSIGN_OR_RETURN(Map map, First(raw));
    // In pixels of the input for one cell.
    const float per_x = static_cast<float>(width_) / static_cast<float>(map.columns - dark_);
    const float per_y = static_cast<float>(height_) / static_cast<float>(map.rows - dark_);
    result->keypoints_per_item = keypoints_;
    for (int k = 0; k < keypoints_; ++k, map.values += int64_t{map.rows} * map.columns) {
      const Peak peak = PeakOf(map);
      const PointF cell = dark_ ? DarkOffset(map, peak) : QuarterOffset(map, peak);
      const Box at = raw.mapping.ToImage({cell.x * per_x, cell.y * per_y, 0, 0});
      result->keypoints.push_back({{at.x1, at.y1}, std::clamp(peak.value, 0.0f, 1.0f)});
    }
    result->items[0].detail = 0;
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<Map> First(const RawResult& raw) const {
    std::array<int64_t, 4> wanted = {-1, keypoints_, -1, -1};
    if (output_ < raw.outputs.size() && raw.outputs[output_].shape.size() == 4) {
      wanted[2] = raw.outputs[output_].shape[2];
      wanted[3] = raw.outputs[output_].shape[3];
    }
    SL_ASSIGN_OR_RETURN(const float* values, EntryOf(raw, output_, wanted));
    if (wanted[2] < 2 || wanted[3] < 2 || wanted[2] * wanted[3] > kMostCells) {
      return DataLoss("the model gave heat maps of {}x{} cells", wanted[3], wanted[2]);
    }
    return Map{values, static_cast<int>(wanted[2]), static_cast<int>(wanted[3])};
  }

  const size_t output_;
  const int keypoints_;
  const bool dark_;
  const int width_;  // of the input tensor
  const int height_;
};

class PoseHeatmaps : public ModelFamily {
 public:
  std::string_view name() const override { return "pose_heatmaps"; }
  std::string_view outputs() const override { return "[batch, keypoints, rows, columns]"; }
  bool preparation_varies() const override { return true; }

  ModelSpec Defaults(int width, int height) const override {
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kRgb);
    spec.input.resize = ResizeMode::kLetterboxCenter;
    NormaliseAsImageNet(&spec.input);
    spec.confidence_threshold = 0;
    spec.nms.kind = NmsSettings::Kind::kNone;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    if (seen.outputs.size() != 1) return std::nullopt;
    const TensorInfo& info = seen.outputs[0].info;
    const std::vector<int64_t>& s = info.shape;
    if (s.size() != 4 || s[1] < 2 || s[1] > kMostKeypoints) return std::nullopt;
    if (s[2] != seen.height / 4 || s[3] != seen.width / 4) return std::nullopt;
    return FamilyMatch{{0},
                       1,
                       static_cast<int>(s[1]),
                       fmt::format("{}: heat maps of {} keypoints at a quarter of the input's size",
                                   ToString(info), s[1])};
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    const ProbeOutput& output = seen.outputs[match.outputs[0]];
    if (output.info.name == "heatmaps") return "dark_udp";  // as transformers names ViTPose's
    const bool small = std::ranges::all_of(output.values, [](float v) { return std::abs(v) < 2; });
    if (!small) {
      return InvalidArgument("its {} has the shape of heat maps, but values far beyond 0..1",
                             ToString(output.info));
    }
    return InvalidArgument(
        "its {} may be heat maps of keypoints; describe it by `family: pose_heatmaps` with "
        "`layout: "
        "quarter_offset` (HRNet) or `layout: dark_udp` (ViTPose), or by `family: segmenter` with "
        "`layout: argmax`",
        ToString(output.info));
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant, MeantOutputs(spec, outputs, 1));
    const std::vector<int64_t>& s = outputs[meant[0]].shape;
    const bool dark = spec.layout == "dark_udp";
    if (s.size() != 4 || s[1] < 1 || s[1] > kMostKeypoints ||
        (!dark && spec.layout != "quarter_offset")) {
      return InvalidArgument(
          "model {}: family {} has one output [batch, keypoints, rows, columns] in layout "
          "quarter_offset or dark_udp; this file has {}, and its model.yaml says layout \"{}\"",
          spec.name, name(), DescribeTensors(outputs), spec.layout);
    }
    return std::make_unique<PoseHeatmapsHead>(meant[0], static_cast<int>(s[1]), dark,
                                              spec.input.width, spec.input.height);
  }
};

}  // namespace

const ModelFamily& PoseHeatmapsFamily() {
  static const PoseHeatmaps family;
  return family;
}

}  // namespace sightline
