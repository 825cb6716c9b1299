// Whether two paths mean the same file, however they are written.
//
// Threads: reentrant. Cost: one stat; for a path where nothing is, some more.
#pragma once

#include <cstdint>
#include <string>

namespace sightline {

// Files that are there are compared by device and inode, so links count as what they lead to; paths
// where nothing is yet are compared in their canonical form.
class FileKey {
 public:
  explicit FileKey(const std::string& path);
  // Character devices (/dev/null, a terminal) hold nothing that could be lost: never the same.
  friend bool operator==(const FileKey& a, const FileKey& b);
  bool exists() const { return exists_; }

 private:
  bool exists_ = false;
  bool device_file_ = false;
  uint64_t device_ = 0;
  uint64_t inode_ = 0;
  std::string canonical_;  // when nothing is there
};

}  // namespace sightline
