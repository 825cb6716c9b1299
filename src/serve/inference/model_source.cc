#include "serve/inference/model_source.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>
#include <utility>

#include "infer/model_package.h"

namespace sightline::serve {
namespace {

namespace fs = std::filesystem;

struct Reference {
  std::string name;   // "" = by what it names
  std::string names;  // the rest
};

Reference Split(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || !CheckModelName(text.substr(0, equals)).ok())
    return {"", text};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

// "3", not "03" or "0": a version, as folders are named.
int64_t VersionOf(const std::string& name) {
  int64_t version = 0;
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data(), end, version);
  const bool good = error == std::errc() && stop == end && version > 0 && name[0] != '0';
  return good ? version : 0;
}

std::map<int64_t, std::string> VersionsIn(const std::string& folder) {
  std::map<int64_t, std::string> versions;
  std::error_code error;
  for (fs::directory_iterator at(folder, error); !error && at != fs::directory_iterator();
       at.increment(error)) {
    const int64_t version = VersionOf(at->path().filename().string());
    if (version == 0) continue;
    for (const char* file : {kModelFile, kTfliteFile}) {
      std::error_code ignored;
      if (fs::is_regular_file(at->path() / file, ignored)) {
        versions.emplace(version, (at->path() / file).string());
      }
    }
  }
  return versions;
}

bool IsPath(const std::string& text) {
  std::error_code ignored;
  return text.find('/') != std::string::npos || text.ends_with(".onnx") ||
         text.ends_with(".tflite") || fs::exists(text, ignored);
}

ModelFiles FromPackage(const ModelPackage& package) {
  ModelFiles files;
  files.name = package.spec.name;
  files.versions.emplace(1, package.spec.file);
  files.labels = package.spec.labels;
  files.is_described = true;
  return files;
}

}  // namespace

absl::StatusOr<std::string> ServedNameOf(const std::string& reference) {
  const Reference split = Split(reference);
  if (!split.name.empty()) return split.name;
  std::string name = split.names;
  if (IsPath(name)) {
    std::error_code ignored;
    while (name.size() > 1 && name.ends_with('/')) name.pop_back();
    if (fs::is_directory(name, ignored)) {
      const auto package = PeekModelPackage(name);
      name = package.ok() ? package->spec.name : fs::path(name).filename().string();
    } else {
      name = ModelNameFromFile(name);
    }
  }
  SL_RETURN_IF_ERROR(CheckModelName(name));
  return name;
}

absl::StatusOr<ModelFiles> FindStoredModel(const std::string& name, const ModelStore& store) {
  SL_ASSIGN_OR_RETURN(const ModelPackage package, store.Find(name));
  return FromPackage(package);
}

absl::StatusOr<ModelFiles> FindModelFiles(const std::string& reference, bool all_versions,
                                          const ModelStore& store) {
  SL_ASSIGN_OR_RETURN(const std::string name, ServedNameOf(reference));
  const std::string place = Split(reference).names;
  ModelFiles files;
  std::error_code error;
  if (!IsPath(place)) {
    SL_ASSIGN_OR_RETURN(files, FindStoredModel(place, store));
  } else if (!fs::is_directory(place, error)) {
    if (!fs::exists(place, error)) return NotFound("there is no model file {}", place);
    files.versions.emplace(1, place);
    if (const auto beside = PeekPackageBeside(place); beside.ok()) {
      files.labels = beside->spec.labels;
      files.is_described = true;
    }
  } else if (files.versions = VersionsIn(place); files.versions.empty()) {
    if (!fs::exists(fs::path(place) / kModelYaml, error)) {
      return NotFound(
          "the folder {} is no model: neither model.yaml nor a folder for a version such as "
          "1/{} is in it",
          place, kModelFile);
    }
    SL_ASSIGN_OR_RETURN(const ModelPackage package, LoadModelPackage(place));
    files = FromPackage(package);
  }
  files.name = name;
  if (!all_versions) files.versions.erase(files.versions.begin(), std::prev(files.versions.end()));
  return files;
}

}  // namespace sightline::serve
