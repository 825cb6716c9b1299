#include <utility>

#include "serve/http/feed_queue_internal.h"

namespace sightline::serve {

FeedQueue::FeedQueue(size_t most_messages, size_t most_bytes, std::shared_ptr<FeedCounts> counts,
                     std::function<void()> wake)
    : most_messages_(most_messages),
      most_bytes_(most_bytes),
      counts_(std::move(counts)),
      wake_(std::move(wake)) {
  counts_->open.fetch_add(1, std::memory_order_relaxed);
}

FeedQueue::~FeedQueue() { Close(); }

size_t FeedQueue::SizeOf(const FeedMessage& message) {
  return message.event.size() + message.id.size() + message.data.size();
}

void FeedQueue::DropOldest() {
  bytes_ -= SizeOf(*messages_.front());
  messages_.pop_front();
  ++lost_;
  counts_->lost.fetch_add(1, std::memory_order_relaxed);
}

bool FeedQueue::Send(std::shared_ptr<const FeedMessage> message) {
  {
    const MutexLock lock(mutex_);
    if (!open_ || ended_) return false;
    bytes_ += SizeOf(*message);
    messages_.push_back(std::move(message));
    while (messages_.size() > most_messages_ || bytes_ > most_bytes_) DropOldest();
    if (messages_.empty() || std::exchange(woken_, true)) return true;
  }
  wake_();
  return true;
}

void FeedQueue::End() {
  {
    const MutexLock lock(mutex_);
    if (!open_ || std::exchange(ended_, true) || std::exchange(woken_, true)) return;
  }
  wake_();
}

void FeedQueue::Cut() {
  {
    const MutexLock lock(mutex_);
    if (!open_) return;
    messages_.clear();
    bytes_ = 0;
    if (std::exchange(ended_, true) || std::exchange(woken_, true)) return;
  }
  wake_();
}

bool FeedQueue::open() const {
  const MutexLock lock(mutex_);
  return open_ && !ended_;
}

uint64_t FeedQueue::lost() const {
  const MutexLock lock(mutex_);
  return lost_;
}

std::shared_ptr<const FeedMessage> FeedQueue::Take() {
  const MutexLock lock(mutex_);
  if (messages_.empty()) {
    woken_ = false;
    return nullptr;
  }
  std::shared_ptr<const FeedMessage> oldest = std::move(messages_.front());
  messages_.pop_front();
  bytes_ -= SizeOf(*oldest);
  counts_->sent.fetch_add(1, std::memory_order_relaxed);
  return oldest;
}

bool FeedQueue::at_end() const {
  const MutexLock lock(mutex_);
  return ended_ && messages_.empty();
}

void FeedQueue::Close() {
  const MutexLock lock(mutex_);
  if (!std::exchange(open_, false)) return;
  messages_.clear();
  bytes_ = 0;
  counts_->open.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace sightline::serve
