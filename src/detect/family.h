// A family of models: how its files are known, what its reference feeds them, how its outputs are
// read. One object a family, in the family's own file under heads/; Families() lists them all.
//
// A file is recognised in two steps. The shapes that a first run shows say which families it may
// be of; the values of a second run, with the picture prepared as that family wants it, say in
// which layout, or that it is another family after all.
//
// Threads: families are immutable; everything here may be called from any thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "detect/heads/head.h"
#include "detect/model_probe.h"
#include "types/model_spec.h"
#include "types/tensor.h"

namespace sightline {

// What a run on a made-up picture showed.
struct SeenModel {
  int width = 0;  // of the input tensor
  int height = 0;
  std::span<const ProbeOutput> outputs;  // in the file's order, shapes as seen
  // What the exporter wrote into the file; null: nothing.
  const std::map<std::string, std::string>* metadata = nullptr;
  // How many of each operator the file has; null: not known.
  const std::map<std::string, int>* operators = nullptr;

  // "" where the file says nothing.
  std::string_view Metadata(const std::string& key) const;
  // 0 where nothing is known.
  int Operators(const std::string& type) const;
};

struct FamilyMatch {
  std::vector<size_t> outputs;  // which of them are read, in the family's order
  int classes = 0;
  int keypoints = 0;
  std::string sentence;  // for people: what was seen
};

class ModelFamily {
 public:
  virtual ~ModelFamily() = default;

  virtual std::string_view name() const = 0;     // as `family` in model.yaml
  virtual std::string_view outputs() const = 0;  // for people: "[batch, cells, 5 + classes]"

  // The recipe, thresholds and suppression of the family's reference, for an input of this size.
  virtual ModelSpec Defaults(int width, int height) const = 0;

  // Whether models of the family differ in how they want their pictures, so that Defaults is a guess.
  virtual bool preparation_varies() const { return false; }

  // What the file says of these itself, put into what Defaults gave.
  virtual void Adjust(const SeenModel& /*seen*/, ModelSpec* /*spec*/) const {}

  // Whether outputs of these shapes may be this family's; values are not looked at.
  virtual std::optional<FamilyMatch> MatchShapes(const SeenModel& seen) const = 0;

  // The layout that the values speak for. They are finite float32. InvalidArgument, with what was
  // seen and what to write into a model.yaml, when they are not this family's or do not say.
  virtual absl::StatusOr<std::string> LayoutByValues(const SeenModel& seen,
                                                     const FamilyMatch& match) const = 0;

  // How many classes that is; families may read the same shapes in two ways.
  virtual int ClassesIn(const FamilyMatch& match, std::string_view /*layout*/) const {
    return match.classes;
  }

  // The head for spec.layout and outputs as a session declares them (-1 for what is dynamic).
  // spec.output_names, where given, says which outputs are meant and in which order; otherwise they
  // are found by their shapes. InvalidArgument: unknown layout, outputs that do not fit, labels of
  // the wrong number.
  virtual absl::StatusOr<std::unique_ptr<Head>> MakeHead(
      const ModelSpec& spec, std::span<const TensorInfo> outputs) const = 0;
};

// All of them, in the order in which they are asked.
std::span<const ModelFamily* const> Families();

// InvalidArgument for a name that none has, with the nearest one and all of them.
absl::StatusOr<const ModelFamily*> FindFamily(std::string_view name);

// What each family's file defines.
const ModelFamily& UltrafaceFamily();
const ModelFamily& FastestdetFamily();
const ModelFamily& YoloxFamily();
const ModelFamily& Yolov5Family();
const ModelFamily& Yolov5SegFamily();
const ModelFamily& Yolov6Family();
const ModelFamily& Yolov8Family();
const ModelFamily& Yolov8SegFamily();
const ModelFamily& Yolov8PoseFamily();
const ModelFamily& Yolov8ObbFamily();
const ModelFamily& YoloEndToEndFamily();
const ModelFamily& DetrFamily();
const ModelFamily& RtdetrLogitsFamily();
const ModelFamily& RfDetrFamily();
const ModelFamily& NanodetFamily();
const ModelFamily& NanodetPlusFamily();
const ModelFamily& PicodetFamily();
const ModelFamily& YoloNasFamily();
const ModelFamily& Yolov3Family();
const ModelFamily& Yolov4Family();
const ModelFamily& DamoYoloFamily();
const ModelFamily& EmbeddingFamily();
const ModelFamily& ClipImageFamily();
const ModelFamily& Dinov2Family();
const ModelFamily& ReidFamily();
const ModelFamily& PoseHeatmapsFamily();
const ModelFamily& YoloFastestV2Family();
const ModelFamily& ClassifierFamily();
const ModelFamily& SegmenterFamily();
const ModelFamily& OpenposeFamily();
const ModelFamily& PadimFamily();
const ModelFamily& AutoencoderFamily();
const ModelFamily& TorchvisionFamily();
const ModelFamily& YunetFamily();
const ModelFamily& ScrfdFamily();
const ModelFamily& RetinafaceFamily();
const ModelFamily& RtdetrFamily();

// Of the values seen, this share must be as the family has them: nearly all, for rounding's sake.
inline constexpr double kNearlyAll = 0.99;

// What every family's Defaults begins with: values scale * (0..255), the rest as ModelSpec has it.
ModelSpec DefaultSpec(std::string_view family, int width, int height, ChannelOrder channels,
                      float scale = 1);

// ImageNet's mean and deviation as most training code has them, on 0..255, in the recipe's order.
void NormaliseAsImageNet(TensorRecipe* recipe);

// Within 0..1, or beyond it by rounding.
inline bool IsWithinUnit(float v) { return v >= -1e-3f && v <= 1.01f; }
bool AreWithinUnit(std::span<const float> values);
double ShareWithinUnit(std::span<const float> values);  // 1 of none

// The middle value; 0 of none.
double Median(std::vector<double> values);

}  // namespace sightline
