// What a live camera is doing, and what to do about it: the states of its connection, without
// threads, sockets or a clock of its own. Whoever runs the camera tells it what happened and when,
// and does what it says next.
//
//              ┌──────────────────────────── first frame ──────────────────────────┐
//   connecting ┤                                                                   ▼
//        ▲     └─ error, nothing within connect_timeout ──► backing off      live ◄──► frozen
//        │                                                     ▲   │          │ nothing within
//        └──────────────── wait is over, RetryNow() ───────────│───┘          ▼ stall_after
//                                                              └──────────  stalled
//   ended:  a recording came to its end.     failed: an error that trying again cannot mend.
//
// Waits: initial_backoff, doubled after every attempt that did not stay live for settled_after, at
// most max_backoff, each shortened by up to jitter of itself so that cameras that fell together do
// not come back together. A refused password waits refused_backoff, doubled up to
// max_refused_backoff: cameras lock accounts that are hammered.
//
// Threads: one at a time. Memory: fixed. Times: microseconds of a monotonic clock, never going back.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "types/camera.h"

namespace sightline {

struct SupervisorOptions {
  int64_t connect_timeout_us = 10'000'000;  // until something arrives, and between two arrivals
  int64_t picture_timeout_us = 60'000'000;  // from connecting to the first picture
  int64_t stall_after_us = 2'000'000;
  int64_t frozen_after_us = 10'000'000;  // the same picture for so long; 0 = never asked
  int64_t initial_backoff_us = 250'000;
  int64_t max_backoff_us = 2'000'000;
  int64_t refused_backoff_us = 30'000'000;
  int64_t max_refused_backoff_us = 300'000'000;
  int64_t settled_after_us = 10'000'000;
  double jitter = 0.25;  // 0..1
  uint64_t seed = 0;     // of the jitter: the camera's id, hashed
};
// InvalidArgument for times below zero or out of order and a jitter outside 0..1.
absl::Status CheckSupervisorOptions(const SupervisorOptions& options);

// How an attempt or a stream ended, as far as it matters for what comes next.
enum class CameraFault : uint8_t {
  kUnreachable,  // refused, reset, timed out, closed by the other side, damaged beyond reading
  kRefused,      // wrong or missing credentials
  kHopeless      // no such codec, a malformed address: the same tomorrow
};
CameraFault FaultOf(const absl::Status& status);

class Supervisor {
 public:
  enum class Action : uint8_t {
    kNone,
    kConnect,  // open the source; then Connected... or Failed()
    kClose  // give the connection up, whatever it is doing; the supervisor is backing off already
  };

  // What to do first is Next()'s to say: connect.
  Supervisor(const SupervisorOptions& options, int64_t now_us);

  // What happened: a picture was decoded, with a hash of what it shows; something of the stream
  // arrived, whether or not it becomes a picture (every n-th frame only, no key frame yet).
  void FrameArrived(int64_t now_us, uint64_t picture_hash);
  void DataArrived(int64_t now_us);
  void Failed(int64_t now_us, const absl::Status& status);
  void EndOfStream(int64_t now_us, bool live);
  // Ends a wait, also that of a failed camera.
  void RetryNow(int64_t now_us);

  // What to do now. Every kConnect is followed by FrameArrived() or Failed() of that attempt.
  Action Next(int64_t now_us);
  // When Next() should be asked again if nothing happens; INT64_MAX when time alone changes nothing.
  int64_t NextDeadlineUs() const;

  CameraState state() const { return state_; }
  int64_t state_since_us() const { return since_us_; }
  const std::string& reason() const { return reason_; }  // of the last fault; empty at first
  uint64_t attempts() const { return attempts_; }
  uint64_t connections() const { return connections_; }  // attempts that gave a frame
  // From the last frame before a fault to the first after it, of the latest that is over.
  int64_t last_gap_us() const { return last_gap_us_; }

 private:
  void Enter(CameraState state, int64_t now_us);
  void BackOff(int64_t now_us, CameraFault fault, std::string reason);

  const SupervisorOptions options_;
  CameraState state_ = CameraState::kConnecting;
  int64_t since_us_ = 0;
  bool connect_due_ = true;
  bool close_due_ = false;
  int64_t retry_at_us_ = 0;
  int64_t last_frame_us_ = -1;  // of this camera, over all connections
  int64_t last_data_us_ = 0;    // of this connection; its start before anything came
  int64_t live_since_us_ = 0;
  uint64_t picture_hash_ = 0;
  int64_t picture_since_us_ = 0;
  int backoff_steps_ = 0;
  int refused_steps_ = 0;
  uint64_t random_ = 0;
  uint64_t attempts_ = 0;
  uint64_t connections_ = 0;
  int64_t last_gap_us_ = 0;
  std::string reason_;
};

}  // namespace sightline
