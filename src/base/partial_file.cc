#include "base/partial_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/whole_file.h"

namespace sightline {
namespace {

// An empty, locked, regular file of that name which nothing else is a link to; its descriptor.
absl::StatusOr<int> OpenLocked(const std::string& file, const std::string& path) {
  // More than one round only when somebody renames or removes it meanwhile.
  constexpr int kRounds = 100;
  for (int round = 0; round < kRounds; ++round) {
    // O_NONBLOCK: a pipe of that name must not hold us up.
    const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
    if (fd < 0 && errno == ELOOP) {
      // A link: what it leads to is not ours to write.
      if (unlink(file.c_str()) != 0 && errno != ENOENT) return FileError(errno, "removing", file);
      continue;
    }
    if (fd < 0) return FileError(errno, "opening", file);
    struct stat opened {};
    struct stat named {};
    absl::Status status;
    if (fstat(fd, &opened) != 0) {
      status = FileError(errno, "opening", file);
    } else if (!S_ISREG(opened.st_mode)) {
      status = FailedPrecondition("{} is no regular file; move it away", file);
    } else {
      status = LockForWriting(fd, path);
    }
    bool again = false;
    if (status.ok()) {
      again = lstat(file.c_str(), &named) != 0 || named.st_ino != opened.st_ino ||
              named.st_dev != opened.st_dev;
      if (!again && opened.st_nlink > 1) {
        again = true;
        if (unlink(file.c_str()) != 0) status = FileError(errno, "removing", file);
      } else if (!again && ftruncate(fd, 0) != 0) {
        status = FileError(errno, "opening", file);
      }
    }
    if (status.ok() && !again) return fd;
    close(fd);
    SL_RETURN_IF_ERROR(status);
  }
  return Unavailable("{} is being replaced by other programs; give another folder or name", file);
}

}  // namespace

void SyncFolder(const std::string& folder) {
  const int fd = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

absl::Status LockForWriting(int fd, const std::string& path) {
  int result = 0;
  do {
    result = flock(fd, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result == 0 || errno != EWOULDBLOCK) return absl::OkStatus();  // else: no locks here
  return Unavailable("another run is writing {}; wait for its end or give another --out", path);
}

PartialFile::PartialFile(std::string path, std::string file, int fd, bool direct)
    : path_(std::move(path)), file_(std::move(file)), fd_(fd), direct_(direct) {}

absl::StatusOr<std::unique_ptr<PartialFile>> PartialFile::Open(
    const std::string& path, std::shared_ptr<FinishedFiles> finished) {
  std::string real = path;
  struct stat there {};
  if (stat(path.c_str(), &there) == 0) {
    if (S_ISDIR(there.st_mode)) return FileError(EISDIR, "opening", path);
    const bool device = path.starts_with("/dev/") && !path.starts_with("/dev/shm/");
    if (!S_ISREG(there.st_mode) || device || path.starts_with("/proc/")) {
      const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
      if (fd < 0) return FileError(errno, "opening", path);
      return std::unique_ptr<PartialFile>(new PartialFile(path, path, fd, true));
    }
    std::error_code error;
    const std::filesystem::path canonical = std::filesystem::canonical(path, error);
    // Only for links, so that messages have the path as it was given.
    if (!error && std::filesystem::is_symlink(path, error)) real = canonical.string();
  }
  const std::string file = real + ".partial";
  SL_ASSIGN_OR_RETURN(const int fd, OpenLocked(file, path));
  std::unique_ptr<PartialFile> opened(new PartialFile(real, file, fd, false));
  opened->finished_ = std::move(finished);
  return opened;
}

PartialFile::~PartialFile() {
  if (fd_ < 0) return;
  struct stat info {};
  if (!direct_ && fstat(fd_, &info) == 0 && info.st_size == 0) unlink(file_.c_str());
  close(fd_);
}

absl::Status PartialFile::Sync() {
  // EINVAL, EROFS: pipes and devices cannot be synced.
  if (fsync(fd_) != 0 && errno != EINVAL && errno != EROFS)
    return FileError(errno, "syncing", file_);
  return absl::OkStatus();
}

absl::Status PartialFile::Commit() {
  if (fd_ < 0) return absl::OkStatus();
  SL_RETURN_IF_ERROR(Sync());
  if (direct_) {
    if (close(std::exchange(fd_, -1)) != 0) return FileError(errno, "closing", file_);
    return absl::OkStatus();
  }
  if (finished_) SL_RETURN_IF_ERROR(finished_->MakeWay(path_));
  // Renamed while it is locked, so that nobody else can have taken the name meanwhile.
  if (std::rename(file_.c_str(), path_.c_str()) != 0) return FileError(errno, "renaming", file_);
  if (close(std::exchange(fd_, -1)) != 0) return FileError(errno, "closing", path_);
  if (finished_) finished_->Add(path_);
  SyncFolder(std::filesystem::path(path_).parent_path().string());
  return absl::OkStatus();
}

void PartialFile::Discard() {
  if (fd_ < 0) return;
  if (!direct_) unlink(file_.c_str());
  close(std::exchange(fd_, -1));
}

}  // namespace sightline
