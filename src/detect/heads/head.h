// A model's raw outputs to boxes: one class per family of models, one file each.
//
// In: every output tensor of the model, in the file's order, float32; the way from picture to
// tensor; the least confidence. Out: the boxes above it (strictly), in pixels of the source
// picture, neither clipped to the picture nor suppressed: both come later, in this order, as in the
// families' references. Rows with a box or score that is not finite are left out.
//
// Errors: a model that does not fit its family is refused by MakeHead, with the shapes seen;
// outputs that do not keep to the declared shapes, hold nothing but NaN, or hold scores above 1,
// are DataLoss in Decode. Silently finding nothing is never the answer to a wrong model. Threads:
// const calls may run at the same time. Cost: one pass over the objectness; the rest is read for
// boxes above the threshold only. Nothing is allocated but room in `out`.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "types/detections.h"
#include "types/model_spec.h"
#include "types/tensor.h"

namespace sightline {

class Head {
 public:
  virtual ~Head() = default;

  // Appends the boxes of entry `batch_index` of the batch to `out`.
  virtual absl::Status Decode(std::span<const TensorView> outputs, int batch_index,
                              const ImageToTensor& mapping, float min_confidence,
                              std::vector<Detection>* out) const = 0;
  virtual int classes() const = 0;
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

// Which of `outputs` are meant: those of spec.output_names if given, else all of them.
absl::StatusOr<std::vector<size_t>> MeantOutputs(const ModelSpec& spec,
                                                 std::span<const TensorInfo> outputs);

// Whether `shape` is `wanted`, where -1 on either side fits everything.
bool ShapeFits(std::span<const int64_t> shape, std::span<const int64_t> wanted);

// The data of batch entry `batch_index` of outputs[index], checked to be float32 and of the shape
// `wanted`, whose first dimension is the batch and only has to be long enough.
absl::StatusOr<const float*> EntryOf(std::span<const TensorView> outputs, size_t index,
                                     int batch_index, std::span<const int64_t> wanted);

absl::Status CheckLabels(const ModelSpec& spec, int classes);
absl::Status NotProbabilities(float score);
absl::Status NothingButNan();

bool IsUsable(const Box& box);

}  // namespace head_internal
}  // namespace sightline
