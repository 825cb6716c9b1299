// A bounded first-in first-out queue between two stages, with a written policy for when it is full.
//
//   kBlock       Push waits for room: recorded sources, which never drop.
//   kDropOldest  Push makes room by dropping the oldest item and hands it back to be counted: live
//                sources.
//
// Threads: any number of producers and consumers. Memory: the ring is allocated once, in the
// constructor. Cost: one lock per call; no lock is held while an item is destroyed by the caller.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/mutex.h"

namespace sightline {

enum class QueuePolicy { kBlock, kDropOldest };

// What a queue has seen; counters never go back.
struct QueueStats {
  uint64_t pushed = 0;
  uint64_t popped = 0;
  uint64_t dropped = 0;  // by kDropOldest, and what was refused after Close()
  size_t depth = 0;      // now
  size_t max_depth = 0;  // ever
};

template <typename T>
class BoundedQueue {
 public:
  BoundedQueue(size_t capacity, QueuePolicy policy) : policy_(policy), ring_(capacity) {
    SL_CHECK(capacity > 0, "a queue needs room for one item");
  }

  enum class PushResult { kPushed, kPushedAndDropped, kClosed };

  // On kPushedAndDropped, `*dropped` (may be null) is the oldest item. On kClosed, `item` is left
  // as it was.
  PushResult Push(T&& item, std::optional<T>* dropped = nullptr) EXCLUDES(mutex_) {
    PushResult result = PushResult::kPushed;
    std::optional<T> oldest;
    {
      MutexLock lock(mutex_);
      while (!closed_ && count_ == ring_.size() && policy_ == QueuePolicy::kBlock) {
        not_full_.Wait(mutex_);
      }
      if (closed_) {
        ++stats_.dropped;
        return PushResult::kClosed;
      }
      if (count_ == ring_.size()) {
        oldest = TakeFront();
        ++stats_.dropped;
        result = PushResult::kPushedAndDropped;
      }
      ring_[(head_ + count_) % ring_.size()].emplace(std::move(item));
      ++count_;
      ++stats_.pushed;
      if (count_ > stats_.max_depth) stats_.max_depth = count_;
    }
    not_empty_.NotifyOne();
    if (dropped != nullptr) *dropped = std::move(oldest);
    return result;
  }

  // As Push, but never waits and never drops: false when there is no room now, or after Close().
  bool TryPush(T&& item) EXCLUDES(mutex_) {
    {
      MutexLock lock(mutex_);
      if (closed_ || count_ == ring_.size()) return false;
      ring_[(head_ + count_) % ring_.size()].emplace(std::move(item));
      ++count_;
      ++stats_.pushed;
      if (count_ > stats_.max_depth) stats_.max_depth = count_;
    }
    not_empty_.NotifyOne();
    return true;
  }

  // Waits for an item; empty when the queue is closed and drained.
  std::optional<T> Pop() EXCLUDES(mutex_) {
    std::optional<T> item;
    {
      MutexLock lock(mutex_);
      while (count_ == 0 && !closed_) not_empty_.Wait(mutex_);
      if (count_ == 0) return std::nullopt;
      item = TakeFront();
      ++stats_.popped;
    }
    not_full_.NotifyOne();
    return item;
  }

  // As Pop, but empty also when nothing came for so long.
  std::optional<T> PopFor(std::chrono::microseconds timeout) EXCLUDES(mutex_) {
    std::optional<T> item;
    {
      MutexLock lock(mutex_);
      while (count_ == 0 && !closed_) {
        if (!not_empty_.WaitFor(mutex_, timeout)) break;
      }
      if (count_ == 0) return std::nullopt;
      item = TakeFront();
      ++stats_.popped;
    }
    not_full_.NotifyOne();
    return item;
  }

  // Closed, and nothing is left.
  bool Drained() const EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return closed_ && count_ == 0;
  }

  // As Pop, but never waits.
  std::optional<T> TryPop() EXCLUDES(mutex_) {
    std::optional<T> item;
    {
      MutexLock lock(mutex_);
      if (count_ == 0) return std::nullopt;
      item = TakeFront();
      ++stats_.popped;
    }
    not_full_.NotifyOne();
    return item;
  }

  // No further Push succeeds; what is queued can still be popped.
  void Close() EXCLUDES(mutex_) {
    {
      MutexLock lock(mutex_);
      closed_ = true;
    }
    not_empty_.NotifyAll();
    not_full_.NotifyAll();
  }

  QueueStats Stats() const EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    QueueStats stats = stats_;
    stats.depth = count_;
    return stats;
  }

  size_t capacity() const { return ring_.size(); }
  QueuePolicy policy() const { return policy_; }

 private:
  std::optional<T> TakeFront() REQUIRES(mutex_) {
    std::optional<T> item = std::move(ring_[head_]);
    ring_[head_].reset();
    head_ = (head_ + 1) % ring_.size();
    --count_;
    return item;
  }

  const QueuePolicy policy_;
  mutable Mutex mutex_;
  CondVar not_empty_;
  CondVar not_full_;
  std::vector<std::optional<T>> ring_;  // elements guarded by mutex_, size constant
  size_t head_ GUARDED_BY(mutex_) = 0;
  size_t count_ GUARDED_BY(mutex_) = 0;
  bool closed_ GUARDED_BY(mutex_) = false;
  QueueStats stats_ GUARDED_BY(mutex_);
};

}  // namespace sightline
