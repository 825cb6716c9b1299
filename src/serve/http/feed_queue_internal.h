// What waits for one client that listens. Internal to serve/http.
#pragma once

#include <atomic>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>

#include "base/mutex.h"
#include "serve/http/http_feed.h"

namespace sightline::serve {

// Of all feeds of a server.
struct FeedCounts {
  std::atomic<uint64_t> open{0};
  std::atomic<uint64_t> sent{0};
  std::atomic<uint64_t> lost{0};
};

class FeedQueue final : public HttpFeed {
 public:
  // Beyond so many messages or bytes the oldest is lost. `wake` is called, from any thread, when there is
  // something to Take().
  FeedQueue(size_t most_messages, size_t most_bytes, std::shared_ptr<FeedCounts> counts,
            std::function<void()> wake);
  ~FeedQueue() override;

  bool Send(std::shared_ptr<const FeedMessage> message) override;
  void End() override;
  // The same, and what waits is not sent.
  void Cut();
  bool open() const override;
  uint64_t lost() const override;

  // The oldest; null when there is none, and `wake` is called for the next.
  std::shared_ptr<const FeedMessage> Take();
  // Whether End() was called and everything taken.
  bool at_end() const;
  // The client is gone.
  void Close();

 private:
  static size_t SizeOf(const FeedMessage& message);
  void DropOldest() REQUIRES(mutex_);

  const size_t most_messages_;
  const size_t most_bytes_;
  const std::shared_ptr<FeedCounts> counts_;
  const std::function<void()> wake_;
  mutable Mutex mutex_;
  std::deque<std::shared_ptr<const FeedMessage>> messages_ GUARDED_BY(mutex_);
  size_t bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t lost_ GUARDED_BY(mutex_) = 0;
  bool open_ GUARDED_BY(mutex_) = true;
  bool ended_ GUARDED_BY(mutex_) = false;
  bool woken_ GUARDED_BY(mutex_) = false;
};

}  // namespace sightline::serve
