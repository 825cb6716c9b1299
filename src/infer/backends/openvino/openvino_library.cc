#include "infer/backends/openvino/openvino_library_internal.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/allocation_scope.h"

namespace sightline {
namespace {

// A link without a version, as ./dev setup makes it, then the names of releases.
constexpr std::array<const char*, 2> kFileNames = {"libopenvino_c.so", "libopenvino_c.so.2641"};
// The numbers of the element types in the C interface are those of the headers only since then.
constexpr int kOldestYear = 2026;

template <typename Function>
bool Find(void* handle, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(handle, name));
  return *function != nullptr;
}

absl::StatusOr<OpenVinoLibrary> UseHandle(void* handle, const std::string& path) {
  OpenVinoLibrary library;
  library.path = path;
  const char* missing = nullptr;
  const auto version_of = reinterpret_cast<decltype(&::ov_get_openvino_version)>(
      dlsym(handle, "ov_get_openvino_version"));
  if (version_of == nullptr) {
    return FailedPrecondition("{} is not OpenVINO: it has no ov_get_openvino_version", path);
  }
  ov_version_t version{};
  if (version_of(&version) == ov_status_e::OK && version.buildNumber != nullptr) {
    const std::string_view number = version.buildNumber;  // "2026.4.1-22982-0123abc-releases/..."
    library.version = number.substr(0, number.find('-'));
  }
  if (std::atoi(library.version.c_str()) < kOldestYear) {
    return FailedPrecondition(
        "OpenVINO {} at {} is too old, {} or newer is needed: run ./dev setup, or set "
        "SIGHTLINE_OPENVINO_LIBRARY to a newer libopenvino_c.so",
        library.version, path, kOldestYear);
  }
#define SIGHTLINE_FIND(name) \
  if (!Find(handle, #name, &library.api.name)) missing = #name;
  SIGHTLINE_OPENVINO_FUNCTIONS(SIGHTLINE_FIND)
#undef SIGHTLINE_FIND
  if (missing != nullptr) {
    return FailedPrecondition(
        "OpenVINO {} at {} cannot be used: it has no {}; run ./dev setup for one that fits",
        library.version, path, missing);
  }
  library.api.ov_version_free(&version);
  return library;
}

absl::StatusOr<OpenVinoLibrary> LoadFrom(const std::string& path) {
  const LibraryAllocations scope;
  // RTLD_LOCAL: neither its names nor those of the TBB that it may bring reach anything else.
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = dlerror();
    return FailedPrecondition("cannot load OpenVINO from {}: {}", path,
                              why != nullptr ? why : "unknown reason");
  }
  return UseHandle(handle, path);
}

}  // namespace

OpenVinoSearch DefaultOpenVinoSearch() {
  OpenVinoSearch search;
  if (const char* chosen = std::getenv("SIGHTLINE_OPENVINO_LIBRARY");
      chosen != nullptr && *chosen != '\0') {
    search.chosen = chosen;
  }
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto add = [&](const std::filesystem::path& folder) {
    for (const char* name : kFileNames) search.candidates.push_back((folder / name).string());
  };
  if (!error) {
    const auto folder = program.parent_path();
    add(folder.parent_path() / "lib");
    add(folder.parent_path() / "lib/openvino");
    add(folder / "lib");
  }
#ifdef SIGHTLINE_OPENVINO_DEFAULT_FOLDER
  add(SIGHTLINE_OPENVINO_DEFAULT_FOLDER);
#endif
  // No slash: the system's loader looks for them.
  search.candidates.insert(search.candidates.end(), kFileNames.begin(), kFileNames.end());
  return search;
}

absl::StatusOr<OpenVinoLibrary> LoadOpenVino(const OpenVinoSearch& search) {
  if (!search.chosen.empty()) {
    auto library = LoadFrom(search.chosen);
    if (library.ok()) return library;
    return WithContext(library.status(), "SIGHTLINE_OPENVINO_LIBRARY");
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
      "OpenVINO is not installed: run ./dev setup, or set SIGHTLINE_OPENVINO_LIBRARY to a "
      "libopenvino_c.so of {} or newer; looked for: {}",
      kOldestYear, tried);
}

std::string OpenVinoWords(const OpenVinoApi& api, ov_status_e status) {
  std::string text;
  if (const char* words = api.ov_get_last_err_msg(); words != nullptr) {
    text = words;
    api.ov_free(words);
  }
  if (text.empty()) {
    const char* info = api.ov_get_error_info(status);
    text = info != nullptr ? info : "no reason given";
  }
  // "Exception from src/inference/src/cpp/core.cpp:89:\nCheck 'x' failed at src/y.cpp:12:\nwords"
  std::string kept;
  for (size_t from = 0; from < text.size();) {
    const size_t end = std::min(text.find('\n', from), text.size());
    const std::string_view line = std::string_view(text).substr(from, end - from);
    from = end + 1;
    const bool position =
        (line.starts_with("Exception from ") || line.starts_with("Check '")) && line.ends_with(':');
    if (line.empty() || position) continue;
    if (!kept.empty()) kept += ' ';
    kept += line;
  }
  if (kept.empty()) kept = text;
  constexpr size_t kLongest = 600;  // chosen: some messages hold whole graphs
  if (kept.size() > kLongest) kept = kept.substr(0, kLongest) + " ...";
  std::replace(kept.begin(), kept.end(), '\n', ' ');
  return kept;
}

}  // namespace sightline
