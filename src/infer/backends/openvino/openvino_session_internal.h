// One user's request to a compiled model: buffers for inputs, bound once. Internal to this folder.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "infer/backend.h"
#include "infer/backends/openvino/openvino_library_internal.h"

namespace sightline {

// A model as compiled, shared by the sessions that use it. Immutable; requests of it run from
// several threads at once.
struct OpenVinoModel {
  const OpenVinoApi* api = nullptr;
  OpenVinoOwned<ov_compiled_model_t> compiled{nullptr, nullptr};
  std::string file;
  std::vector<TensorInfo> inputs;
  std::vector<TensorInfo> outputs;
  int64_t largest_batch = 0;  // of inputs that leave their first dimension open; 0 = any
};

DataType FromOpenVino(ov_element_type_e element);
// DYNAMIC for what pictures and sizes are never made of.
ov_element_type_e ToOpenVino(DataType type);

absl::StatusOr<std::unique_ptr<InferenceSession>> MakeOpenVinoSession(
    std::shared_ptr<const OpenVinoModel> model);

}  // namespace sightline
