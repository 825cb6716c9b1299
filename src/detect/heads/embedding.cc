// Embeddings of whole pictures: one vector [B, D] of a picture, given as a vector of length 1.
//   clip_image  CLIP's image tower (Radford et al. 2021, arXiv 2103.00020), output "image_embeds"
//   dinov2      DINOv2 (Oquab et al. 2023, arXiv 2304.07193), when it is told: other towers have the
//               same outputs
//   reid        re-identification, told by an input twice as high as wide (or three times)
//   embedding   any other
#include <algorithm>
#include <array>
#include <cmath>

#include "detect/family.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: these families' share of it

constexpr int64_t kMostNumbers = 65'536;  // chosen

class EmbeddingHead : public WholePictureHead {
 public:
  EmbeddingHead(size_t output, int numbers) : output_(output), numbers_(numbers) {}

  int classes() const override { return 0; }

  absl::Status Complete(const RawResult& raw, Detections* result) const override {
    SL_ASSIGN_OR_RETURN(const float* row,
                        EntryOf(raw, output_, std::array<int64_t, 2>{-1, numbers_}));
    double square = 0;
    for (int i = 0; i < numbers_; ++i) square += double{row[i]} * row[i];
    if (!std::isfinite(square)) return DataLoss("the model gave a vector with NaN or infinity");
    if (square == 0) return DataLoss("the model gave a vector of zeros, which has no direction");
    const double length = std::sqrt(square);
    result->embedding.resize(static_cast<size_t>(numbers_));
    for (int i = 0; i < numbers_; ++i) {
      result->embedding[i] = static_cast<float>(row[i] / length);
    }
    return absl::OkStatus();
  }

 private:
  const size_t output_;
  const int numbers_;
};

class Embedding : public ModelFamily {
 public:
  std::string_view name() const override { return "embedding"; }
  std::string_view outputs() const override { return "[batch, numbers]"; }
  bool preparation_varies() const override { return true; }

  ModelSpec Defaults(int width, int height) const override {
    ModelSpec spec = DefaultSpec(name(), width, height, ChannelOrder::kRgb);
    spec.input.resize = ResizeMode::kCenterCrop;
    spec.input.crop_from = CropFrom(width, height);
    spec.input.interpolation = Interpolation::kCubicAntialias;
    NormaliseAsImageNet(&spec.input);
    spec.nms.kind = NmsSettings::Kind::kNone;
    return spec;
  }

  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    for (size_t i = 0; i < seen.outputs.size(); ++i) {
      const TensorInfo& info = seen.outputs[i].info;
      const bool row =
          info.shape.size() == 2 && info.shape[1] >= 2 && info.shape[1] <= kMostNumbers;
      if (!row || !IsMeant(seen, info)) continue;
      return FamilyMatch{{i},
                         0,
                         0,
                         fmt::format("{}: {} numbers that stand for the whole picture",
                                     ToString(info), info.shape[1])};
    }
    return std::nullopt;
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch& match) const override {
    const ProbeOutput& output = seen.outputs[match.outputs[0]];
    double square = 0;
    for (int64_t i = 0; i < output.info.shape[1]; ++i) {
      square += double{output.values[i]} * output.values[i];
    }
    if (is_named() || std::abs(square - 1) < 1e-3) return "vector";
    return InvalidArgument(
        "its {} may be an embedding or the scores of a classifier; describe it by `family: {}` (or "
        "`family: reid`, `family: dinov2`, whose pictures are prepared otherwise) with `layout: "
        "vector`, or by `family: classifier` with `layout: logits`",
        ToString(output.info), name());
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_ASSIGN_OR_RETURN(const std::vector<size_t> meant, MeantOutputs(spec, outputs, 1));
    const std::vector<int64_t>& s = outputs[meant[0]].shape;
    if (s.size() != 2 || s[1] < 2 || s[1] > kMostNumbers || spec.layout != "vector") {
      return InvalidArgument(
          "model {}: family {} has one output [batch, numbers] in layout vector; this file has {}, "
          "and its model.yaml says layout \"{}\"",
          spec.name, name(), DescribeTensors(outputs), spec.layout);
    }
    return std::make_unique<EmbeddingHead>(meant[0], static_cast<int>(s[1]));
  }

 protected:
  virtual int CropFrom(int width, int height) const {
    return static_cast<int>(std::lround(std::max(width, height) * 256.0 / 224.0));
  }
  virtual bool is_named() const { return false; }
  virtual bool IsMeant(const SeenModel& seen, const TensorInfo& info) const {
    if (info.name == "image_embeds" || info.name == "image_embeddings") return false;
    return seen.outputs.size() == 1 && !IsPortrait(seen);
  }
  static bool IsPortrait(const SeenModel& seen) {
    return seen.height == 2 * seen.width || seen.height == 3 * seen.width;
  }
};

class ClipImage : public Embedding {
 public:
  std::string_view name() const override { return "clip_image"; }
  ModelSpec Defaults(int width, int height) const override {
    ModelSpec spec = Embedding::Defaults(width, height);
    spec.input.mean = {0.48145466f * 255, 0.4578275f * 255, 0.40821073f * 255};
    spec.input.scale = {1 / (0.26862954f * 255), 1 / (0.26130258f * 255), 1 / (0.27577711f * 255)};
    return spec;
  }

 private:
  int CropFrom(int width, int height) const override { return std::max(width, height); }
  bool is_named() const override { return true; }
  bool IsMeant(const SeenModel&, const TensorInfo& info) const override {
    return info.name == "image_embeds" || info.name == "image_embeddings";
  }
};

class Dinov2 : public Embedding {
 public:
  std::string_view name() const override { return "dinov2"; }

 private:
  // Every vision tower of transformers calls its output so.
  bool IsMeant(const SeenModel&, const TensorInfo& info) const override {
    return info.name == "pooler_output";
  }
};

class Reid : public Embedding {  // torchreid's FeatureExtractor
 public:
  std::string_view name() const override { return "reid"; }
  ModelSpec Defaults(int width, int height) const override {
    ModelSpec spec = Embedding::Defaults(width, height);
    spec.input.resize = ResizeMode::kStretch;
    spec.input.crop_from = 0;
    spec.input.interpolation = Interpolation::kBilinearAntialias;
    return spec;
  }

 private:
  bool IsMeant(const SeenModel& seen, const TensorInfo&) const override {
    return seen.outputs.size() == 1 && IsPortrait(seen);
  }
};

}  // namespace

const ModelFamily& EmbeddingFamily() {
  static const Embedding family;
  return family;
}

const ModelFamily& ClipImageFamily() {
  static const ClipImage family;
  return family;
}

const ModelFamily& Dinov2Family() {
  static const Dinov2 family;
  return family;
}

const ModelFamily& ReidFamily() {
  static const Reid family;
  return family;
}

}  // namespace sightline
