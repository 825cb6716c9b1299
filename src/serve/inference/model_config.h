// Words of Triton's model configuration for a served model, the same in JSON and protobuf.
// Threads: reentrant.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "serve/inference/served_model.h"
#include "types/tensor.h"

namespace sightline::serve {

std::string PlatformOf(const ServedModel& model);           // "onnxruntime_onnx", "openvino_tflite"
std::string_view InstanceKindOf(const ServedModel& model);  // "KIND_CPU"
std::string ConfigTypeName(DataType type);                  // "TYPE_FP32"
// Without the dimension of rows where there is one.
std::vector<int64_t> ConfigDimensions(const TensorInfo& port, bool in_rows);

}  // namespace sightline::serve
