#include "infer/whole_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>

namespace sightline {
namespace {

class FileHandle {
 public:
  explicit FileHandle(int fd) : fd_(fd) {}
  ~FileHandle() {
    if (fd_ >= 0) close(fd_);
  }
  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

std::string ErrnoWords() { return std::generic_category().message(errno); }

absl::Status WriteError(const std::string& path) {
  if (errno == ENOSPC || errno == EDQUOT) {
    return ResourceExhausted("cannot write {}: {}: free some space and try again", path,
                             ErrnoWords());
  }
  return FailedPrecondition("cannot write {}: {}", path, ErrnoWords());
}

absl::Status WriteAll(int fd, const std::string& path, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return WriteError(path);
    content.remove_prefix(static_cast<size_t>(written));
  }
  if (fsync(fd) != 0) return WriteError(path);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ReadWholeFile(const std::string& path, uint64_t max_bytes) {
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  const FileHandle file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return NotFound("no file {}", path);
    return FailedPrecondition("cannot read {}: {}", path, ErrnoWords());
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
    if (got < 0) return FailedPrecondition("cannot read {}: {}", path, ErrnoWords());
    if (got == 0) break;  // it became shorter meanwhile
    filled += static_cast<size_t>(got);
  }
  content.resize(filled);
  return content;
}

absl::Status WriteWholeFile(const std::string& path, std::string_view content) {
  static std::atomic<unsigned> counter{0};
  const std::string beside = fmt::format("{}.tmp-{}-{}", path, getpid(), counter.fetch_add(1));
  absl::Status status;
  {
    const FileHandle file(open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (file.get() < 0) return WriteError(path);
    status = WriteAll(file.get(), path, content);
  }
  if (status.ok() && rename(beside.c_str(), path.c_str()) != 0) status = WriteError(path);
  if (!status.ok()) unlink(beside.c_str());
  return status;
}

}  // namespace sightline
