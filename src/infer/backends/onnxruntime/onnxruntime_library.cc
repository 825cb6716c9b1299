#include "infer/backends/onnxruntime/onnxruntime_library.h"

#include <dlfcn.h>
#include <onnxruntime_c_api.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "base/allocation_scope.h"

namespace sightline {
namespace {

constexpr char kSoname[] = "libonnxruntime.so.1";

absl::StatusOr<OnnxRuntimeLibrary> UseHandle(void* handle, const std::string& path) {
  using GetApiBase = const OrtApiBase* (*)();
  const auto get_api_base = reinterpret_cast<GetApiBase>(dlsym(handle, "OrtGetApiBase"));
  if (get_api_base == nullptr) {
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

absl::StatusOr<OnnxRuntimeLibrary> LoadFrom(const std::string& path) {
  const LibraryAllocations scope;
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = dlerror();
    return FailedPrecondition("cannot load ONNX Runtime from {}: {}", path,
                              why != nullptr ? why : "unknown reason");
  }
  return UseHandle(handle, path);
}

}  // namespace

OnnxRuntimeSearch DefaultOnnxRuntimeSearch() {
  OnnxRuntimeSearch search;
  if (const char* chosen = std::getenv("SIGHTLINE_ORT_LIBRARY");
      chosen != nullptr && *chosen != '\0') {
    search.chosen = chosen;
  }
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) {
    const auto folder = program.parent_path();
    search.candidates.push_back((folder.parent_path() / "lib" / kSoname).string());
    search.candidates.push_back((folder / "lib" / kSoname).string());
  }
#ifdef SIGHTLINE_ORT_DEFAULT_FOLDER
  search.candidates.push_back(std::string(SIGHTLINE_ORT_DEFAULT_FOLDER "/") + kSoname);
#endif
  search.candidates.push_back(kSoname);  // no slash: the system's loader looks for it
  return search;
}

absl::StatusOr<OnnxRuntimeLibrary> LoadOnnxRuntime(const OnnxRuntimeSearch& search) {
  // ONNX Runtime's official Linux builds since 1.29 report usage over the network and store an id
  // of the machine; this switch, read once when the library starts, makes them do neither. 1.28 and
  // older do not know it.
  setenv("ORT_DISABLE_TELEMETRY", "1", /*overwrite=*/1);
  if (!search.chosen.empty()) {
    return [&]() -> absl::StatusOr<OnnxRuntimeLibrary> {
      auto library = LoadFrom(search.chosen);
      if (library.ok()) return library;
      return WithContext(library.status(), "SIGHTLINE_ORT_LIBRARY");
    }();
  }
  std::string tried;
  for (const std::string& candidate : search.candidates) {
    const bool is_path = candidate.find('/') != std::string::npos;
    std::error_code error;
    if (is_path && !std::filesystem::exists(candidate, error)) {
      tried += (tried.empty() ? "" : ", ") + candidate;
      continue;
    }
    auto library = LoadFrom(candidate);
    if (library.ok() || is_path) return library;
    tried += (tried.empty() ? "" : ", ") + candidate + " by the system's loader";
  }
  return FailedPrecondition(
      "ONNX Runtime is not installed: run ./dev setup, or set SIGHTLINE_ORT_LIBRARY to a "
      "libonnxruntime.so.1 of version 1.{} or newer; looked for: {}",
      ORT_API_VERSION, tried);
}

}  // namespace sightline
