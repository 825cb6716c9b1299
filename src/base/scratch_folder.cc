#include "base/scratch_folder.h"

#include <stdlib.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

namespace sightline {

absl::StatusOr<std::unique_ptr<ScratchFolder>> ScratchFolder::Make() {
  const char* const wished = std::getenv("TMPDIR");
  const std::filesystem::path root = wished != nullptr && *wished != '\0' ? wished : "/tmp";
  std::string pattern = (root / "sightline-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) {
    return FailedPrecondition(
        "cannot write into {}: {}: set TMPDIR to a folder that can be written", root.string(),
        std::generic_category().message(errno));
  }
  return std::make_unique<ScratchFolder>(std::move(pattern));
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace sightline
