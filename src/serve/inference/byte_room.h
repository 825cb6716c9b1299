// Room in bytes that requests share: what they hold together is bounded.
//
// Threads: safe. The room lives as long as anything that was taken of it.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace sightline::serve {

class ByteRoom : public std::enable_shared_from_this<ByteRoom> {
 public:
  // Given back when it goes.
  class Taken {
   public:
    Taken(std::shared_ptr<ByteRoom> room, size_t bytes) : room_(std::move(room)), bytes_(bytes) {}
    Taken(const Taken&) = delete;
    Taken& operator=(const Taken&) = delete;
    ~Taken() { room_->taken_.fetch_sub(bytes_, std::memory_order_relaxed); }

   private:
    const std::shared_ptr<ByteRoom> room_;
    const size_t bytes_;
  };

  static std::shared_ptr<ByteRoom> Make(size_t most_bytes) {
    return std::shared_ptr<ByteRoom>(new ByteRoom(most_bytes));
  }

  // Null when there is not so much left.
  std::shared_ptr<const Taken> Take(size_t bytes) {
    size_t taken = taken_.load(std::memory_order_relaxed);
    do {
      if (bytes > most_ || taken > most_ - bytes) return nullptr;
    } while (!taken_.compare_exchange_weak(taken, taken + bytes, std::memory_order_relaxed));
    return std::make_shared<const Taken>(shared_from_this(), bytes);
  }
  size_t taken() const { return taken_.load(std::memory_order_relaxed); }

 private:
  explicit ByteRoom(size_t most) : most_(most) {}
  const size_t most_;
  std::atomic<size_t> taken_{0};
};

}  // namespace sightline::serve
