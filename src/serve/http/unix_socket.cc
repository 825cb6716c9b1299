#include "serve/http/unix_socket.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace sightline::serve {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }
  int Release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

int NewSocket() { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }

const sockaddr* AsAddress(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// Takes away what a process that is gone has left at the path.
absl::Status MakeWay(const std::string& path, const sockaddr_un& address) {
  struct stat there {};
  if (lstat(path.c_str(), &there) != 0) return absl::OkStatus();  // nothing, or bind() says what
  if (!S_ISSOCK(there.st_mode)) {
    return FailedPrecondition("{} is there already and is no socket; choose another path", path);
  }
  const Descriptor probe(NewSocket());
  if (connect(probe.get(), AsAddress(address), sizeof(address)) == 0 || errno == EAGAIN) {
    return FailedPrecondition("another process answers at {}; stop it, or choose another path",
                              path);
  }
  if (errno != ECONNREFUSED) {
    return FailedPrecondition("who owns the socket {} cannot be told: {}", path, strerror(errno));
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return FailedPrecondition("the socket {} of a process that is gone cannot be removed: {}", path,
                              strerror(errno));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<UnixSocket> UnixSocket::Listen(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path) ||
      path.find('\0') != std::string::npos) {
    return InvalidArgument("\"{}\" cannot be a socket: its path may have at most {} bytes", path,
                           sizeof(address.sun_path) - 1);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  // Held from the look to the listening: of two processes that find a dead socket one replaces it, and
  // the other then finds a living one.
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const Descriptor turn(
      open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (turn.get() < 0 || flock(turn.get(), LOCK_EX) != 0) {
    return FailedPrecondition("the folder of the socket {} cannot be used: {}", path,
                              strerror(errno));
  }
  SL_RETURN_IF_ERROR(MakeWay(path, address));
  Descriptor made(NewSocket());
  // Nobody can connect before listen(), so the mode is right from the first moment on.
  if (made.get() < 0 || bind(made.get(), AsAddress(address), sizeof(address)) != 0) {
    return FailedPrecondition("the socket {} cannot be made: {}", path, strerror(errno));
  }
  UnixSocket result(path, made.Release());
  struct stat mine {};
  if (lstat(path.c_str(), &mine) == 0) {
    result.device_ = mine.st_dev;
    result.inode_ = mine.st_ino;
  }
  if (chmod(path.c_str(), 0600) != 0 || listen(result.descriptor_, SOMAXCONN) != 0) {
    return FailedPrecondition("nobody can be let in at the socket {}: {}", path, strerror(errno));
  }
  return result;
}

UnixSocket::UnixSocket(UnixSocket&& other) noexcept
    : path_(std::exchange(other.path_, {})),
      descriptor_(std::exchange(other.descriptor_, -1)),
      device_(other.device_),
      inode_(other.inode_) {}

UnixSocket::~UnixSocket() {
  if (descriptor_ >= 0) close(descriptor_);
  struct stat there {};
  if (!path_.empty() && lstat(path_.c_str(), &there) == 0 && there.st_dev == device_ &&
      there.st_ino == inode_) {
    unlink(path_.c_str());
  }
}

int UnixSocket::Release() { return std::exchange(descriptor_, -1); }

}  // namespace sightline::serve
