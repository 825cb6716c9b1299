// Memory of the bodies of requests, shared by the connections of a server: how much of it they may have
// together, and blocks for large ones, which are used again. New memory comes from the system page by page
// as it is touched, which costs about as much as reading a body into it.
//
// Bounds: what is taken and what is kept for later are together no more than `most_bytes`. Kept are at most
// kMostKeptBytes and a quarter of that, in blocks of at most kLargestKept, each for two Tidy() at most.
// Room that is needed is not refused because of what is kept. Threads: safe. A block may outlive the server.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace sightline::serve {

class BodyMemory : public std::enable_shared_from_this<BodyMemory> {
 public:
  // All chosen.
  static constexpr size_t kMostKeptBytes = size_t{64} << 20;
  static constexpr size_t kLargestKept = size_t{8} << 20;
  static constexpr size_t kBlockStep = size_t{64}
                                       << 10;  // sizes of blocks, so that similar bodies share them

  // Its beginning lies on a page. Gives its memory back when it goes.
  class Block {
   public:
    Block() = default;
    Block(Block&& other) noexcept { Swap(other); }
    Block& operator=(Block&& other) noexcept {
      Block(std::move(other)).Swap(*this);
      return *this;
    }
    ~Block();
    explicit operator bool() const { return bytes_ != nullptr; }
    char* data() const { return bytes_; }
    size_t capacity() const { return capacity_; }

   private:
    friend class BodyMemory;
    Block(std::shared_ptr<BodyMemory> memory, char* bytes, size_t capacity)
        : memory_(std::move(memory)), bytes_(bytes), capacity_(capacity) {}
    void Swap(Block& other) {
      memory_.swap(other.memory_);
      std::swap(bytes_, other.bytes_);
      std::swap(capacity_, other.capacity_);
    }
    std::shared_ptr<BodyMemory> memory_;
    char* bytes_ = nullptr;
    size_t capacity_ = 0;
  };

  static std::shared_ptr<BodyMemory> Make(size_t most_bytes);
  ~BodyMemory();

  // False when there is not so much left, which is counted.
  bool TakeRoom(size_t bytes) EXCLUDES(mutex_);
  void GiveRoom(size_t bytes) EXCLUDES(mutex_);

  // A block that was used before, of `bytes` to about half as many again, for whoever holds `held` bytes of room: from
  // then on its capacity, for its pages are there. Empty when none is kept.
  Block TakeKept(size_t bytes, size_t held) EXCLUDES(mutex_);
  // A new one. Takes no room: of its pages those are there that were written. Empty when there is no memory.
  Block New(size_t bytes) EXCLUDES(mutex_);

  // To be called every now and then: frees what has been kept since the call before the last one. False when
  // there is no block at all.
  bool Tidy() EXCLUDES(mutex_);
  // Nothing is kept from now on.
  void StopKeeping() EXCLUDES(mutex_);

  size_t taken_bytes() const EXCLUDES(mutex_);
  size_t kept_bytes() const EXCLUDES(mutex_);
  uint64_t refused() const EXCLUDES(mutex_);

 private:
  struct Kept {
    char* bytes = nullptr;
    size_t capacity = 0;
    bool was_seen = false;  // by Tidy()
  };

  explicit BodyMemory(size_t most) : most_(most) {}
  void Give(char* bytes, size_t capacity) EXCLUDES(mutex_);
  void FreeKept() REQUIRES(mutex_);
  static void Free(char* bytes, size_t capacity);

  const size_t most_;
  mutable Mutex mutex_;
  size_t taken_ GUARDED_BY(mutex_) = 0;
  size_t kept_bytes_ GUARDED_BY(mutex_) = 0;
  size_t in_use_ GUARDED_BY(mutex_) = 0;  // blocks
  uint64_t refused_ GUARDED_BY(mutex_) = 0;
  bool keeps_ GUARDED_BY(mutex_) = true;
  std::vector<Kept> kept_ GUARDED_BY(mutex_);  // the one used last at the end
};

}  // namespace sightline::serve
