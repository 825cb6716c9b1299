// Threads on which large bodies are read and written, so that the one of the HTTP server goes on
// answering others, and those of models go on running them.
//
// Threads: Post() from any. Bounds: `capacity` pieces of work wait; more are refused.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/bounded_queue.h"
#include "base/status.h"
#include "serve/rest/infer_json.h"

namespace sightline::serve {

class BodyThreads {
 public:
  using Work = std::function<void(JsonReader&)>;  // with a reader of its thread

  // ResourceExhausted when the system gives too few threads; none is left.
  static absl::StatusOr<std::shared_ptr<BodyThreads>> Start(int threads, size_t capacity);
  ~BodyThreads() { Stop(); }

  // False, and `work` as it was, when it is full or has ended.
  bool Post(Work&& work) { return queue_.TryPush(std::move(work)); }
  // What waits is dropped, what is under way ends. Idempotent; from one thread, none of its own.
  void Stop();

 private:
  explicit BodyThreads(size_t capacity) : queue_(capacity, QueuePolicy::kBlock) {}
  void Loop();

  BoundedQueue<Work> queue_;
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace sightline::serve
