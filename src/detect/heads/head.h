// A model's raw outputs to results: one class per family of models, one file each.
//
// In: every output tensor of the model, in the file's order, float32 (labels also integers); the way
// from picture to tensor; the least confidence. Out, in three steps as in the families' references: Decode gives
// the boxes above that confidence (strictly), in pixels of the source picture, neither clipped to
// it nor suppressed; Suppress leaves one box an object; after clipping, Complete adds what the
// family says beside the box (keypoints, masks), for the boxes that are left alone. Rows with a box
// or score that is not finite are left out.
//
// Errors: a model that does not fit its family is refused by MakeHead, with the shapes seen;
// outputs that do not keep to the declared shapes, hold nothing but NaN, or hold scores above 1,
// are DataLoss in Decode. Silently finding nothing is never the answer to a wrong model. Threads:
// const calls may run at the same time. Cost: one pass over the objectness; the rest is read for
// boxes above the threshold only. Decode allocates nothing but room in `out`; what lies beside boxes
// (turned boxes, masks, maps) takes some memory per picture.
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "detect/nms.h"
#include "types/detections.h"
#include "types/model_spec.h"
#include "types/tensor.h"

namespace sightline {

// What a model gave for one picture, and the way back to it.
struct RawResult {
  std::span<const TensorView> outputs;  // all of the model's, in the file's order
  int batch_index = 0;                  // the picture's entry in each
  ImageToTensor mapping;
  int picture_width = 0;  // of the source, in pixels
  int picture_height = 0;
  // The picture's own tensor as the model was given it; null unless that is float32.
  const float* input = nullptr;
};

class Head {
 public:
  virtual ~Head() = default;

  // Appends the boxes of this picture to `out`, `detail` saying the row that each comes from.
  virtual absl::Status Decode(const RawResult& raw, float min_confidence,
                              std::vector<Detection>* out) const = 0;

  // Of the boxes of one object leaves one. Oriented boxes, for which plain IoU is no measure, have
  // their own way.
  virtual void Suppress(const RawResult& raw, const NmsSettings& settings, float min_confidence,
                        NonMaxSuppressor* suppressor, std::vector<Detection>* boxes) const;

  // For the boxes that are left in result->items (clipped, `detail` still the row): adds what the
  // family gives beside them and lets `detail` point to it, or sets it to -1. Whole-picture families
  // do all their work here.
  virtual absl::Status Complete(const RawResult& raw, Detections* result) const;

  virtual int classes() const = 0;
};

// A head that speaks of the whole picture: there are no boxes, and Complete does all the work.
class WholePictureHead : public Head {
 public:
  absl::Status Decode(const RawResult&, float, std::vector<Detection>*) const final {
    return absl::OkStatus();
  }
};

// The head of spec.family in spec.layout, for a model with these outputs (as the session declares
// them, -1 for what is dynamic). spec.output_names, where given, says which outputs are meant and
// in which order; otherwise they are found by their shapes. InvalidArgument: unknown family or
// layout, outputs that do not fit, labels of the wrong number.
absl::StatusOr<std::unique_ptr<Head>> MakeHead(const ModelSpec& spec,
                                               std::span<const TensorInfo> outputs);

// "a float32[1,2], b float32[3]": for errors.
std::string DescribeTensors(std::span<const TensorInfo> tensors);

namespace head_internal {

// A score may lie this much above 1 by rounding (half precision, fused activations).
inline constexpr float kMaxScore = 1.01f;

// More candidates than this are no detection but a broken threshold or model; chosen.
inline constexpr size_t kMostCandidates = 1'000'000;
absl::Status TooManyCandidates();

// Of a model's outputs those that are meant.
struct MeantTensors {
  std::vector<size_t> index;      // where each is among all of them
  std::vector<TensorInfo> infos;  // as the session declares them
};

// Those of spec.output_names in that order if given, else all of them. For families that tell their
// outputs apart themselves; element types are not looked at. InvalidArgument for a name that no
// output has, or that stands there twice.
absl::StatusOr<MeantTensors> NamedOutputs(const ModelSpec& spec,
                                          std::span<const TensorInfo> outputs);

// Which of `outputs` are meant, as above; all of them must be float32.
absl::StatusOr<std::vector<size_t>> MeantOutputs(const ModelSpec& spec,
                                                 std::span<const TensorInfo> outputs);

// The same where the family has `count` of them.
absl::StatusOr<std::vector<size_t>> MeantOutputs(const ModelSpec& spec,
                                                 std::span<const TensorInfo> outputs, size_t count);

// Whether `shape` is `wanted`, where -1 on either side fits everything.
bool ShapeFits(std::span<const int64_t> shape, std::span<const int64_t> wanted);

// The data of the picture's entry of outputs[index], checked to be float32 and of the shape
// `wanted`, whose first dimension is the batch and only has to be long enough.
absl::StatusOr<const float*> EntryOf(const RawResult& raw, size_t index,
                                     std::span<const int64_t> wanted);

absl::Status CheckLabels(const ModelSpec& spec, int classes);
// A family with one layout needs no word for it.
absl::Status CheckLayout(const ModelSpec& spec, std::initializer_list<std::string_view> layouts);
absl::Status NotProbabilities(float score);
absl::Status NothingButNan();

bool IsUsable(const Box& box);

inline float Sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

}  // namespace head_internal
}  // namespace sightline
