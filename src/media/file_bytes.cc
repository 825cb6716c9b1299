#include "media/file_bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <system_error>

namespace sightline {
namespace {

constexpr size_t kWholeBytes = size_t{8} << 20;
constexpr size_t kEdgeBytes = size_t{1} << 20;
constexpr size_t kBlockBytes = size_t{64} << 10;
constexpr int64_t kBlocks = 62;

std::string ErrorText(int error_number) {
  return std::error_code(error_number, std::generic_category()).message();
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }
  // Closes now; false when the last written bytes did not reach the disk.
  bool Close() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

// Reads up to `size` bytes at `offset`; returns how many, negative on error.
ssize_t ReadAt(int fd, int64_t offset, uint8_t* to, size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(fd, to + done, size - done, offset + static_cast<int64_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return static_cast<ssize_t>(done);
}

absl::Status OpenError(const std::string& path, int error_number) {
  if (error_number == ENOENT || error_number == ENOTDIR) {
    return NotFound("{}: no such file; check the path (globs need quotes in a shell)", path);
  }
  if (error_number == EACCES || error_number == EPERM) {
    return FailedPrecondition("{}: no permission to read it; check its owner and mode", path);
  }
  return Unavailable("{}: cannot be read: {}", path, ErrorText(error_number));
}

}  // namespace

absl::Status CheckReadableFile(const std::string& path) {
  struct stat about {};
  if (::stat(path.c_str(), &about) != 0) return OpenError(path, errno);
  if (S_ISDIR(about.st_mode)) {
    return InvalidArgument("{}: is a folder, a file is wanted here", path);
  }
  if (!S_ISREG(about.st_mode)) {
    return InvalidArgument(
        "{}: is not a regular file (a device, pipe or socket cannot be opened here)", path);
  }
  if (::access(path.c_str(), R_OK) != 0) return OpenError(path, errno);
  if (about.st_size == 0) {
    return DataLoss("{}: the file is empty (0 bytes); copy or record it again", path);
  }
  return absl::OkStatus();
}

absl::StatusOr<Hash128> FingerprintFile(const std::string& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return OpenError(path, errno);
  struct stat about {};
  if (::fstat(file.get(), &about) != 0) return OpenError(path, errno);
  const int64_t size = about.st_size;
  std::vector<uint8_t> buffer;
  Hash128 hash = FieldHasher().Add(size).Finish();
  absl::Status status;
  const auto mix = [&](int64_t offset, size_t bytes) {
    buffer.resize(bytes);
    const ssize_t got = ReadAt(file.get(), offset, buffer.data(), bytes);
    if (got < 0) status = Unavailable("{}: cannot be read: {}", path, ErrorText(errno));
    const size_t have = got < 0 ? 0 : static_cast<size_t>(got);
    hash = FieldHasher().Add(hash).Add(HashBytes({buffer.data(), have})).Finish();
  };
  if (size <= static_cast<int64_t>(kWholeBytes)) {
    mix(0, static_cast<size_t>(size));
  } else {
    mix(0, kEdgeBytes);
    for (int64_t i = 1; i <= kBlocks; ++i) mix(size / (kBlocks + 1) * i, kBlockBytes);
    mix(size - static_cast<int64_t>(kEdgeBytes), kEdgeBytes);
  }
  if (!status.ok()) return status;
  return hash;
}

absl::Status ReadFileBytes(const std::string& path, size_t max_bytes, std::vector<uint8_t>* bytes) {
  SL_RETURN_IF_ERROR(CheckReadableFile(path));
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return OpenError(path, errno);
  struct stat about {};
  if (::fstat(file.get(), &about) != 0) return OpenError(path, errno);
  const auto size = static_cast<size_t>(std::max<int64_t>(about.st_size, 0));
  if (size > max_bytes) {
    return ResourceExhausted("{}: {} bytes, more than the limit of {} for one picture", path, size,
                             max_bytes);
  }
  bytes->resize(size);
  const ssize_t got = ReadAt(file.get(), 0, bytes->data(), size);
  if (got < 0) return Unavailable("{}: cannot be read: {}", path, ErrorText(errno));
  bytes->resize(static_cast<size_t>(got));
  return absl::OkStatus();
}

absl::Status WriteError(const std::string& path, int error_number) {
  switch (error_number) {
    case ENOSPC:
      return ResourceExhausted("{}: no space left on the disk; free some or write elsewhere", path);
    case EDQUOT:
      return ResourceExhausted("{}: the disk quota is used up; free some or write elsewhere", path);
    case EFBIG:
      return ResourceExhausted("{}: larger than the file size limit (see ulimit -f)", path);
    case ENOENT:
    case ENOTDIR:
      return NotFound("{}: its folder does not exist; make it first", path);
    case EISDIR:
      return InvalidArgument("{}: is a folder, a file name is wanted", path);
    case EACCES:
    case EPERM:
    case EROFS:
      return FailedPrecondition("{}: no permission to write there; choose another folder", path);
    default:
      return Unavailable("{}: cannot be written: {}", path, ErrorText(error_number));
  }
}

absl::Status WriteFileAtomically(const std::string& path, std::span<const uint8_t> bytes) {
  static std::atomic<uint64_t> count{0};
  const std::string temporary = fmt::format("{}.tmp-{}-{}", path, ::getpid(), count.fetch_add(1));
  FileDescriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (file.get() < 0) return WriteError(path, errno);
  int error_number = 0;
  for (size_t done = 0; done < bytes.size() && error_number == 0;) {
    const ssize_t put = ::write(file.get(), bytes.data() + done, bytes.size() - done);
    if (put > 0) done += static_cast<size_t>(put);
    if (put < 0 && errno != EINTR) error_number = errno;
    if (put == 0) error_number = ENOSPC;
  }
  if (error_number == 0 && ::fdatasync(file.get()) != 0) error_number = errno;
  if (!file.Close() && error_number == 0) error_number = errno;
  if (error_number == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) error_number = errno;
  if (error_number == 0) return absl::OkStatus();
  ::unlink(temporary.c_str());
  return WriteError(path, error_number);
}

}  // namespace sightline
