// An annotated std::mutex, so that a Clang build proves which lock guards which member.
//
// std::mutex and not absl::Mutex: Debian's Abseil is not built for ThreadSanitizer, which would
// then report races that are none. Annotations follow Clang's "Thread Safety Analysis".
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

// GUARDED_BY, PT_GUARDED_BY and NO_THREAD_SAFETY_ANALYSIS come from Abseil, whose headers define
// them anyway; the rest is not among its names.
#include "absl/base/thread_annotations.h"

#if defined(__clang__)
#define SL_ATTRIBUTE(x) __attribute__((x))
#else
#define SL_ATTRIBUTE(x)
#endif
#define REQUIRES(...) SL_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) SL_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) SL_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define RELEASE(...) SL_ATTRIBUTE(release_capability(__VA_ARGS__))

namespace sightline {

class SL_ATTRIBUTE(capability("mutex")) Mutex {
 public:
  void Lock() ACQUIRE() { mutex_.lock(); }
  void Unlock() RELEASE() { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class SL_ATTRIBUTE(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~MutexLock() RELEASE() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// A condition variable for Mutex. Wait in a loop over the condition: wake-ups may be spurious.
class CondVar {
 public:
  void Wait(Mutex& mutex) REQUIRES(mutex) NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  // Returns false when the time was up.
  bool WaitFor(Mutex& mutex, std::chrono::microseconds timeout)
      REQUIRES(mutex) NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const bool woken = condition_.wait_for(lock, timeout) == std::cv_status::no_timeout;
    lock.release();
    return woken;
  }
  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace sightline
