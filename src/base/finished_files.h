// The files that a run has finished: it does not write over what it wrote itself.
//
// An output may be closed and opened again within a run. What stands under its name then is set aside
// under the first free number: "gate.mp4" becomes "gate~1.mp4". What an earlier run has left is nobody's
// here: it is replaced as ever.
//
// Files are told by device and inode, so that one which was moved or replaced meanwhile is left alone.
//
// Threads: safe. Memory: 16 bytes a finished file.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"

namespace sightline {

class FinishedFiles {
 public:
  // Before another file gets the name `path`: gives one of this run's another name. A link is followed.
  // Errors: those of FileError(); then nothing has changed.
  absl::Status MakeWay(const std::string& path) EXCLUDES(mutex_);
  // When a file has got the name `path`.
  void Add(const std::string& path) EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  std::set<std::pair<uint64_t, uint64_t>> files_ GUARDED_BY(mutex_);  // device, inode
};

}  // namespace sightline
