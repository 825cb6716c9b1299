#include "base/whole_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

namespace sightline {
namespace {

std::string WordsOf(int error) { return std::generic_category().message(error); }

absl::Status WriteContent(int fd, const std::string& path, std::string_view content) {
  const int error = WriteAll(fd, content);
  return error == 0 ? absl::OkStatus() : FileError(error, "writing to", path);
}

absl::Status WriteAsItIs(const std::string& path, std::string_view content) {
  const FileHandle file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file.get() < 0) return FileError(errno, "opening", path);
  return WriteContent(file.get(), path, content);
}

absl::Status WriteBesideAndRename(const std::string& path, std::string_view content) {
  static std::atomic<unsigned> counter{0};
  const std::string beside = fmt::format("{}.tmp-{}-{}", path, getpid(), counter.fetch_add(1));
  absl::Status status;
  {
    const FileHandle file(open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (file.get() < 0) return FileError(errno, "writing to", path);
    status = WriteContent(file.get(), path, content);
    if (status.ok() && fsync(file.get()) != 0) status = FileError(errno, "writing to", path);
  }
  if (status.ok() && rename(beside.c_str(), path.c_str()) != 0) {
    status = FileError(errno, "writing to", path);
  }
  if (!status.ok()) unlink(beside.c_str());
  return status;
}

}  // namespace

int WriteAll(int fd, std::string_view bytes, int64_t* written) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? errno : EIO;
    bytes.remove_prefix(static_cast<size_t>(n));
    if (written != nullptr) *written += n;
  }
  return 0;
}

FileHandle::~FileHandle() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path, uint64_t max_bytes) {
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  const FileHandle file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return NotFound("no file {}", path);
    return FileError(errno, "reading", path);
  }
  struct stat status {};
  if (fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return InvalidArgument("{} is not a file", path);
  }
  if (static_cast<uint64_t>(status.st_size) > max_bytes) {
    return ResourceExhausted("{} has {} bytes, {} are allowed", path, status.st_size, max_bytes);
  }
  std::string content(static_cast<size_t>(status.st_size), '\0');
  size_t filled = 0;
  while (filled < content.size()) {
    const ssize_t got = read(file.get(), content.data() + filled, content.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(errno, "reading", path);
    if (got == 0) break;  // it became shorter meanwhile
    filled += static_cast<size_t>(got);
  }
  content.resize(filled);
  return content;
}

absl::Status WriteWholeFile(const std::string& path, std::string_view content) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return FileError(EISDIR, "writing to", path);
    // Renaming would replace a pipe, and what a redirected /dev/stdout leads to, by another file.
    const bool device = path.starts_with("/dev/") && !path.starts_with("/dev/shm/");
    if (!S_ISREG(info.st_mode) || device || path.starts_with("/proc/")) {
      return WriteAsItIs(path, content);
    }
    std::error_code error;
    const std::filesystem::path real = std::filesystem::canonical(path, error);
    if (!error) return WriteBesideAndRename(real.string(), content);
  }
  return WriteBesideAndRename(path, content);
}

absl::Status WriteWholeFile(const std::string& path, std::span<const uint8_t> content) {
  return WriteWholeFile(
      path, std::string_view(reinterpret_cast<const char*>(content.data()), content.size()));
}

absl::Status FileError(int error, std::string_view doing, const std::string& path) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return ResourceExhausted("{} {}: {}; what was written before stays; free some space", doing,
                               path, WordsOf(error));
    case EFBIG:
      return FailedPrecondition(
          "{} {}: {}; what was written before stays; allow larger files (`ulimit -f`) or choose a "
          "place "
          "on another file system",
          doing, path, WordsOf(error));
    case EMFILE:
    case ENFILE:
      return ResourceExhausted(
          "{} {}: {}; allow more with `ulimit -n`, or run with fewer cameras at a time", doing,
          path, WordsOf(error));
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
          doing, path, WordsOf(error));
    default:
      return MakeError(absl::StatusCode::kInternal, "{} {}: {}", doing, path, WordsOf(error));
  }
}

absl::Status MakeFolder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!error && std::filesystem::is_directory(folder, error)) return absl::OkStatus();
  return FailedPrecondition(
      "cannot make the folder {} for the results: {}; choose another with --out", folder,
      error ? error.message() : "a file of that name is there");
}

}  // namespace sightline
