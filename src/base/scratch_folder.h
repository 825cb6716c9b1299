// A folder for what is needed for a while.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"

namespace sightline {

// A folder of its own under TMPDIR (else /tmp), gone with this and all that is in it.
class ScratchFolder {
 public:
  // FailedPrecondition where nothing can be written.
  static absl::StatusOr<std::unique_ptr<ScratchFolder>> Make();
  explicit ScratchFolder(std::string path) : path_(std::move(path)) {}
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

}  // namespace sightline
