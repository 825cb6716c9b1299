// A listening Unix domain socket that belongs to this process alone.
//
// Threads: reentrant; two processes that want one path at once are told apart.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/status.h"

namespace sightline::serve {

class UnixSocket {
 public:
  // Binds and listens; the file has mode 0600 before anyone can connect. The socket of a process that
  // is gone is replaced. FailedPrecondition when a living one answers there, when something else is at
  // the path, or when the folder does not allow it; InvalidArgument for a path too long for a socket.
  static absl::StatusOr<UnixSocket> Listen(const std::string& path);
  UnixSocket(UnixSocket&& other) noexcept;
  UnixSocket& operator=(UnixSocket&&) = delete;
  // Removes the file, unless another has taken its place.
  ~UnixSocket();

  // The descriptor, which is the caller's from then on.
  int Release();
  const std::string& path() const { return path_; }

 private:
  UnixSocket(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}

  std::string path_;
  int descriptor_;
  dev_t device_ = 0;  // of the file, to know it again
  ino_t inode_ = 0;
};

}  // namespace sightline::serve
