// Running a model on a made-up picture to see what its outputs look like.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "infer/backend.h"
#include "types/model_spec.h"
#include "types/tensor.h"

namespace sightline {

struct ProbeOutput {
  TensorInfo info;  // with the shape that was seen: no dimension is -1
  std::vector<float> values;
};

// Their names, types and shapes.
std::vector<TensorInfo> InfosOf(std::span<const ProbeOutput> outputs);

// Runs the model on one input tensor of the given shape; `values` are turned into the model's own
// element type. A second input that takes the picture's size is given that of the input. Outputs
// come in the file's order; those that are neither floats nor integers have no values.
using ModelProbe = std::function<absl::StatusOr<std::vector<ProbeOutput>>(
    std::span<const int64_t> shape, std::span<const float> values)>;

// Whether an input takes the size of each picture: width and height as int64 [batch, 2], as in
// RT-DETR's and D-FINE's own exports, or height and width as float32 [batch, 2], named image_shape,
// as in keras-yolo3's.
bool IsSizeInput(const TensorInfo& input);
// Writes a picture's size where such an input of that type has it.
void WriteSize(DataType dtype, int width, int height, size_t picture, void* sizes);

// Over a backend: opens the file at the first call and keeps it open. `backend` must live as long.
// Threads: one at a time. Values and shapes are copied, at most 256 MiB of each output.
ModelProbe ProbeWith(InferenceBackend& backend, std::string model_file);

// A picture with edges, a gradient and some noise, the same every time, as `recipe` would make it
// of pixels in 0..255; `variant` gives different ones.
std::vector<float> ProbePicture(const TensorRecipe& recipe, int variant);

}  // namespace sightline
