// One user's buffers for a loaded TorchScript model. Internal to this folder.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "infer/backend.h"
#include "infer/backends/torchscript/torchscript_library_internal.h"

namespace sightline {

// A model as loaded, shared by the sessions that use it. Runs of it may go on at once.
struct TorchScriptModel {
  TorchScriptModel(const TorchScriptApi& functions, SightlineTorchModel* loaded)
      : api(functions), model(loaded, functions.sightline_torchscript_close) {}
  const TorchScriptApi& api;
  const std::unique_ptr<SightlineTorchModel, void (*)(SightlineTorchModel*)> model;
  std::string file;
  std::vector<TensorInfo> inputs;   // without shapes, which files do not state
  std::vector<TensorInfo> outputs;  // without shapes and true element types
};

inline constexpr size_t kTorchErrorBytes = 4096;

// The last of libtorch's words, in one line: in front of them stands a trace of the model's own code.
std::string TorchScriptWords(const char* error);

// `picture_shape`: of the first input; empty = not known, and then nothing is run here.
absl::StatusOr<std::unique_ptr<InferenceSession>> MakeTorchScriptSession(
    std::shared_ptr<const TorchScriptModel> model, int threads,
    const std::vector<int64_t>& picture_shape);

}  // namespace sightline
