// Files read and written in one piece, and the errors of files in words for people.
//
// Threads: reentrant.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sightline {

// NotFound, InvalidArgument when it is no regular file (folders, pipes and devices are refused, so
// that nothing blocks or never ends), ResourceExhausted beyond `max_bytes`.
absl::StatusOr<std::string> ReadWholeFile(const std::string& path, uint64_t max_bytes);

// Whole or not at all: into a file beside `path`, flushed to the disk, then renamed over it; on an
// error `path` is as it was. A link is followed. What is no regular file (a pipe, /dev/stdout) is
// written to as it is. Errors: those of FileError.
absl::Status WriteWholeFile(const std::string& path, std::string_view content);
absl::Status WriteWholeFile(const std::string& path, std::span<const uint8_t> content);

// Writes until all is written; 0, or an errno. What was written, also before an error, is added to
// *written, which may be null.
int WriteAll(int fd, std::string_view bytes, int64_t* written = nullptr);

// One line for an errno of open, write, fsync or rename. `doing` reads like "writing to".
//   ResourceExhausted   no space, quota, size limit, too many open files
//   FailedPrecondition  no such folder, not a file, no permission, read-only
//   Internal            anything else
absl::Status FileError(int error, std::string_view doing, const std::string& path);

inline std::span<const uint8_t> AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// The folder, with those above it. FailedPrecondition with what stands in the way: an output folder
// that cannot be made is its user's to mend.
absl::Status MakeFolder(const std::string& folder);

// A file descriptor that closes itself.
class FileHandle {
 public:
  explicit FileHandle(int fd) : fd_(fd) {}
  ~FileHandle();
  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

}  // namespace sightline
