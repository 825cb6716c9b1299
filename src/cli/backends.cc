#include "cli/backends.h"

#include <fmt/format.h>

#include <filesystem>

#include "infer/backends/onnxruntime/onnxruntime_backend.h"
#include "infer/model_store.h"
#include "infer/tflite_file.h"
#ifdef SIGHTLINE_HAS_OPENVINO
#include "infer/backends/openvino/openvino_backend.h"
#endif

namespace sightline::cli {
namespace {

#ifndef SIGHTLINE_HAS_OPENVINO
absl::StatusOr<InferenceBackend*> OpenVinoBackend() {
  return FailedPrecondition(
      "this program was built without OpenVINO: run ./dev setup, then ./dev build");
}
#endif

constexpr BackendEntry kBackends[] = {
    {.name = "onnxruntime", .needed = true, .get = OnnxRuntimeBackend},
    {.name = "openvino", .needed = false, .get = OpenVinoBackend},
};

}  // namespace

std::span<const BackendEntry> Backends() { return kBackends; }

absl::StatusOr<InferenceBackend*> DefaultBackend() { return kBackends[0].get(); }

absl::StatusOr<InferenceBackend*> BackendNamed(std::string_view name) {
  std::string known;
  for (const BackendEntry& entry : kBackends) {
    if (entry.name == name) return entry.get();
    known += fmt::format("{}{}", known.empty() ? "" : ", ", entry.name);
  }
  return InvalidArgument("there is no backend \"{}\": there are {}", name, known);
}

absl::StatusOr<InferenceBackend*> BackendFor(const std::string& wanted, const std::string& model) {
  if (!wanted.empty()) return BackendNamed(wanted);
  const std::string file = FileBehind(model);
  if (file.empty() || !IsTfliteFile(file)) return DefaultBackend();
  auto backend = BackendNamed("openvino");
  if (backend.ok()) return backend;
  return WithContext(backend.status(),
                     fmt::format("{} is a TensorFlow Lite model, which OpenVINO runs", file));
}

std::string FileBehind(const std::string& model) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::string folder;
  if (fs::is_directory(model, error)) {
    folder = model;
  } else if (fs::exists(model, error)) {
    return model;
  } else if (CheckModelName(model).ok()) {
    folder = ModelStore::Default().FolderOf(model);
  }
  if (folder.empty()) return "";
  const auto package = PeekModelPackage(folder);
  return package.ok() ? package->spec.file : "";
}

}  // namespace sightline::cli
