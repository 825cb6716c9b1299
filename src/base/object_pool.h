// A pool of reusable objects: the hot path takes and returns buffers without allocating.
//
// Acquire() gives a shared_ptr whose last owner returns the object to the pool; both the object and
// the shared_ptr's control block are recycled. The pool grows on demand while warming up, never
// shrinks, and is bounded by its users' queues. Objects come back as they were left: reset what
// matters after Acquire. A T with a member `void OnReturn()` has it called when the object comes back,
// to let go of what it must not hold while idle. Objects may outlive the pool's handle.
//
// Threads: safe. Cost: two short locks per Acquire/return.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace sightline {

template <typename T>
class ObjectPool {
 public:
  ObjectPool() : state_(std::make_shared<State>()) {}

  std::shared_ptr<T> Acquire() {
    T* object = state_->TakeObject();
    if (object == nullptr) object = new T();
    return std::shared_ptr<T>(object, Returner{state_}, BlockAllocator<T>(state_));
  }

  // Objects made so far, in use or free.
  size_t created() const { return state_->created(); }

 private:
  // The control block of shared_ptr is one fixed size per T, so a free list of blocks serves.
  struct State {
    ~State() {
      for (T* object : objects) delete object;
      for (void* block : blocks) ::operator delete(block);
    }
    T* TakeObject() {
      MutexLock lock(mutex);
      if (objects.empty()) {
        ++made;
        objects.reserve(made);  // room for every object, so that returning never allocates
        return nullptr;
      }
      T* object = objects.back();
      objects.pop_back();
      return object;
    }
    void ReturnObject(T* object) {
      MutexLock lock(mutex);
      objects.push_back(object);
    }
    void* TakeBlock(size_t bytes) {
      {
        MutexLock lock(mutex);
        if (!blocks.empty() && bytes == block_bytes) {
          void* block = blocks.back();
          blocks.pop_back();
          return block;
        }
        block_bytes = bytes;
        blocks.reserve(made + 1);
      }
      return ::operator new(bytes);
    }
    void ReturnBlock(void* block) {
      MutexLock lock(mutex);
      blocks.push_back(block);
    }
    size_t created() const {
      MutexLock lock(mutex);
      return made;
    }
    mutable Mutex mutex;
    std::vector<T*> objects GUARDED_BY(mutex);
    std::vector<void*> blocks GUARDED_BY(mutex);
    size_t block_bytes GUARDED_BY(mutex) = 0;
    size_t made GUARDED_BY(mutex) = 0;
  };

  struct Returner {
    std::shared_ptr<State> state;
    void operator()(T* object) const {
      if constexpr (requires { object->OnReturn(); }) object->OnReturn();
      state->ReturnObject(object);
    }
  };

  template <typename U>
  struct BlockAllocator {
    using value_type = U;
    explicit BlockAllocator(std::shared_ptr<State> s) : state(std::move(s)) {}
    template <typename V>
    BlockAllocator(const BlockAllocator<V>& other)
        : state(other.state) {}  // NOLINT: allocator rebind
    U* allocate(size_t n) { return static_cast<U*>(state->TakeBlock(n * sizeof(U))); }
    void deallocate(U* block, size_t) { state->ReturnBlock(block); }
    template <typename V>
    bool operator==(const BlockAllocator<V>& other) const {
      return state == other.state;
    }
    std::shared_ptr<State> state;
  };

  std::shared_ptr<State> state_;
};

}  // namespace sightline
