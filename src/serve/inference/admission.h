// Whether a request would be begun in time: refused at once it can be asked elsewhere, refused late it has
// cost everyone.
//
// The expected wait is the rows that are ahead (waiting or running, no less urgent) by the rate at which
// rows were answered lately while every instance had work: batches, and whatever else the machine does,
// are in it. While an instance is idle, and before anything was measured, nothing is expected to wait.
//
// Overload: a queue that was full was longer than it helps anyone: from then on, until nothing was refused
// for kCalmUs, requests are let in that would wait for no more than kOverloadBatches batches, which keeps
// every instance at work and those that are let in quick. A burst that the queue holds is no overload.
//
// A request whose body is still on its way has a reservation, so that not everyone whose head comes while
// bodies are read is let in. Reservations count for kReservedUs: who sends slowly keeps out nobody.
//
// Threads: safe; a lock for some additions. Memory: 8 bytes a reservation. Source: Little's law; how much is "lately" is chosen.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string_view>

#include "base/mutex.h"
#include "base/status.h"
#include "infer/batcher.h"

namespace sightline::serve {

class Admission {
 public:
  // `instances` work at once.
  explicit Admission(int instances) : instances_(instances) {}

  // A request of so many rows was accepted, or answered, whatever the answer; or it ended without having
  // begun: refused by the queue, shed, late. `priority` 1 to kPriorityLevels.
  void Accepted(int priority, int64_t rows, int64_t now_us) EXCLUDES(mutex_);
  // `batch_us`: how long its batch ran; 0 when that is not known.
  void Answered(int priority, int64_t rows, int64_t batch_us, int64_t now_us) EXCLUDES(mutex_);
  void NotBegun(int priority, int64_t rows, int64_t now_us) EXCLUDES(mutex_);
  // `by_overload`: by OverloadWaitUs(), which makes the overload last.
  void Refused(int64_t now_us, bool by_overload = false, uint64_t requests = 1) EXCLUDES(mutex_);
  // A request whose head came, and which will be Accepted() after Redeem(), or never.
  void Reserve(int64_t now_us) EXCLUDES(mutex_);
  void Redeem() EXCLUDES(mutex_);

  // The queue was full. True when this begins an overload, for which it must be known how long batches
  // run; what has waited for longer than OverloadWaitUs() is better refused now than answered late.
  bool Overflowed(int64_t now_us) EXCLUDES(mutex_);
  bool IsOverloaded(int64_t now_us) const EXCLUDES(mutex_);
  // How long a request may wait during an overload.
  int64_t OverloadWaitUs() const EXCLUDES(mutex_);

  // Until a request of that priority would be begun, in us. Reservations are of one row.
  int64_t ExpectedWaitUs(int priority, int64_t now_us) EXCLUDES(mutex_);
  uint64_t refused() const EXCLUDES(mutex_);

  static constexpr int64_t kReservedUs = 100'000;  // chosen: a body on a fast network
  static constexpr int64_t kCalmUs = 1'000'000;    // chosen
  // Of which one is running. Measured: 2.5 keep two instances busy (0.96 of the best rate at three
  // times of it), and those that are let in take 1.4 times what they take at half of that rate.
  static constexpr double kOverloadBatches = 2.5;
  static constexpr int64_t kLeastOverloadWaitUs =
      2000;  // chosen: a thread's turn on a busy machine

 private:
  static constexpr double kWindowUs = 1e6;  // of busy time; older ones fade

  void End(int priority, int64_t rows, int64_t rows_done, int64_t now_us) REQUIRES(mutex_);

  const int instances_;
  mutable Mutex mutex_;
  std::array<int64_t, kPriorityLevels + 1> rows_ GUARDED_BY(mutex_) = {};  // in flight, by priority
  int64_t requests_ GUARDED_BY(mutex_) = 0;
  bool busy_ GUARDED_BY(mutex_) = false;  // since counted_us_
  int64_t counted_us_ GUARDED_BY(mutex_) = 0;
  double busy_us_ GUARDED_BY(mutex_) = 0;
  double busy_rows_ GUARDED_BY(mutex_) = 0;
  std::deque<int64_t> reserved_us_ GUARDED_BY(mutex_);  // when they were made
  uint64_t refused_ GUARDED_BY(mutex_) = 0;
  double batch_us_ GUARDED_BY(mutex_) = 0;  // a moving average
  int64_t overloaded_until_us_ GUARDED_BY(mutex_) = INT64_MIN;
};

// ResourceExhausted, with when to try again.
absl::Status Overloaded(std::string_view model, int64_t expected_us, int64_t limit_us);
// The same error, with when to try again.
absl::Status WithRetryAfter(absl::Status status, int64_t after_us);
// What Overloaded() or WithRetryAfter() said; 0 for other errors.
int64_t RetryAfterUsOf(const absl::Status& status);

}  // namespace sightline::serve
