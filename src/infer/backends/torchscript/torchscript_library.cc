#include "infer/backends/torchscript/torchscript_library_internal.h"

#include <utility>

namespace sightline {
namespace {

RuntimeLibrary Wanted() {
  return {.runtime = "TorchScript's adapter",
          .variable = "SIGHTLINE_TORCHSCRIPT_LIBRARY",
          .file_names = {"libsightline_torchscript.so"},
          .remedy =
              "run ./dev setup torchscript, then ./dev build, or set "
              "SIGHTLINE_TORCHSCRIPT_LIBRARY to a libsightline_torchscript.so"};
}

absl::StatusOr<TorchScriptLibrary> UseHandle(void* handle, const std::string& path) {
  decltype(&::sightline_torchscript_abi) abi = nullptr;
  if (!FindFunction(handle, "sightline_torchscript_abi", &abi)) {
    return FailedPrecondition(
        "{} is not libsightline_torchscript: it has no sightline_torchscript_abi", path);
  }
  if (abi() != SIGHTLINE_TORCHSCRIPT_ABI) {
    return FailedPrecondition(
        "{} is of another version of this program ({} where {} is needed): run ./dev build", path,
        abi(), static_cast<int>(SIGHTLINE_TORCHSCRIPT_ABI));
  }
  TorchScriptLibrary library;
  library.path = path;
  const char* missing = nullptr;
#define SIGHTLINE_FIND(name) \
  if (!FindFunction(handle, #name, &library.api.name)) missing = #name;
  SIGHTLINE_TORCHSCRIPT_FUNCTIONS(SIGHTLINE_FIND)
#undef SIGHTLINE_FIND
  if (missing != nullptr) {
    return FailedPrecondition("{} cannot be used: it has no {}; run ./dev build", path, missing);
  }
  library.version = library.api.sightline_torchscript_version();
  return library;
}

}  // namespace

RuntimeSearch DefaultTorchScriptSearch() { return Wanted().DefaultSearch(); }

absl::StatusOr<TorchScriptLibrary> LoadTorchScript(const RuntimeSearch& search) {
  TorchScriptLibrary library;
  SL_RETURN_IF_ERROR(Wanted().Load(search, [&](void* handle, const std::string& path) {
    auto used = UseHandle(handle, path);
    if (used.ok()) library = *std::move(used);
    return used.status();
  }));
  return library;
}

}  // namespace sightline
