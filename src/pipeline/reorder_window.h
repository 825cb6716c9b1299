// The frames of one camera that are on their way through a model, kept in order.
//
// The reader reserves a slot a frame, in the camera's order; model threads finish slots in any order;
// NextInOrder() hands them out in the order of reservation. A frame that failed still takes its place,
// as a tombstone (its status says why), so nothing after it waits for ever and nothing shifts.
//
// Policy: Reserve() blocks while `capacity` slots are taken; that bound is also the number of decoded
// pictures that a camera can hold. Memory: slots are made once.
//
// Pace: a live camera's frames are handed on at once. Those of a recording go in bursts of half the
// capacity, since each change of threads costs: whoever reserves is woken when a burst of slots is
// free, whoever takes when a burst is finished, when the first of it has waited for 0.1 s, or when no
// further frames come.
//
// Threads: one reserves, one takes in order, any finish. Cost: one lock per call.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "pipeline/detection_job.h"

namespace sightline {

class ReorderWindow;

// One frame on its way: what the batcher carries.
// `failure` is what a tombstone counts as.
class FrameSlot final : public DetectionJob {
 public:
  void Done(const absl::Status& status) override;

  absl::Status status;  // not OK: a tombstone
  int64_t read_us = 0;  // when it was read, by Clock::NowMonotonicUs()

 private:
  friend class ReorderWindow;
  ReorderWindow* window_ = nullptr;
  bool finished_ = false;  // guarded by the window's mutex
};

class ReorderWindow {
 public:
  enum class Pace : uint8_t { kAtOnce, kBursts };
  explicit ReorderWindow(size_t capacity, Pace pace = Pace::kAtOnce);
  ReorderWindow(const ReorderWindow&) = delete;
  ReorderWindow& operator=(const ReorderWindow&) = delete;

  // The next slot, waiting for one; null after Close().
  FrameSlot* Reserve() EXCLUDES(mutex_);
  // The next slot, or null when there is none now.
  FrameSlot* TryReserve() EXCLUDES(mutex_);
  // No further frames will come.
  void Close() EXCLUDES(mutex_);

  // The oldest frame, once it is finished; null when the window is closed and empty. The slot stays
  // taken until Release().
  FrameSlot* NextInOrder() EXCLUDES(mutex_);
  void Release(FrameSlot* slot) EXCLUDES(mutex_);

  size_t capacity() const { return slots_.size(); }
  size_t depth() const EXCLUDES(mutex_);

 private:
  friend class FrameSlot;
  FrameSlot* TakeSlot() REQUIRES(mutex_);
  void Finish(FrameSlot* slot) EXCLUDES(mutex_);
  bool IsDue(size_t finished) const REQUIRES(mutex_);

  // How many slots are handed on in one burst.
  const size_t burst_;
  mutable Mutex mutex_;
  CondVar slot_free_;
  CondVar head_ready_;
  std::vector<FrameSlot> slots_;        // a ring; its size is constant
  size_t head_ GUARDED_BY(mutex_) = 0;  // oldest taken slot
  size_t taken_ GUARDED_BY(mutex_) = 0;
  bool closed_ GUARDED_BY(mutex_) = false;
  bool in_burst_ GUARDED_BY(mutex_) = false;
};

}  // namespace sightline
