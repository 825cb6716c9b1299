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

  // Keeps `spec` of the file that `info` describes, with the SHA-256 `sha256`. Returns the spec to
  // run: of the mended copy where there is one. Errors when nothing could be written.
  absl::StatusOr<ModelSpec> Keep(const OnnxFileInfo& info, const std::string& sha256,
                                 ModelSpec spec) const;

 private:
  std::string YamlPath(const std::string& sha256) const { return folder_ + "/" + sha256 + ".yaml"; }
  std::string CopyPath(const std::string& sha256) const { return folder_ + "/" + sha256 + ".onnx"; }

  std::string folder_;  // empty = no home folder
};

}  // namespace sightline
