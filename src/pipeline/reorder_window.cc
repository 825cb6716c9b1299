#include "pipeline/reorder_window.h"

#include "base/check.h"

namespace sightline {

void FrameSlot::Done(const absl::Status& done) {
  if (!done.ok()) status = done;
  if (absl::IsCancelled(done)) failure = DropReason::kShutdown;
  window_->Finish(this);
}

ReorderWindow::ReorderWindow(size_t capacity) : slots_(capacity) {
  SL_CHECK(capacity > 0, "a window needs a slot");
  for (FrameSlot& slot : slots_) slot.window_ = this;
}

FrameSlot* ReorderWindow::Reserve() {
  MutexLock lock(mutex_);
  while (!closed_ && taken_ == slots_.size()) slot_free_.Wait(mutex_);
  return closed_ ? nullptr : TakeSlot();
}

FrameSlot* ReorderWindow::TryReserve() {
  MutexLock lock(mutex_);
  return closed_ || taken_ == slots_.size() ? nullptr : TakeSlot();
}

FrameSlot* ReorderWindow::TakeSlot() {
  FrameSlot& slot = slots_[(head_ + taken_) % slots_.size()];
  ++taken_;
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
  while (!(taken_ > 0 && slots_[head_].finished_) && !(closed_ && taken_ == 0)) {
    head_ready_.Wait(mutex_);
  }
  return taken_ > 0 ? &slots_[head_] : nullptr;
}

void ReorderWindow::Release(FrameSlot* slot) {
  slot->frame = Frame();  // gives the picture back before the slot
  MutexLock lock(mutex_);
  SL_CHECK(slot == &slots_[head_] && taken_ > 0, "slots are released in order");
  head_ = (head_ + 1) % slots_.size();
  --taken_;
  slot_free_.NotifyOne();
  if (closed_ && taken_ == 0) head_ready_.NotifyAll();
}

void ReorderWindow::Finish(FrameSlot* slot) {
  MutexLock lock(mutex_);
  slot->finished_ = true;
  // Only the head can be taken; waking for the others would cost a context switch for nothing.
  if (slot == &slots_[head_]) head_ready_.NotifyOne();
}

size_t ReorderWindow::depth() const {
  MutexLock lock(mutex_);
  return taken_;
}

}  // namespace sightline
