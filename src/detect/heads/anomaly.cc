// Anomalies: how unlike what is usual each place of a picture is. Two families, both to be told,
// since their outputs look like those of others.
//   padim:        one output [B, depth, rows, columns] of features, and statistics of good pictures
//                 in spec.companion_file (see anomaly_statistics.h). The distance of Mahalanobis at
//                 every position, enlarged to the input, blurred (sigma 4); score = the largest
//                 (PaDiM, Defard et al. 2021, arXiv 2011.08785)
//   autoencoder:  one output of the input's shape. The mean over the channels of the squared
//                 difference; score = its mean (layout "mean") or its largest value ("largest")
// Results are an AnomalyMap of the input's size.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "detect/anomaly_fit.h"
#include "detect/anomaly_statistics.h"
#include "detect/family.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: this family's share of it

constexpr double kSigma = 4;
constexpr int kRadius = 16;  // 4 sigma

Box WholeInput(const RawResult& raw, int width, int height) {
  return raw.mapping.ToImage({0, 0, static_cast<float>(width), static_cast<float>(height)});
}

// Bilinearly to width x height, half-pixel centres.
std::vector<double> Enlarge(const std::vector<double>& grid, int columns, int rows, int width,
                            int height) {
  std::vector<double> large(static_cast<size_t>(width) * height);
  const auto place = [](int i, int from, int to) {
    return std::max(0.0, (i + 0.5) * from / to - 0.5);
  };
  for (int y = 0; y < height; ++y) {
    const double at_y = place(y, rows, height);
    const int top = std::min(static_cast<int>(at_y), rows - 1);
    const int bottom = std::min(top + 1, rows - 1);
    for (int x = 0; x < width; ++x) {
      const double at_x = place(x, columns, width);
      const int left = std::min(static_cast<int>(at_x), columns - 1);
      const int right = std::min(left + 1, columns - 1);
      const auto row = [&](int r) {
        const double* const v = grid.data() + static_cast<size_t>(r) * columns;
        return v[left] + (v[right] - v[left]) * (at_x - left);
      };
      const double above = row(top);
      large[static_cast<size_t>(y) * width + x] = above + (row(bottom) - above) * (at_y - top);
    }
  }
  return large;
}

// Along one side; beyond the edge the picture is mirrored, the edge itself repeated.
void BlurLine(double* values, int count, size_t step, const std::array<double, kRadius + 1>& kernel,
              std::vector<double>& line) {
  line.resize(count);
  for (int i = 0; i < count; ++i) line[i] = values[i * step];
  const auto mirrored = [count](int i) {
    while (i < 0 || i >= count) i = i < 0 ? -1 - i : 2 * count - 1 - i;
    return i;
  };
  for (int i = 0; i < count; ++i) {
    double sum = kernel[0] * line[i];
    if (i >= kRadius && i + kRadius < count) {
      for (int k = 1; k <= kRadius; ++k) sum += kernel[k] * (line[i - k] + line[i + k]);
    } else {
      for (int k = 1; k <= kRadius; ++k) {
        sum += kernel[k] * (line[mirrored(i - k)] + line[mirrored(i + k)]);
      }
    }
    values[i * step] = sum;
  }
}

void Blur(std::vector<double>& map, int width, int height) {
  std::array<double, kRadius + 1> kernel{};
  for (int i = 0; i <= kRadius; ++i) kernel[i] = std::exp(-0.5 * i * i / (kSigma * kSigma));
  const double sum = 2 * std::accumulate(kernel.begin(), kernel.end(), 0.0) - kernel[0];
  for (double& k : kernel) k /= sum;
  std::vector<double> line;
  for (int x = 0; x < width; ++x) BlurLine(map.data() + x, height, width, kernel, line);
  for (int y = 0; y < height; ++y) {
    BlurLine(map.data() + static_cast<size_t>(y) * width, width, 1, kernel, line);
  }
}

class PadimHead : public WholePictureHead {
 public:
  PadimHead(size_t output, std::shared_ptr<const GaussianStatistics> statistics, int width,
            int height)
      : output_(output), statistics_(std::move(statistics)), width_(width), height_(height) {}

  int classes() const override { return 0; }

