#include "serve/rest/body_threads.h"

#include <optional>
#include <utility>

#include "base/thread.h"

namespace sightline::serve {

absl::StatusOr<std::shared_ptr<BodyThreads>> BodyThreads::Start(int threads, size_t capacity) {
  std::shared_ptr<BodyThreads> made(new BodyThreads(capacity));
  for (int i = 0; i < threads; ++i) {
    SL_ASSIGN_OR_RETURN(std::thread thread,
                        StartThread("bodies", [raw = made.get()] { raw->Loop(); }));
    made->threads_.push_back(std::move(thread));
  }
  return made;
}

void BodyThreads::Stop() {
  stopping_.store(true, std::memory_order_relaxed);
  queue_.Close();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void BodyThreads::Loop() {
  JsonReader reader;
  while (std::optional<Work> work = queue_.Pop()) {
    if (!stopping_.load(std::memory_order_relaxed)) (*work)(reader);
  }
}

}  // namespace sightline::serve
