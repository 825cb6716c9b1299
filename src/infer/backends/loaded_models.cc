#include "infer/backends/loaded_models.h"

#include <sys/stat.h>

namespace sightline {

absl::StatusOr<LoadedModelKey> KeyOfModel(const std::string& file, std::string use) {
  struct stat status {};
  if (stat(file.c_str(), &status) != 0) return NotFound("no model file {}", file);
  if (!S_ISREG(status.st_mode)) return InvalidArgument("{} is not a file", file);
  return LoadedModelKey{
      .use = std::move(use),
      .device = status.st_dev,
      .inode = status.st_ino,
      .bytes = status.st_size,
      .modified_ns = status.st_mtim.tv_sec * int64_t{1'000'000'000} + status.st_mtim.tv_nsec};
}

}  // namespace sightline
