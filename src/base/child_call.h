// A call in a process of its own: what it does to memory, and its crash or endless loop, stay there.
// For work on files of unknown origin by libraries that were not written for them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"

namespace sightline {

struct ChildLimits {
  int64_t wall_ms = 120'000;
  // Address space beyond what the process has when it begins. Not enforced under sanitizers, whose
  // own tables are larger.
  int64_t memory_bytes = int64_t{8} << 30;
};

struct ChildAnswer {
  absl::Status status;
  bool died = false;  // `status` is not what `work` gave but how the child ended
};

// Forks, calls `work` in the child and gives back its status (at most 60 KB of words). When the child
// gives none: DataLoss, "it crashed (Segmentation fault)"; Cancelled when SIGINT or SIGTERM ended it;
// DeadlineExceeded past wall_ms, when it is killed. ResourceExhausted, with the limit, when `work` lets
// std::bad_alloc out. Unavailable when there can be no child. The child leaves no core file, runs no
// handlers at exit, and dies with its parent.
//
// Threads: the child has the calling thread alone, so call this where there are no others that may
// hold locks that `work` takes. Cost: a fork, 1 to 20 ms by the size of the process.
ChildAnswer CallInChild(const std::function<absl::Status()>& work, const ChildLimits& limits = {});

// The same for a process that may have threads: begins this program anew with `arguments` behind its
// name, which makes it call AnswerParent(). Its standard streams are the caller's. limits.memory_bytes
// is all of the child's address space. Cost: the start of the program.
ChildAnswer CallThisProgram(const std::vector<std::string>& arguments,
                            const ChildLimits& limits = {});

// In the program that was begun so: gives `status` to who waits for it and ends. Returns when nobody
// waits.
void AnswerParent(const absl::Status& status);

}  // namespace sightline
