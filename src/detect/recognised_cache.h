// What was recognised of ONNX files that were never added, kept from run to run: per file one YAML
// under the hash of its bytes and, where it had to be mended, the mended copy beside it.
//
// Folder: $XDG_CACHE_HOME/sightline/recognised-N, else ~/.cache/...; N rises when recognition
// changes. It may be deleted at any time. Threads and processes: safe, files appear whole.
#pragma once

#include <string>

#include "base/status.h"
#include "infer/onnx_file.h"
#include "types/model_spec.h"

namespace sightline {

class RecognisedCache {
 public:
  explicit RecognisedCache(std::string folder) : folder_(std::move(folder)) {}
  static RecognisedCache Default();

  // NotFound when there is nothing usable; never another error.
  absl::StatusOr<ModelSpec> Find(const std::string& model_file, const std::string& sha256) const;

  // The file to run in the place of the one that `info` describes: a mended copy in the cache when
  // its weights are listed as inputs, else itself; also itself when no copy could be made.
  std::string Mended(const OnnxFileInfo& info, const std::string& sha256) const;

  // Keeps what was found of the file with the SHA-256 `sha256`. spec.sha256 is that of spec.file,
  // which is the file itself or its mended copy. Errors when nothing could be written.
  absl::Status Keep(const std::string& sha256, const ModelSpec& spec) const;

 private:
  absl::Status CheckUsable(const std::string& sha256) const;
  std::string YamlPath(const std::string& sha256) const { return folder_ + "/" + sha256 + ".yaml"; }
  std::string CopyPath(const std::string& sha256) const { return folder_ + "/" + sha256 + ".onnx"; }

  std::string folder_;  // empty = no home folder
};

}  // namespace sightline
