#include "base/finished_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/log.h"
#include "base/whole_file.h"

namespace sightline {
namespace {

// Renames without ever replacing a file; 0, or an errno.
int RenameToFreeName(const std::string& from, const std::string& to) {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  // File systems without it (some network ones) mostly have links, which replace nothing either.
  if (link(from.c_str(), to.c_str()) != 0) return errno;
  return unlink(from.c_str()) == 0 ? 0 : errno;
}

}  // namespace

absl::Status FinishedFiles::MakeWay(const std::string& path) {
  struct stat there {};
  if (stat(path.c_str(), &there) != 0 || !S_ISREG(there.st_mode)) return absl::OkStatus();
  {
    MutexLock lock(mutex_);
    if (!files_.contains({there.st_dev, there.st_ino})) return absl::OkStatus();
  }
  std::error_code error;
  std::filesystem::path real = std::filesystem::canonical(path, error);
  if (error) real = path;
  constexpr int kMostNumbers = 1'000'000;
  for (int number = 1; number <= kMostNumbers; ++number) {
    const std::filesystem::path aside =
        real.parent_path() /
        fmt::format("{}~{}{}", real.stem().string(), number, real.extension().string());
    const int failed = RenameToFreeName(real.string(), aside.string());
    if (failed == EEXIST) continue;
    if (failed != 0) return FileError(failed, "setting aside", path);
    Log().info("{} was written earlier in this run; it is kept as {}", path, aside.string());
    return absl::OkStatus();
  }
  return FileError(EEXIST, "setting aside", path);
}

void FinishedFiles::Add(const std::string& path) {
  struct stat there {};
  if (stat(path.c_str(), &there) != 0 || !S_ISREG(there.st_mode)) return;
  MutexLock lock(mutex_);
  files_.emplace(there.st_dev, there.st_ino);
}

}  // namespace sightline
