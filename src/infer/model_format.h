// The formats of model files, told apart by what they hold and never by their names.
//
// Threads: reentrant.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sightline {

enum class ModelFormat : uint8_t { kOnnx, kTflite, kTorchScript };

std::string_view ToString(ModelFormat format);  // "TensorFlow Lite"

// kOnnx for whatever is none of the others, also for what cannot be read: the reader of ONNX files has
// words for that. Cost: some KB of the file.
ModelFormat FormatOf(const std::string& path);

// Whether a name ends as model files do: .onnx, .tflite, .torchscript, .pt, .pth.
bool HasModelEnding(std::string_view name);

}  // namespace sightline
