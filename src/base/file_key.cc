#include "base/file_key.h"

#include <sys/stat.h>

#include <filesystem>
#include <system_error>

namespace sightline {

FileKey::FileKey(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0) {
    exists_ = true;
    device_file_ = S_ISCHR(info.st_mode);
    device_ = info.st_dev;
    inode_ = info.st_ino;
    return;
  }
  std::error_code error;
  // Absolute first: of a relative path whose first folder is missing the canonical form is relative.
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  const std::filesystem::path canonical = std::filesystem::weakly_canonical(absolute, error);
  canonical_ = (error ? absolute.lexically_normal() : canonical).string();
}

bool operator==(const FileKey& a, const FileKey& b) {
  if (a.exists_ != b.exists_) return false;
  if (!a.exists_) return a.canonical_ == b.canonical_;
  return !a.device_file_ && a.device_ == b.device_ && a.inode_ == b.inode_;
}

}  // namespace sightline
