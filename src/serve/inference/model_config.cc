#include "serve/inference/model_config.h"

#include "serve/inference/tensor_types.h"

namespace sightline::serve {

std::string PlatformOf(const ServedModel& model) {
  if (model.is_ensemble()) return std::string(ServedModel::kEnsemble);
  switch (model.format()) {
    case ModelFormat::kOnnx:
      return std::string(model.backend()) + "_onnx";
    case ModelFormat::kTflite:
      return std::string(model.backend()) + "_tflite";
    case ModelFormat::kTorchScript:
      return "pytorch_libtorch";
  }
  return "";
}

std::string_view InstanceKindOf(const ServedModel& model) {
  const auto& providers = model.settings().providers;
  return providers.empty() || providers[0] == "cpu" ? "KIND_CPU" : "KIND_GPU";
}

std::string ConfigTypeName(DataType type) {
  if (type == DataType::kString) return "TYPE_STRING";
  const std::string_view name = WireName(type);
  return name.empty() ? "TYPE_INVALID" : "TYPE_" + std::string(name);
}

std::vector<int64_t> ConfigDimensions(const TensorInfo& port, bool in_rows) {
  if (!in_rows) return port.shape;
  return {port.shape.begin() + 1, port.shape.end()};
}

}  // namespace sightline::serve
