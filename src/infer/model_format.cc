#include "infer/model_format.h"

#include <algorithm>
#include <array>

#include "infer/tflite_file.h"
#include "infer/torchscript_file.h"

namespace sightline {

std::string_view ToString(ModelFormat format) {
  switch (format) {
    case ModelFormat::kTflite:
      return "TensorFlow Lite";
    case ModelFormat::kTorchScript:
      return "TorchScript";
    default:
      return "ONNX";
  }
}

ModelFormat FormatOf(const std::string& path) {
  if (IsTfliteFile(path)) return ModelFormat::kTflite;
  if (IsTorchScriptFile(path)) return ModelFormat::kTorchScript;
  return ModelFormat::kOnnx;
}

bool HasModelEnding(std::string_view name) {
  constexpr std::array<std::string_view, 5> kEndings = {".onnx", ".tflite", ".torchscript", ".pt",
                                                        ".pth"};
  return std::ranges::any_of(kEndings,
                             [&](std::string_view ending) { return name.ends_with(ending); });
}

}  // namespace sightline
