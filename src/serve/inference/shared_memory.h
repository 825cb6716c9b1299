// System shared memory that clients register, so that tensors need not travel.
//
// Regions are read and written by pread() and pwrite() and not mapped: a client that cuts its object
// short afterwards gets an error, where a mapping would end this process (SIGBUS). The copy is the one
// into or out of the batch's memory that is made anyway.
//
// Source: Triton's extension "Shared Memory". Threads: safe. Bounds: kMostRegions.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"

namespace sightline::serve {

// One registered region, while anyone uses it.
class SharedRegion {
 public:
  SharedRegion(int descriptor, std::string key, size_t offset, size_t bytes)
      : descriptor_(descriptor), key_(std::move(key)), offset_(offset), bytes_(bytes) {}
  ~SharedRegion();
  SharedRegion(const SharedRegion&) = delete;
  SharedRegion& operator=(const SharedRegion&) = delete;

  const std::string& key() const { return key_; }
  size_t offset() const { return offset_; }
  size_t bytes() const { return bytes_; }

  // InvalidArgument outside the region; FailedPrecondition when the object has become shorter.
  absl::Status CheckRange(size_t offset, size_t bytes) const;
  absl::Status Read(size_t offset, size_t bytes, void* to) const;
  absl::Status Write(size_t offset, size_t bytes, const void* from) const;

 private:
  const int descriptor_;
  const std::string key_;
  const size_t offset_;  // in the object
  const size_t bytes_;
};

struct SharedRegionInfo {
  std::string name;
  std::string key;
  size_t offset = 0;
  size_t bytes = 0;
};

class SharedMemory {
 public:
  static constexpr size_t kMostRegions = 4096;  // each holds a descriptor; chosen

  // `allowed`: whether clients may register any; else all is refused with FailedPrecondition.
  explicit SharedMemory(bool allowed) : allowed_(allowed) {}
  bool allowed() const { return allowed_; }

  // `key` is a POSIX name, "/" and up to 254 characters without another "/". AlreadyExists for a name
  // that is taken; InvalidArgument when there is no such object, or it is shorter.
  absl::Status Register(const std::string& name, const std::string& key, size_t offset,
                        size_t bytes) EXCLUDES(mutex_);
  // A name that is not registered is as good as unregistered, as Triton has it.
  absl::Status Unregister(const std::string& name) EXCLUDES(mutex_);
  void UnregisterAll() EXCLUDES(mutex_);

  // NotFound.
  absl::StatusOr<std::shared_ptr<const SharedRegion>> Find(const std::string& name) const
      EXCLUDES(mutex_);
  // All, or the one of that name; NotFound.
  absl::StatusOr<std::vector<SharedRegionInfo>> Status(const std::string& name) const
      EXCLUDES(mutex_);

 private:
  const bool allowed_;
  mutable Mutex mutex_;
  std::map<std::string, std::shared_ptr<const SharedRegion>> regions_ GUARDED_BY(mutex_);
};

}  // namespace sightline::serve
