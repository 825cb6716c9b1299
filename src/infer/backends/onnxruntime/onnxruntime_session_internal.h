// One user's binding to a loaded model: buffers for inputs and outputs, bound once. Internal to
// this folder.
#pragma once

#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

#include <memory>
#include <string>
#include <vector>

#include "infer/backend.h"

namespace sightline {

// An input or output as the model declares it. `symbols` names the dynamic dimensions ("N"); empty
// where a dimension is fixed or nameless.
struct OnnxRuntimePort {
  TensorInfo info;
  ONNXTensorElementDataType element = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  std::vector<std::string> symbols;
};

// A model as loaded, shared by the sessions that use it. Immutable; Ort::Session::Run is safe from
// several threads at once.
struct OnnxRuntimeModel {
  explicit OnnxRuntimeModel(Ort::Session loaded) : session(std::move(loaded)) {}
  Ort::Session session;
  std::string file;
  std::vector<OnnxRuntimePort> inputs;
  std::vector<OnnxRuntimePort> outputs;
};

// The words of an error of ONNX Runtime without its source positions.
std::string OnnxRuntimeWords(const char* what);

absl::StatusOr<std::unique_ptr<InferenceSession>> MakeOnnxRuntimeSession(
    std::shared_ptr<OnnxRuntimeModel> model);

}  // namespace sightline
