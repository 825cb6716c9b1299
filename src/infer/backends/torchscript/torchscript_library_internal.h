// Finding and loading libsightline_torchscript, and its functions by name. Internal to this folder.
#pragma once

#include <string>

#include "base/status.h"
#include "infer/backends/runtime_library.h"
#include "infer/backends/torchscript/torchscript_abi.h"

namespace sightline {

#define SIGHTLINE_TORCHSCRIPT_FUNCTIONS(X) \
  X(sightline_torchscript_version)         \
  X(sightline_torchscript_open)            \
  X(sightline_torchscript_close)           \
  X(sightline_torchscript_inputs)          \
  X(sightline_torchscript_input_name)      \
  X(sightline_torchscript_outputs)         \
  X(sightline_torchscript_element)         \
  X(sightline_torchscript_run)             \
  X(sightline_torchscript_output)          \
  X(sightline_torchscript_free)

// The functions of the loaded library, under their own names.
struct TorchScriptApi {
#define SIGHTLINE_DECLARE(name) decltype(&::name) name = nullptr;
  SIGHTLINE_TORCHSCRIPT_FUNCTIONS(SIGHTLINE_DECLARE)
#undef SIGHTLINE_DECLARE
};

struct TorchScriptLibrary {
  TorchScriptApi api;
  std::string path;
  std::string version;  // of libtorch: "1.13.1"
};

RuntimeSearch DefaultTorchScriptSearch();

// Loads the first library that is there; it stays loaded. FailedPrecondition when there is none, or
// when the first one that is there cannot be used.
absl::StatusOr<TorchScriptLibrary> LoadTorchScript(const RuntimeSearch& search);

}  // namespace sightline
