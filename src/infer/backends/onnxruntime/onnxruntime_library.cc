#include "infer/backends/onnxruntime/onnxruntime_library.h"

#include <onnxruntime_c_api.h>

#include <cstdlib>
#include <utility>

#ifndef SIGHTLINE_ORT_DEFAULT_FOLDER
#define SIGHTLINE_ORT_DEFAULT_FOLDER ""
#endif

namespace sightline {
namespace {

RuntimeLibrary Wanted() {
  return {.runtime = "ONNX Runtime",
          .variable = "SIGHTLINE_ORT_LIBRARY",
          .file_names = {"libonnxruntime.so.1"},
          .built_with = SIGHTLINE_ORT_DEFAULT_FOLDER,
          .remedy = fmt::format("run ./dev setup, or set SIGHTLINE_ORT_LIBRARY to a "
                                "libonnxruntime.so.1 of version 1.{} or newer",
                                ORT_API_VERSION)};
}

absl::StatusOr<OnnxRuntimeLibrary> UseHandle(void* handle, const std::string& path) {
  const OrtApiBase* (*get_api_base)() = nullptr;
  if (!FindFunction(handle, "OrtGetApiBase", &get_api_base)) {
    return FailedPrecondition("{} is not ONNX Runtime: it has no OrtGetApiBase", path);
  }
  const OrtApiBase* base = get_api_base();
  OnnxRuntimeLibrary library;
  library.path = path;
  library.version = base->GetVersionString();
  int minor = 0;
  if (library.version.starts_with("1.")) minor = std::atoi(library.version.c_str() + 2);
  // Asked for first because GetApi() itself writes to standard error when it has to refuse.
  if (minor >= ORT_API_VERSION) library.api = base->GetApi(ORT_API_VERSION);
  if (library.api == nullptr) {
    return FailedPrecondition(
        "ONNX Runtime {} at {} is too old, 1.{} or newer is needed: run ./dev setup, or set "
        "SIGHTLINE_ORT_LIBRARY to a newer libonnxruntime.so.1",
        library.version, path, ORT_API_VERSION);
  }
  return library;
}

}  // namespace

RuntimeSearch DefaultOnnxRuntimeSearch() { return Wanted().DefaultSearch(); }

absl::StatusOr<OnnxRuntimeLibrary> LoadOnnxRuntime(const RuntimeSearch& search) {
  // ONNX Runtime's official Linux builds since 1.29 report usage over the network and store an id
  // of the machine; this switch, read once when the library starts, makes them do neither. 1.28 and
  // older do not know it.
  setenv("ORT_DISABLE_TELEMETRY", "1", /*overwrite=*/1);
  OnnxRuntimeLibrary library;
  SL_RETURN_IF_ERROR(Wanted().Load(search, [&](void* handle, const std::string& path) {
    auto used = UseHandle(handle, path);
    if (used.ok()) library = *std::move(used);
    return used.status();
  }));
  return library;
}

}  // namespace sightline