  absl::Status Complete(const RawResult& raw, Detections* result) const override {
    const GaussianStatistics& s = *statistics_;
    const std::array<int64_t, 4> wanted = {-1, s.depth, s.rows, s.columns};
    SL_ASSIGN_OR_RETURN(const float* features, EntryOf(raw, output_, wanted));
    std::vector<double> map(s.positions()), from_mean(s.depth);
    for (size_t p = 0; p < s.positions(); ++p) {
      for (int d = 0; d < s.depth; ++d) {
        const size_t at = static_cast<size_t>(d) * s.positions() + p;
        from_mean[d] = static_cast<double>(features[at]) - s.mean[at];
      }
      const float* row = s.inverse.data() + p * s.depth * s.depth;
      double sum = 0;
      for (int i = 0; i < s.depth; ++i, row += s.depth) {
        double product = 0;
        for (int j = 0; j < s.depth; ++j) product += row[j] * from_mean[j];
        sum += product * from_mean[i];
      }
      map[p] = std::sqrt(std::max(sum, 0.0));
      if (!std::isfinite(sum) || !std::isfinite(static_cast<float>(map[p]))) {
        return DataLoss("the model gave features that are NaN, infinite or far too large");
      }
    }
    map = Enlarge(map, s.columns, s.rows, width_, height_);
    Blur(map, width_, height_);
    AnomalyMap& anomaly = result->anomaly;
    anomaly.extent_px = WholeInput(raw, width_, height_);
    anomaly.width = width_;
    anomaly.height = height_;
    anomaly.values.assign(map.begin(), map.end());
    anomaly.score = *std::ranges::max_element(anomaly.values);
    return absl::OkStatus();
  }

 private:
  const size_t output_;
  const std::shared_ptr<const GaussianStatistics> statistics_;
  const int width_;  // of the input tensor
  const int height_;
};

class UnfittedHead : public WholePictureHead {
 public:
  explicit UnfittedHead(std::string name) : name_(std::move(name)) {}
  int classes() const override { return 0; }
  absl::Status Complete(const RawResult&, Detections*) const override {
    return FailedPrecondition(
        "the model has not seen good pictures yet: sightline models fit {} --images FOLDER", name_);
  }

 private:
  const std::string name_;
};

class Padim : public ModelFamily {
 public:
  std::string_view name() const override { return kFittedFamily; }
  std::string_view outputs() const override { return "[batch, depth, rows, columns]"; }
  bool preparation_varies() const override { return true; }

  ModelSpec Defaults(int width, int height) const override {
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kRgb);
    NormaliseAsImageNet(&spec.input);
    spec.layout = "features";
    spec.confidence_threshold = 0;
    spec.nms.kind = NmsSettings::Kind::kNone;
    return spec;
  }

  // Never by itself: a map of features may be anything.
  std::optional<FamilyMatch> MatchShapes(const SeenModel&) const override { return std::nullopt; }
  absl::StatusOr<std::string> LayoutByValues(const SeenModel&, const FamilyMatch&) const override {
    return InvalidArgument("features of a picture do not say what they are for");
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant, MeantOutputs(spec, outputs, 1));
    SL_RETURN_IF_ERROR(CheckLayout(spec, {"features"}));
    const TensorInfo& info = outputs[meant[0]];
    if (info.shape.size() != 4) {
      return InvalidArgument(
          "model {}: family {} has one output [batch, depth, rows, columns] of features, this file "
          "has {}; correct `family` or `outputs` in its model.yaml",
          spec.name, name(), DescribeTensors(outputs));
    }
    if (spec.companion_file.empty()) return std::make_unique<UnfittedHead>(spec.name);
    auto statistics = ReadStatistics(spec.companion_file, spec.companion_sha256);
    if (!statistics.ok()) {
      return WithContext(statistics.status(), fmt::format("model {}", spec.name));
    }
    const GaussianStatistics& s = **statistics;
    if (!ShapeFits(info.shape, std::array<int64_t, 4>{-1, s.depth, s.rows, s.columns})) {
      return InvalidArgument(
          "model {}: its statistics are of features [{}, {}, {}], its file gives {}: sightline "
          "models fit {} --images FOLDER",
          spec.name, s.depth, s.rows, s.columns, ToString(info), spec.name);
    }
    return std::make_unique<PadimHead>(meant[0], *std::move(statistics), spec.input.width,
                                       spec.input.height);
  }
};

