#include "pipeline/reorder_window.h"

#include <algorithm>
#include <chrono>

#include "base/check.h"

namespace sightline {
namespace {

// How long a finished frame waits at most for others to be handed on with; chosen.
constexpr std::chrono::milliseconds kMostLinger{100};

}  // namespace

void FrameSlot::Done(const absl::Status& done) {
  if (!done.ok()) status = done;
  if (absl::IsCancelled(done)) failure = DropReason::kShutdown;
  window_->Finish(this);
}

ReorderWindow::ReorderWindow(size_t capacity, Pace pace)
    : burst_(pace == Pace::kBursts ? std::max<size_t>(1, capacity / 2) : 1), slots_(capacity) {
  SL_CHECK(capacity > 0, "a window needs a slot");
  for (FrameSlot& slot : slots_) slot.window_ = this;
}

FrameSlot* ReorderWindow::Reserve() {
  MutexLock lock(mutex_);
  if (taken_ == slots_.size()) {
    while (!closed_ && taken_ + burst_ > slots_.size()) slot_free_.Wait(mutex_);
  }
  return closed_ ? nullptr : TakeSlot();
}

FrameSlot* ReorderWindow::TryReserve() {
  MutexLock lock(mutex_);
  return closed_ || taken_ == slots_.size() ? nullptr : TakeSlot();
}

FrameSlot* ReorderWindow::TakeSlot() {
  FrameSlot& slot = slots_[(head_ + taken_) % slots_.size()];
  if (++taken_ == 1 && burst_ > 1) head_ready_.NotifyOne();  // from now on it lingers
  slot.finished_ = false;
  slot.status = absl::OkStatus();
  slot.failure = DropReason::kInferenceError;
  slot.model_began_us = 0;
  return &slot;
}

void ReorderWindow::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
  slot_free_.NotifyAll();
  head_ready_.NotifyAll();
}

FrameSlot* ReorderWindow::NextInOrder() {
  MutexLock lock(mutex_);
  in_burst_ = in_burst_ && IsDue(1);
  while (!in_burst_ && !(closed_ && taken_ == 0)) {
    if (IsDue(burst_) || (closed_ && IsDue(1))) {
      in_burst_ = true;
    } else if (taken_ == 0 || burst_ == 1) {
      head_ready_.Wait(mutex_);
    } else if (!head_ready_.WaitFor(mutex_, kMostLinger)) {
      in_burst_ = IsDue(1);
    }
  }
  return taken_ > 0 ? &slots_[head_] : nullptr;
}

bool ReorderWindow::IsDue(size_t finished) const {
  if (taken_ < finished) return false;
  for (size_t i = 0; i < finished; ++i) {
    if (!slots_[(head_ + i) % slots_.size()].finished_) return false;
  }
  return true;
}

void ReorderWindow::Release(FrameSlot* slot) {
  slot->frame = Frame();  // gives the picture back before the slot
  MutexLock lock(mutex_);
  SL_CHECK(slot == &slots_[head_] && taken_ > 0, "slots are released in order");
  head_ = (head_ + 1) % slots_.size();
  --taken_;
  if (taken_ + burst_ <= slots_.size()) slot_free_.NotifyOne();
  if (closed_ && taken_ == 0) head_ready_.NotifyAll();
}

void ReorderWindow::Finish(FrameSlot* slot) {
  MutexLock lock(mutex_);
  slot->finished_ = true;
  // Waking for what cannot be taken yet would cost a context switch for nothing.
  if (!in_burst_ && IsDue(closed_ ? 1 : burst_)) head_ready_.NotifyOne();
}

size_t ReorderWindow::depth() const {
  MutexLock lock(mutex_);
  return taken_;
}

}  // namespace sightline
