#include "serve/http/body_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace sightline::serve {
namespace {

size_t CapacityFor(size_t bytes) {
  return (bytes + BodyMemory::kBlockStep - 1) / BodyMemory::kBlockStep * BodyMemory::kBlockStep;
}

}  // namespace

BodyMemory::Block::~Block() {
  if (bytes_ != nullptr) memory_->Give(bytes_, capacity_);
}

std::shared_ptr<BodyMemory> BodyMemory::Make(size_t most_bytes) {
  return std::shared_ptr<BodyMemory>(new BodyMemory(most_bytes));
}

BodyMemory::~BodyMemory() { StopKeeping(); }

bool BodyMemory::TakeRoom(size_t bytes) {
  const MutexLock lock(mutex_);
  if (bytes > most_ || taken_ > most_ - bytes) {
    ++refused_;
    return false;
  }
  if (kept_bytes_ > most_ - bytes - taken_) FreeKept();
  taken_ += bytes;
  return true;
}

void BodyMemory::GiveRoom(size_t bytes) {
  const MutexLock lock(mutex_);
  taken_ -= bytes;
}

BodyMemory::Block BodyMemory::TakeKept(size_t bytes, size_t held) {
  const size_t least = std::max(CapacityFor(bytes), held);
  const MutexLock lock(mutex_);
  for (size_t i = kept_.size(); i-- > 0;) {
    const Kept kept = kept_[i];
    if (kept.capacity < least || kept.capacity > least + least / 2) continue;
    Block block(shared_from_this(), kept.bytes, kept.capacity);
    kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(i));
    kept_bytes_ -= kept.capacity;
    taken_ += kept.capacity - held;  // no more in all than before
    ++in_use_;
    return block;
  }
  return {};
}

BodyMemory::Block BodyMemory::New(size_t bytes) {
  if (bytes > SIZE_MAX / 2) return {};
  const size_t capacity = CapacityFor(bytes);
  // Not from the heap: what is given back there comes and goes in ways that nobody here can count.
  void* const memory =
      mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return {};
  const MutexLock lock(mutex_);
  ++in_use_;
  return {shared_from_this(), static_cast<char*>(memory), capacity};
}

void BodyMemory::Give(char* bytes, size_t capacity) {
  {
    const MutexLock lock(mutex_);
    --in_use_;
    const size_t most_kept = std::min(kMostKeptBytes, most_ / 4);
    if (keeps_ && capacity <= kLargestKept && kept_bytes_ + capacity <= most_kept &&
        kept_bytes_ + capacity <= most_ - taken_) {
      try {
        kept_.push_back({bytes, capacity});
        kept_bytes_ += capacity;
        return;
      } catch (const std::bad_alloc&) {  // then it is not kept
      }
    }
  }
  Free(bytes, capacity);
}

bool BodyMemory::Tidy() {
  const MutexLock lock(mutex_);
  std::erase_if(kept_, [this](Kept& kept) REQUIRES(mutex_) {
    if (!kept.was_seen) {
      kept.was_seen = true;
      return false;
    }
    Free(kept.bytes, kept.capacity);
    kept_bytes_ -= kept.capacity;
    return true;
  });
  return in_use_ > 0 || !kept_.empty();
}

void BodyMemory::StopKeeping() {
  const MutexLock lock(mutex_);
  keeps_ = false;
  FreeKept();
}

void BodyMemory::FreeKept() {
  for (const Kept& kept : kept_) Free(kept.bytes, kept.capacity);
  kept_.clear();
  kept_bytes_ = 0;
}

void BodyMemory::Free(char* bytes, size_t capacity) { munmap(bytes, capacity); }

size_t BodyMemory::taken_bytes() const {
  const MutexLock lock(mutex_);
  return taken_;
}

size_t BodyMemory::kept_bytes() const {
  const MutexLock lock(mutex_);
  return kept_bytes_;
}

uint64_t BodyMemory::refused() const {
  const MutexLock lock(mutex_);
  return refused_;
}

}  // namespace sightline::serve
