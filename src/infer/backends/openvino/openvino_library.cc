#include "infer/backends/openvino/openvino_library_internal.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <utility>

#ifndef SIGHTLINE_OPENVINO_DEFAULT_FOLDER
#define SIGHTLINE_OPENVINO_DEFAULT_FOLDER ""
#endif

namespace sightline {
namespace {

// The numbers of the element types in the C interface are those of the headers only since then.
constexpr int kOldestYear = 2026;

RuntimeLibrary Wanted() {
  return {.runtime = "OpenVINO",
          .variable = "SIGHTLINE_OPENVINO_LIBRARY",
          // A link without a version, as ./dev setup makes it, then the names of releases.
          .file_names = {"libopenvino_c.so", "libopenvino_c.so.2641"},
          .subfolders = {"openvino"},
          .built_with = SIGHTLINE_OPENVINO_DEFAULT_FOLDER,
          .remedy = fmt::format("run ./dev setup, or set SIGHTLINE_OPENVINO_LIBRARY to a "
                                "libopenvino_c.so of {} or newer",
                                kOldestYear)};
}

absl::StatusOr<OpenVinoLibrary> UseHandle(void* handle, const std::string& path) {
  OpenVinoLibrary library;
  library.path = path;
  const char* missing = nullptr;
  decltype(&::ov_get_openvino_version) version_of = nullptr;
  if (!FindFunction(handle, "ov_get_openvino_version", &version_of)) {
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
  if (!FindFunction(handle, #name, &library.api.name)) missing = #name;
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

}  // namespace

RuntimeSearch DefaultOpenVinoSearch() { return Wanted().DefaultSearch(); }

absl::StatusOr<OpenVinoLibrary> LoadOpenVino(const RuntimeSearch& search) {
  OpenVinoLibrary library;
  SL_RETURN_IF_ERROR(Wanted().Load(search, [&](void* handle, const std::string& path) {
    auto used = UseHandle(handle, path);
    if (used.ok()) library = *std::move(used);
    return used.status();
  }));
  return library;
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
