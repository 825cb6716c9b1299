// Tells everything that waits on the network to end early, once and for all.
//
// Threads: safe. Whoever waits on something of its own (a poll) adds a function that wakes it.
#pragma once

#include <cstdint>
#include <functional>
#include <list>

#include "base/mutex.h"

namespace sightline::net {

class CancelSignal {
 public:
  void Cancel() EXCLUDES(mutex_);
  bool cancelled() const EXCLUDES(mutex_);
  // Waits at most `us`; true as soon as it is cancelled.
  bool WaitFor(int64_t us) EXCLUDES(mutex_);

  // While it lives, Cancel() calls `wake`, once; at once when that has been. `wake` must be quick,
  // must not block, and must not touch the signal: the lock is held, so that what it wakes is there.
  class Listener {
   public:
    Listener(CancelSignal* signal, std::function<void()> wake);  // null: does nothing
    ~Listener();
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

   private:
    CancelSignal* const signal_;
    std::list<std::function<void()>>::iterator place_;
  };

 private:
  mutable Mutex mutex_;
  CondVar woken_;
  bool cancelled_ GUARDED_BY(mutex_) = false;
  std::list<std::function<void()>> listeners_ GUARDED_BY(mutex_);
};

}  // namespace sightline::net
