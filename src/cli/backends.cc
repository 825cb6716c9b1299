#include "cli/backends.h"

#include <fmt/format.h>

#include <filesystem>

#include "infer/backends/onnxruntime/onnxruntime_backend.h"
#include "infer/model_store.h"
#ifdef SIGHTLINE_HAS_OPENVINO
#include "infer/backends/openvino/openvino_backend.h"
#endif
#ifdef SIGHTLINE_HAS_TORCHSCRIPT
#include "infer/backends/torchscript/torchscript_backend.h"
#endif

namespace sightline::cli {
namespace {

#ifndef SIGHTLINE_HAS_OPENVINO
absl::StatusOr<InferenceBackend*> OpenVinoBackend() {
  return FailedPrecondition(
      "this program was built without OpenVINO: run ./dev setup, then ./dev build");
}
#endif

#ifndef SIGHTLINE_HAS_TORCHSCRIPT
absl::StatusOr<InferenceBackend*> TorchScriptBackend() {
  return FailedPrecondition(
      "this program was built without TorchScript: build it with SIGHTLINE_BACKEND_TORCHSCRIPT=ON");
}
#endif

constexpr BackendEntry kBackends[] = {
    {.name = "onnxruntime", .needed = true, .get = OnnxRuntimeBackend},
    {.name = "openvino", .needed = false, .get = OpenVinoBackend},
    {.name = "torchscript",
     .needed = false,
     .get = TorchScriptBackend,
     .install = "./dev setup torchscript, then ./dev build"},
};

// The model file behind a name or path, and whether that is a name in the store.
struct Behind {
  std::string file;
  bool stored = false;
};

Behind LookBehind(const std::string& model) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::string folder;
  Behind behind;
  if (fs::is_directory(model, error)) {
    folder = model;
  } else if (fs::exists(model, error)) {
    behind.file = model;
  } else if (CheckModelName(model).ok()) {
    folder = ModelStore::Default().FolderOf(model);
    behind.stored = true;
  }
  if (folder.empty()) return behind;
  const auto package =
      PeekModelPackage(folder, behind.stored ? PackageOrigin::kStored : PackageOrigin::kForeign);
  if (package.ok()) behind.file = package->spec.file;
  return behind;
}

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

std::vector<InferenceBackend*> BackendsThatRead(ModelFormat format) {
  std::vector<InferenceBackend*> backends;
  for (const BackendEntry& entry : kBackends) {
    const absl::StatusOr<InferenceBackend*> backend = entry.get();
    if (backend.ok() && (*backend)->Reads(format)) backends.push_back(*backend);
  }
  return backends;
}

absl::StatusOr<InferenceBackend*> BackendFor(const std::string& wanted, const std::string& model) {
  if (!wanted.empty()) return BackendNamed(wanted);
  const Behind behind = LookBehind(model);
  const ModelFormat format = behind.file.empty() ? ModelFormat::kOnnx : FormatOf(behind.file);
  if (format == ModelFormat::kOnnx) return DefaultBackend();
  if (format == ModelFormat::kTflite) {
    auto backend = BackendNamed("openvino");
    if (backend.ok()) return backend;
    return WithContext(
        backend.status(),
        fmt::format("{} is a TensorFlow Lite model, which OpenVINO runs", behind.file));
  }
  // Whoever added it to the store said so then.
  if (behind.stored) return BackendNamed("torchscript");
  return FailedPrecondition(
      "{} is a TorchScript file, which is a program: --backend torchscript (in a configuration, "
      "`backend: torchscript`) runs it, if you trust where it comes from",
      behind.file);
}

std::string FileBehind(const std::string& model) { return LookBehind(model).file; }

}  // namespace sightline::cli
