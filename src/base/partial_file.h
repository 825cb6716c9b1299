// A file that appears under its name only when it is whole.
//
// What is written goes to `<path>.partial`, which Commit() renames; an older file of that name stays
// as it is until then. One writer at a time: the .partial is locked (flock) while it is open, so two
// programs never write into one. A link at `path` is followed; one at `<path>.partial` is not. What
// is no regular file (a pipe, /dev/stdout) is written to as it is, and never replaced.
//
// Without Commit() the .partial stays, with what is in it, unless it is empty; a crash leaves it, too,
// and the next writer starts it anew.
//
// Threads: one at a time.
#pragma once

#include <memory>
#include <string>

#include "base/finished_files.h"
#include "base/status.h"

namespace sightline {

// Locks a file against other programs (advisory, until it is closed). Unavailable, with `path` and
// what to do, when another holds it; OK where the file system has no locks.
absl::Status LockForWriting(int fd, const std::string& path);

// Puts on the disk which files a folder holds: a rename lasts only when its folder is synced. Does
// what it can; a folder that cannot be opened or synced is no error.
void SyncFolder(const std::string& folder);

class PartialFile {
 public:
  // Unavailable when another program is writing it; else the errors of FileError. `finished` (may be
  // null): what stands in it is not replaced by Commit(), but set aside.
  static absl::StatusOr<std::unique_ptr<PartialFile>> Open(
      const std::string& path, std::shared_ptr<FinishedFiles> finished = nullptr);
  ~PartialFile();

  // For reading and writing; only writing when direct(). Stays the property of this object.
  int fd() const { return fd_; }
  // Written to as it is: no place to go back to, nothing to rename.
  bool direct() const { return direct_; }
  // The file that is being written, for messages.
  const std::string& file() const { return file_; }

  // To the disk, closed, renamed, and the folder synced. On an error the .partial stays.
  absl::Status Commit();
  // Removes the .partial; whatever had the name before stays. Nothing after Commit().
  void Discard();

 private:
  PartialFile(std::string path, std::string file, int fd, bool direct);
  absl::Status Sync();

  const std::string path_;
  const std::string file_;
  int fd_;
  const bool direct_;
  std::shared_ptr<FinishedFiles> finished_;
};

}  // namespace sightline
