// The inference backends that this program has: one registration line each, in backends.cc.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "infer/backend.h"
#include "infer/model_format.h"

namespace sightline::cli {

struct BackendEntry {
  std::string_view name;  // as in `backend:` and --backend
  bool needed = false;    // whether a machine without it lacks something
  // Loads it on first use; what is not installed is said in words. Threads: safe.
  absl::StatusOr<InferenceBackend*> (*get)() = nullptr;
  std::string_view install = "./dev setup";  // the command that adds it
};

// All of them; the first is the default.
std::span<const BackendEntry> Backends();

// The one that runs models when nothing else is said. Unavailable, with the command that installs it,
// when its library is not there. Threads: safe.
absl::StatusOr<InferenceBackend*> DefaultBackend();

// By name.
absl::StatusOr<InferenceBackend*> BackendNamed(std::string_view name);

// The backend for a model, a package's name or a path: the one of that name unless `wanted` is empty;
// else the default one, or OpenVINO for TensorFlow Lite files. A TorchScript file is a program:
// FailedPrecondition unless `wanted` names its backend, or the file was added to the store.
absl::StatusOr<InferenceBackend*> BackendFor(const std::string& wanted, const std::string& model);

// Those of this machine that read the format, the default one first. Threads: safe.
std::vector<InferenceBackend*> BackendsThatRead(ModelFormat format);

// The model file behind a package's name, a package's folder or a path, without a look at what it
// holds; empty when there is none.
std::string FileBehind(const std::string& model);

}  // namespace sightline::cli
