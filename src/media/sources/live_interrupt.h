// What ends a blocking call of a live stream: cancelled from another thread, given up by its caller,
// or out of time. Internal to this module.
#pragma once

#include <atomic>
#include <functional>
#include <utility>

#include "base/time.h"

namespace sightline {

// Threads: Cancel() from any, everything else from the reading thread, on which libav polls (some
// ten times a second while it waits).
class LiveInterrupt {
 public:
  enum class Cause : uint8_t {
    kNone,
    kCancelled,
    kGivenUp,
    kTimedOut,
    kBasicInClear,   // the password would have been sent readable
    kLeftEncryption  // the server sent us on to a place without TLS
  };

  LiveInterrupt(std::function<bool()> give_up, const Clock& clock)
      : give_up_(std::move(give_up)), clock_(clock) {}

  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }

  // From now on the call may take so long; 0 = for ever.
  void Arm(int64_t timeout_us) {
    timeout_us_ = timeout_us;
    deadline_us_ = timeout_us > 0 ? clock_.NowMonotonicUs() + timeout_us : 0;
  }
  void Stop(Cause cause) {
    if (cause_ == Cause::kNone) cause_ = cause;
  }
  // Once there is a cause it stays.
  Cause Poll() {
    if (cause_ != Cause::kNone) return cause_;
    if (cancelled_.load(std::memory_order_relaxed)) {
      cause_ = Cause::kCancelled;
    } else if (give_up_ && give_up_()) {
      cause_ = Cause::kGivenUp;
    } else if (deadline_us_ != 0 && clock_.NowMonotonicUs() >= deadline_us_) {
      cause_ = Cause::kTimedOut;
    }
    return cause_;
  }
  Cause cause() const { return cause_; }
  int64_t timeout_us() const { return timeout_us_; }

  // Saying goodbye to the server is worth a few polls, whatever the cause of leaving.
  void BeginClosing() { closing_polls_left_ = kClosingPolls; }

  // For AVFormatContext::interrupt_callback.
  static int Callback(void* opaque) {
    auto* self = static_cast<LiveInterrupt*>(opaque);
    if (self->closing_polls_left_ >= 0) return self->closing_polls_left_-- == 0 ? 1 : 0;
    return self->Poll() != Cause::kNone ? 1 : 0;
  }

 private:
  static constexpr int kClosingPolls = 5;  // of at most 0.1 s each

  std::atomic<bool> cancelled_{false};
  const std::function<bool()> give_up_;
  const Clock& clock_;
  int64_t deadline_us_ = 0;
  int64_t timeout_us_ = 0;
  Cause cause_ = Cause::kNone;
  int closing_polls_left_ = -1;
};

}  // namespace sightline
