#include "media/file_bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/whole_file.h"

namespace sightline {
namespace {

constexpr size_t kWholeBytes = size_t{8} << 20;
constexpr size_t kEdgeBytes = size_t{1} << 20;
constexpr size_t kBlockBytes = size_t{64} << 10;
constexpr int64_t kBlocks = 62;

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
  return FileError(error_number, "reading", path);
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
  const FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
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
    if (got < 0) status = FileError(errno, "reading", path);
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
  const FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
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
  if (got < 0) return FileError(errno, "reading", path);
  bytes->resize(static_cast<size_t>(got));
  return absl::OkStatus();
}

}  // namespace sightline
