#include "cli/model_files.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/uuid.h"
#include "infer/model_package.h"
#include "infer/model_store.h"

namespace sightline::cli {
namespace {

namespace fs = std::filesystem;

// Of a single file its SHA-256, so that `sha256sum` tells the same; empty when one cannot be read.
std::string ContentOf(const ModelConfig& model) {
  std::vector<std::string> files = FilesOf(model);
  std::erase_if(files, [](const std::string& file) {
    std::error_code ignored;
    return !fs::is_regular_file(file, ignored);
  });
  if (files.size() == 1) return FileSha256(files[0]);
  std::sort(files.begin(), files.end());
  std::string all;
  for (const std::string& file : files) {
    const std::string sha256 = FileSha256(file);
    if (sha256.empty()) return "";
    all += fs::path(file).filename().string() + "\n" + sha256 + "\n";
  }
  if (files.empty()) return "";
  const Hash128 hash = HashString(all);
  return fmt::format("{:016x}{:016x}", hash.high, hash.low);
}

// A copy of the model as it stands in the configuration, with parts that are such copies.
std::shared_ptr<const ModelConfig> Relinked(const Config& config, const ModelConfig& model) {
  const auto entry = std::ranges::find(config.models, model.name, &ModelConfig::name);
  auto copy = std::make_shared<ModelConfig>(entry == config.models.end() ? model : *entry);
  for (auto& [name, part] : copy->parts) part = Relinked(config, *part);
  return copy;
}

}  // namespace

std::vector<std::string> FilesOf(const ModelConfig& model) {
  std::string folder;
  if (model.origin == ModelOrigin::kFile) {
    std::error_code ignored;
    if (!fs::is_directory(model.reference, ignored)) {
      std::vector<std::string> files = {model.reference};
      if (PeekPackageBeside(model.reference).ok()) {
        files.push_back((fs::path(model.reference).parent_path() / kModelYaml).string());
      }
      return files;
    }
    folder = model.reference;
  } else if (model.origin == ModelOrigin::kPackage && CheckModelName(model.reference).ok()) {
    folder = ModelStore::Default().FolderOf(model.reference);
  }
  std::vector<std::string> files;
  std::error_code error;
  if (folder.empty()) return files;
  for (fs::directory_iterator at(folder, error); !error && at != fs::directory_iterator();
       at.increment(error)) {
    files.push_back(at->path().string());
  }
  return files;
}

void LookAtModels(const Config* before, Config& config) {
  for (ModelConfig& model : config.models) {
    model.content = ContentOf(model);
    if (!model.content.empty() || before == nullptr) continue;
    for (const ModelConfig& earlier : before->models) {
      if (earlier.name == model.name && earlier.reference == model.reference) {
        model.content = earlier.content;
      }
    }
  }
  for (ModelConfig& model : config.models) {
    for (auto& [name, part] : model.parts) part = Relinked(config, *part);
  }
}

}  // namespace sightline::cli