class AutoencoderHead : public WholePictureHead {
 public:
  AutoencoderHead(size_t output, bool largest, const TensorRecipe& input)
      : output_(output),
        largest_(largest),
        nchw_(input.layout == TensorLayout::kNchw),
        width_(input.width),
        height_(input.height) {}

  int classes() const override { return 0; }

  absl::Status Complete(const RawResult& raw, Detections* result) const override {
    const std::array<int64_t, 4> wanted = {-1, nchw_ ? 3 : height_, nchw_ ? height_ : width_,
                                           nchw_ ? width_ : 3};
    SL_ASSIGN_OR_RETURN(const float* made, EntryOf(raw, output_, wanted));
    if (raw.input == nullptr) return Internal("the picture's tensor was not kept");
    const size_t cells = static_cast<size_t>(width_) * height_;
    const size_t step = nchw_ ? cells : 1, cell = nchw_ ? 1 : 3;
    AnomalyMap& anomaly = result->anomaly;
    anomaly.extent_px = WholeInput(raw, width_, height_);
    anomaly.width = width_;
    anomaly.height = height_;
    anomaly.values.resize(cells);
    double sum = 0;
    for (size_t i = 0; i < cells; ++i) {
      double error = 0;
      for (size_t c = 0; c < 3; ++c) {
        const size_t at = i * cell + c * step;
        const double difference = static_cast<double>(made[at]) - raw.input[at];
        error += difference * difference / 3;
      }
      anomaly.values[i] = static_cast<float>(error);
      sum += error;
    }
    const double mean = sum / static_cast<double>(cells);
    anomaly.score = largest_ ? *std::ranges::max_element(anomaly.values) : static_cast<float>(mean);
    if (std::isfinite(static_cast<float>(sum))) return absl::OkStatus();
    anomaly = {};
    return DataLoss("the model gave a picture of numbers that are NaN, infinite or far too large");
  }

 private:
  const size_t output_;
  const bool largest_;
  const bool nchw_;
  const int width_;  // of the input tensor
  const int height_;
};

class Autoencoder : public ModelFamily {
 public:
  std::string_view name() const override { return "autoencoder"; }
  std::string_view outputs() const override { return "[batch, 3, height, width]"; }
  bool preparation_varies() const override { return true; }

  // Pixels as 0..1; trainings differ.
  ModelSpec Defaults(int width, int height) const override {
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kRgb, 1 / 255.0f);
    spec.layout = "mean";
    spec.confidence_threshold = 0;
    spec.nms.kind = NmsSettings::Kind::kNone;
    return spec;
  }

  // Never by itself: three maps of the input's size may as well be scores of three classes.
  std::optional<FamilyMatch> MatchShapes(const SeenModel&) const override { return std::nullopt; }
  absl::StatusOr<std::string> LayoutByValues(const SeenModel&, const FamilyMatch&) const override {
    return InvalidArgument("a picture does not say what it is for");
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant, MeantOutputs(spec, outputs, 1));
    SL_RETURN_IF_ERROR(CheckLayout(spec, {"mean", "largest"}));
    const TensorRecipe& input = spec.input;
    const bool nchw = input.layout == TensorLayout::kNchw;
    const std::array<int64_t, 4> wanted = {
        -1, nchw ? 3 : input.height, nchw ? input.height : input.width, nchw ? input.width : 3};
    if (!ShapeFits(outputs[meant[0]].shape, wanted) || input.dtype != DataType::kFloat32) {
      return InvalidArgument(
          "model {}: family {} gives back its float32 input of {}x{}, this file takes {} and gives "
          "{}; correct `family` or `outputs` in its model.yaml",
          spec.name, name(), input.width, input.height, ToString(input.dtype),
          DescribeTensors(outputs));
    }
    return std::make_unique<AutoencoderHead>(meant[0], spec.layout == "largest", input);
  }
};

}  // namespace

const ModelFamily& PadimFamily() {
  static const Padim family;
  return family;
}

const ModelFamily& AutoencoderFamily() {
  static const Autoencoder family;
  return family;
}

}  // namespace sightline
