#include "serve/inference/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/ascii_text.h"

namespace sightline::serve {
namespace {

constexpr size_t kLongestKey = 255;
constexpr size_t kLongestName = 256;

}  // namespace

SharedRegion::~SharedRegion() { close(descriptor_); }

absl::Status SharedRegion::CheckRange(size_t offset, size_t bytes) const {
  if (offset <= bytes_ && bytes <= bytes_ - offset) return absl::OkStatus();
  return InvalidArgument("{} bytes at offset {} lie outside the {} bytes of the region", bytes,
                         offset, bytes_);
}

absl::Status SharedRegion::Read(size_t offset, size_t bytes, void* to) const {
  SL_RETURN_IF_ERROR(CheckRange(offset, bytes));
  auto* at = static_cast<char*>(to);
  auto from = static_cast<off_t>(offset_ + offset);
  while (bytes > 0) {
    const ssize_t got = pread(descriptor_, at, bytes, from);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      return FailedPrecondition("the shared memory {} has become shorter than was registered",
                                key_);
    }
    at += got;
    from += got;
    bytes -= static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

absl::Status SharedRegion::Write(size_t offset, size_t bytes, const void* from) const {
  SL_RETURN_IF_ERROR(CheckRange(offset, bytes));
  // pwrite() would make an object longer that was cut short.
  struct stat status {};
  if (fstat(descriptor_, &status) != 0 ||
      static_cast<size_t>(status.st_size) < offset_ + offset + bytes) {
    return FailedPrecondition("the shared memory {} has become shorter than was registered", key_);
  }
  const auto* at = static_cast<const char*>(from);
  auto to = static_cast<off_t>(offset_ + offset);
  while (bytes > 0) {
    const ssize_t written = pwrite(descriptor_, at, bytes, to);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      return FailedPrecondition("the shared memory {} cannot be written: {}", key_,
                                std::strerror(errno));
    }
    at += written;
    to += written;
    bytes -= static_cast<size_t>(written);
  }
  return absl::OkStatus();
}

absl::Status SharedMemory::Register(const std::string& name, const std::string& key, size_t offset,
                                    size_t bytes) {
  if (!allowed_) {
    return FailedPrecondition(
        "shared memory is off: the server's option --shared-memory, or `shared_memory: true` in "
        "its "
        "configuration, turns it on");
  }
  if (name.empty() || name.size() > kLongestName) {
    return InvalidArgument("a name of a shared memory region has 1 to {} bytes", kLongestName);
  }
  if (key.size() < 2 || key.size() > kLongestKey || key[0] != '/' ||
      key.find('/', 1) != std::string::npos || key.find('\0') != std::string::npos) {
    return InvalidArgument(
        "\"{}\" is no key of shared memory: a / and then a name without another / is expected",
        ShownText(key, 100));
  }
  if (bytes == 0) return InvalidArgument("a shared memory region of no bytes");
  const int descriptor = shm_open(key.c_str(), O_RDWR | O_CLOEXEC, 0);
  if (descriptor < 0) {
    return InvalidArgument("the shared memory {} cannot be opened: {}", ShownText(key, 255),
                           std::strerror(errno));
  }
  const auto region = std::make_shared<const SharedRegion>(descriptor, key, offset, bytes);
  struct stat status {};
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    return InvalidArgument("{} is no shared memory", ShownText(key, 255));
  }
  const auto there = static_cast<size_t>(status.st_size);
  if (offset > there || bytes > there - offset) {
    return InvalidArgument("{} bytes at offset {} lie outside the shared memory {}, which has {}",
                           bytes, offset, ShownText(key, 255), there);
  }
  const MutexLock lock(mutex_);
  if (regions_.contains(name)) {
    return absl::AlreadyExistsError(
        fmt::format("shared memory region '{}' already in manager", ShownText(name, 256)));
  }
  if (regions_.size() >= kMostRegions) {
    return ResourceExhausted("{} shared memory regions are registered, and that is the most",
                             kMostRegions);
  }
  regions_.emplace(name, region);
  return absl::OkStatus();
}

absl::Status SharedMemory::Unregister(const std::string& name) {
  const MutexLock lock(mutex_);
  regions_.erase(name);
  return absl::OkStatus();
}

void SharedMemory::UnregisterAll() {
  const MutexLock lock(mutex_);
  regions_.clear();
}

absl::StatusOr<std::shared_ptr<const SharedRegion>> SharedMemory::Find(
    const std::string& name) const {
  const MutexLock lock(mutex_);
  const auto at = regions_.find(name);
  if (at != regions_.end()) return at->second;
  return NotFound("Unable to find shared memory region: '{}'", ShownText(name, 256));
}

absl::StatusOr<std::vector<SharedRegionInfo>> SharedMemory::Status(const std::string& name) const {
  std::vector<SharedRegionInfo> infos;
  const MutexLock lock(mutex_);
  for (const auto& [known, region] : regions_) {
    if (!name.empty() && known != name) continue;
    infos.push_back({known, region->key(), region->offset(), region->bytes()});
  }
  if (!name.empty() && infos.empty()) {
    return NotFound("Unable to find system shared memory region: '{}'", ShownText(name, 256));
  }
  return infos;
}

}  // namespace sightline::serve
