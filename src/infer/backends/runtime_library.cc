#include "infer/backends/runtime_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "base/allocation_scope.h"

namespace sightline {
namespace {

using Use = std::function<absl::Status(void* handle, const std::string& path)>;

absl::Status LoadFrom(const RuntimeLibrary& library, const std::string& path, const Use& use) {
  const LibraryAllocations scope;
  // RTLD_LOCAL: neither its names nor those of the libraries that it may bring reach anything else.
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = dlerror();
    return FailedPrecondition("cannot load {} from {}: {}; {}", library.runtime, path,
                              why != nullptr ? why : "unknown reason", library.remedy);
  }
  return use(handle, path);
}

}  // namespace

RuntimeSearch RuntimeLibrary::DefaultSearch() const {
  RuntimeSearch search;
  if (const char* chosen = std::getenv(variable.c_str()); chosen != nullptr && *chosen != '\0') {
    search.chosen = chosen;
  }
  const auto add = [&](const std::filesystem::path& folder) {
    for (const std::string& name : file_names) {
      search.candidates.push_back((folder / name).string());
    }
  };
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) {
    const auto folder = program.parent_path();
    add(folder.parent_path() / "lib");
    for (const std::string& below : subfolders) add(folder.parent_path() / "lib" / below);
    add(folder / "lib");
  }
  if (!built_with.empty()) add(built_with);
  // No slash: the system's loader looks for them.
  search.candidates.insert(search.candidates.end(), file_names.begin(), file_names.end());
  return search;
}

absl::Status RuntimeLibrary::Load(const RuntimeSearch& search, const Use& use) const {
  if (!search.chosen.empty()) {
    const absl::Status loaded = LoadFrom(*this, search.chosen, use);
    return loaded.ok() ? loaded : WithContext(loaded, variable);
  }
  std::string tried;
  for (const std::string& candidate : search.candidates) {
    const bool is_path = candidate.find('/') != std::string::npos;
    std::error_code error;
    if (is_path && !std::filesystem::exists(candidate, error)) {
      tried += (tried.empty() ? "" : ", ") + candidate;
      continue;
    }
    const absl::Status loaded = LoadFrom(*this, candidate, use);
    if (loaded.ok() || is_path) return loaded;
    tried += (tried.empty() ? "" : ", ") + candidate + " by the system's loader";
  }
  return FailedPrecondition("{} is not installed: {}; looked for: {}", runtime, remedy, tried);
}

bool FindFunction(void* handle, const char* name, void** function) {
  *function = dlsym(handle, name);
  return *function != nullptr;
}

}  // namespace sightline
