// Finding and loading libonnxruntime. Internal to this folder.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/status.h"

struct OrtApi;

namespace sightline {

struct OnnxRuntimeLibrary {
  const OrtApi* api = nullptr;
  std::string path;
  std::string version;  // "1.31.1"
};

// Where the library may be, in order. With `chosen` set, only that one counts: somebody asked for
// it.
struct OnnxRuntimeSearch {
  std::string chosen;
  std::vector<std::string> candidates;
};
OnnxRuntimeSearch DefaultOnnxRuntimeSearch();

// Loads the first library that is there; it stays loaded. FailedPrecondition when there is none, or
// when the first one that is there cannot be used.
absl::StatusOr<OnnxRuntimeLibrary> LoadOnnxRuntime(const OnnxRuntimeSearch& search);

}  // namespace sightline
