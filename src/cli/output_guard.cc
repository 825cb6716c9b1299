#include "cli/output_guard.h"

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <system_error>
#include <vector>

#include "base/file_key.h"
#include "cli/composition.h"
#include "cli/model_files.h"
#include "media/open_source.h"

namespace sightline::cli {
namespace {

namespace fs = std::filesystem;

struct OutputFile {
  std::string what;
  std::string path;
  FileKey key;
  size_t owner;  // files of one output may share nothing with others
};

std::vector<OutputFile> OutputFilesOf(const Config& config, const std::string& only) {
  std::vector<OutputFile> files;
  size_t owner = 0;
  const auto add = [&](const std::string& what, const std::string& path,
                       std::initializer_list<const char*> beside) {
    if (path.empty()) return;
    files.push_back({what, path, FileKey(path), owner});
    for (const char* end : beside) {
      files.push_back({what, path + end, FileKey(path + end), owner});
    }
    ++owner;
  };
  const OutputPaths paths = PathsOf(config, only);
  add("the database", paths.database, {"-wal", "-shm", "-journal"});
  add("the JSON lines", paths.json_lines, {".partial"});
  for (const auto& [camera, path] : paths.reports) add("the report of camera " + camera, path, {});
  for (const auto& [camera, path] : paths.videos) {
    add("the annotated video of camera " + camera, path, {".partial"});
  }
  return files;
}

// `input` must be called by a name that may be printed.
absl::Status CheckInput(const std::vector<OutputFile>& outputs, const std::string& path,
                        const std::string& input) {
  const FileKey key(path);
  for (const OutputFile& output : outputs) {
    if (!(output.key == key)) continue;
    return InvalidArgument(
        "{} ({}) would be written over {}; nothing was written; choose another folder or name for "
        "the results",
        output.what, output.path, input);
  }
  return absl::OkStatus();
}

absl::Status CheckSource(const std::vector<OutputFile>& outputs, const CameraConfig& camera) {
  const std::string& url = camera.source.Reveal();
  // A folder's pictures are there: only what is there already can be one of them, and millions need
  // not be looked at for a run into a new folder.
  const auto there = [](const OutputFile& output) { return output.key.exists(); };
  std::error_code ignored;
  if (fs::is_directory(url, ignored) && std::ranges::none_of(outputs, there)) {
    return absl::OkStatus();
  }
  std::vector<std::string> files = LocalFilesOf(url);
  const bool only = files.empty() || (files.size() == 1 && files[0] == url);
  if (files.empty() && !camera.source_is_url) files.push_back(url);
  for (const std::string& file : files) {
    const std::string name =
        only ? fmt::format("the source of camera {}, {}", camera.id, camera.source.shown())
             : fmt::format("a file of the source of camera {}, {}", camera.id, file);
    SL_RETURN_IF_ERROR(CheckInput(outputs, file, name));
  }
  return absl::OkStatus();
}

// No file of `outputs` may be one that the configuration reads.
absl::Status CheckInputs(const Config& config, const std::string& config_file,
                         const std::vector<OutputFile>& outputs) {
  if (!config_file.empty()) {
    SL_RETURN_IF_ERROR(CheckInput(outputs, config_file, "the configuration file, " + config_file));
  }
  for (const CameraConfig& camera : config.cameras) {
    SL_RETURN_IF_ERROR(CheckSource(outputs, camera));
  }
  for (const ModelConfig& model : config.models) {
    for (const std::string& file : FilesOf(model)) {
      SL_RETURN_IF_ERROR(CheckInput(outputs, file, "a file of the model, " + file));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckOutputFiles(const Config& config, const std::string& config_file,
                              const std::string& only, const Config* running) {
  const std::vector<OutputFile> outputs = OutputFilesOf(config, only);
  SL_RETURN_IF_ERROR(CheckInputs(config, config_file, outputs));
  if (running != nullptr) {
    SL_RETURN_IF_ERROR(CheckInputs(config, config_file, OutputFilesOf(*running, only)));
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    for (size_t k = 0; k < i; ++k) {
      const OutputFile& a = outputs[k];
      const OutputFile& b = outputs[i];
      if (a.owner == b.owner || !(a.key == b.key)) continue;
      return InvalidArgument("{} and {} would be the same file, {}; give one of them another name",
                             a.what, b.what, b.path);
    }
  }
  return absl::OkStatus();
}

}  // namespace sightline::cli
