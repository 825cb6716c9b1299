// Finding and loading libonnxruntime. Internal to this folder.
#pragma once

#include <string>

#include "base/status.h"
#include "infer/backends/runtime_library.h"

struct OrtApi;

namespace sightline {

struct OnnxRuntimeLibrary {
  const OrtApi* api = nullptr;
  std::string path;
  std::string version;  // "1.31.1"
};

RuntimeSearch DefaultOnnxRuntimeSearch();

// Loads the first library that is there; it stays loaded. FailedPrecondition when there is none, or
// when the first one that is there cannot be used.
absl::StatusOr<OnnxRuntimeLibrary> LoadOnnxRuntime(const RuntimeSearch& search);

}  // namespace sightline
