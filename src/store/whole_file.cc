#include "store/whole_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace sightline {

absl::Status FileError(int error, std::string_view doing, const std::string& path) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return ResourceExhausted(
          "{} {}: {}; what was written before stays; free some space and run again", doing, path,
          std::strerror(error));
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case EACCES:
    case EPERM:
    case EROFS:
    case ENAMETOOLONG:
    case ELOOP:
      return FailedPrecondition(
          "{} {}: {}; check that the folder exists, that the path is a file, and the permissions",
          doing, path, std::strerror(error));
    default:
      return MakeError(absl::StatusCode::kInternal, "{} {}: {}", doing, path, std::strerror(error));
  }
}

absl::Status WriteWholeFile(const std::string& path, std::span<const uint8_t> bytes) {
  const std::string partial = path + ".partial";
  const int fd = open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return FileError(errno, "opening", partial);
  int error = 0;
  while (!bytes.empty() && error == 0) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n > 0) {
      bytes = bytes.subspan(static_cast<size_t>(n));
    } else if (n == 0 || errno != EINTR) {
      error = n == 0 ? EIO : errno;
    }
  }
  if (error == 0 && fsync(fd) != 0) error = errno;
  if (close(fd) != 0 && error == 0) error = errno;
  if (error == 0 && std::rename(partial.c_str(), path.c_str()) != 0) error = errno;
  if (error == 0) return absl::OkStatus();
  std::remove(partial.c_str());
  return FileError(error, "writing", path);
}

}  // namespace sightline
