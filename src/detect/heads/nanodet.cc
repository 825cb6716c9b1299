// NanoDet (RangiLyu/nanodet) and PicoDet (Yu et al. 2021, arXiv 2111.00902; PaddleDetection):
// distributions over distances, see gfl_head.h.
//   nanodet      three pairs of outputs at strides 8, 16, 32; a cell's point is its centre
//   picodet      four pairs at strides 8 to 64; a cell's point is its centre
//   nanodet_plus one output of all cells at strides 8 to 64; a cell's point is its corner
// Layout "distributions".
#include <algorithm>

#include "detect/heads/gfl_head.h"

namespace sightline {
namespace {

using namespace head_internal;  // NOLINT: these families' share of it

class GflFamily : public ModelFamily {
 public:
  std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const override {
    const std::vector<TensorInfo> infos = InfosOf(seen.outputs);
    const auto form = Find(infos, seen.width, seen.height);
    if (!form) return std::nullopt;
    FamilyMatch match{{}, form->classes, 0, ""};
    for (size_t i = 0; i < infos.size(); ++i) match.outputs.push_back(i);
    match.sentence = fmt::format(
        "{}: {} class scores and 4 x {} numbers for each of the cells of {}x{} at strides 8 to {}, "
        "as {} has them",
        DescribeTensors(infos), form->classes, form->bins, seen.width, seen.height,
        form->levels.back().stride, name());
    return match;
  }

  absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                             const FamilyMatch&) const override {
    const auto form = Find(InfosOf(seen.outputs), seen.width, seen.height);
    SL_RETURN_IF_ERROR(CheckGflScores(seen, *form, name()));
    return "distributions";
  }

  absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const override {
    SL_RETURN_IF_ERROR(CheckLayout(spec, {"distributions"}));
    SL_RETURN_IF_ERROR(MeantOutputs(spec, outputs).status());
    SL_ASSIGN_OR_RETURN(MeantTensors meant, NamedOutputs(spec, outputs));
    auto form = Find(meant.infos, spec.input.width, spec.input.height);
    // There are files whose declared shapes belong to other outputs; the head looks at real ones.
    if (!form && spec.classes > 0 && pairs() > 0 && meant.infos.size() == 2 * pairs()) {
      form = GflPairs(spec.input.width, spec.input.height, static_cast<int>(pairs()), spec.classes);
    }
    if (!form) {
      return InvalidArgument(
          "model {}: family {} has {} for a {}x{} input; this file has {}; correct the family or "
          "the input's size in its model.yaml",
          spec.name, name(), this->outputs(), spec.input.width, spec.input.height,
          DescribeTensors(meant.infos));
    }
    SL_RETURN_IF_ERROR(CheckLabels(spec, form->classes));
    for (GflLevel& level : form->levels) {
      level.scores = meant.index[level.scores];
      level.distances = meant.index[level.distances];
    }
    form->meant = std::move(meant.index);
    form->point = point();
    return std::make_unique<GflHead>(*std::move(form));
  }

 protected:
  virtual std::optional<GflForm> Find(std::span<const TensorInfo> outputs, int width,
                                      int height) const = 0;
  virtual float point() const { return 0.5f; }
  virtual size_t pairs() const { return 0; }  // 0: one output of all cells

  ModelSpec CommonDefaults(int width, int height, ChannelOrder channels) const {
    ModelSpec spec = DefaultSpec(name(), width, height, channels);
    NormaliseAsImageNet(&spec.input);
    spec.confidence_threshold = 0.35f;
    spec.nms.iou_threshold = 0.6f;
    spec.nms.max_detections = 100;
    return spec;
  }
};

class Nanodet : public GflFamily {
 public:
  std::string_view name() const override { return "nanodet"; }
  std::string_view outputs() const override {
    return "scores [batch, cells, classes] and distributions [batch, cells, 32] at three strides";
  }

  ModelSpec Defaults(int width, int height) const override {  // config/nanodet-m.yml, demo/demo.py
    ModelSpec spec = CommonDefaults(width, height, ChannelOrder::kBgr);
    spec.input.resize = ResizeMode::kLetterboxCenter;
    return spec;
  }

 protected:
  std::optional<GflForm> Find(std::span<const TensorInfo> outputs, int width,
                              int height) const override {
    return FindGflPairs(outputs, width, height, 3);
  }
  size_t pairs() const override { return 3; }
};

class NanodetPlus : public Nanodet {
 public:
  std::string_view name() const override { return "nanodet_plus"; }
  std::string_view outputs() const override { return "[batch, cells, classes + 32]"; }

 protected:
  std::optional<GflForm> Find(std::span<const TensorInfo> outputs, int width,
                              int height) const override {
    return FindGflTensor(outputs, width, height, 4);
  }
  float point() const override { return 0; }
  size_t pairs() const override { return 0; }
};

class Picodet : public GflFamily {
 public:
  std::string_view name() const override { return "picodet"; }
  std::string_view outputs() const override {
    return "scores [batch, cells, classes] and distributions [batch, cells, 32] at four strides";
  }

  ModelSpec Defaults(int width, int height) const override {  // configs/picodet, deploy/python
    ModelSpec spec = CommonDefaults(width, height, ChannelOrder::kRgb);
    spec.input.interpolation = Interpolation::kCubic;
    return spec;
  }

 protected:
  std::optional<GflForm> Find(std::span<const TensorInfo> outputs, int width,
                              int height) const override {
    return FindGflPairs(outputs, width, height, 4);
  }
  size_t pairs() const override { return 4; }
};

}  // namespace

const ModelFamily& NanodetFamily() {
  static const Nanodet family;
  return family;
}

const ModelFamily& NanodetPlusFamily() {
  static const NanodetPlus family;
  return family;
}

const ModelFamily& PicodetFamily() {
  static const Picodet family;
  return family;
}

}  // namespace sightline
