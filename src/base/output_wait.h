// What an output does that cannot write for now, because its disk is full or another program holds its
// database: it keeps what it has and tries again.
//
// Meanwhile the queue before it fills up, and live cameras drop frames before the model, counted as
// late: nothing that was processed is lost, and memory stays bounded. For outputs of live cameras; a
// run over recordings rather ends and says why.
//
// Threads: any; several outputs of one thread share one. Cost: none while writing succeeds.
#pragma once

#include <chrono>
#include <string>

#include "absl/functional/function_ref.h"
#include "base/mutex.h"
#include "base/status.h"

namespace sightline {

class OutputWait {
 public:
  // Calls `attempt`, which writes something or fails without having half of it, until it succeeds,
  // fails in a way that does not pass by itself, or End() is called; its last result. What may pass is
  // ResourceExhausted (no room) and Unavailable (locked by another). Says in the log when waiting
  // begins and when it is over.
  absl::Status Until(absl::FunctionRef<absl::Status()> attempt) EXCLUDES(mutex_);

  // Whether outputs wait at all, from their next failure on; they do unless told otherwise.
  void Enable(bool enabled) EXCLUDES(mutex_);

  // Nobody waits any more, now and later: the run is to end. Who waits tries once more.
  void End() EXCLUDES(mutex_);

  // What the output that waits has last failed with; empty: none waits.
  std::string reason() const EXCLUDES(mutex_);

 private:
  bool Pause(const absl::Status& error, std::chrono::milliseconds pause) EXCLUDES(mutex_);

  mutable Mutex mutex_;
  CondVar ended_changed_;
  bool enabled_ GUARDED_BY(mutex_) = true;
  bool ended_ GUARDED_BY(mutex_) = false;
  std::string reason_ GUARDED_BY(mutex_);
};

// For outputs that may have one to wait with; null: what the only attempt gives.
inline absl::Status WriteOrWait(OutputWait* wait, absl::FunctionRef<absl::Status()> attempt) {
  return wait == nullptr ? attempt() : wait->Until(attempt);
}

}  // namespace sightline
