// Who a frame belongs to, and the ledger of what became of its frames.
//
// The law of the ledger, checked in tests and at every exit:
//   frames_in = processed + sum(skipped) + sum(dropped)      once nothing is in flight.
// Skipped: not worth the work, by the configuration (every_nth, target_rate, motion).
// Dropped: should have been processed and was not (decode_error, no_key_frame, inference_error, late ...).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace sightline {

struct CameraInfo {
  std::string id;      // as configured; [A-Za-z0-9_.-], at most 50 characters
  std::string source;  // URL or path without secrets, for people
  uint32_t index = 0;  // position among the run's cameras
  // Rises when the camera is begun anew within a run, or put back, unless its stream goes on.
  uint32_t life = 0;
  // The first of its lives whose results this one's stand for: it reads the same recording as they
  // did. `life` itself when there are none.
  uint32_t replaces_from = 0;
};

enum class SkipReason : uint8_t { kEveryNth, kTargetRate, kNoMotion };
enum class DropReason : uint8_t {
  kDecodeError,       // the decoder could make no picture of it
  kNoKeyFrame,        // live sources: it builds on pictures from before the connection
  kPreprocessError,   // no tensor could be made of it (size, format)
  kInferenceError,    // the model failed on it
  kPostprocessError,  // no boxes of what the model gave, or no tracks or events of the boxes
  kLate,              // live sources: newer frames were waiting
  kShutdown           // in flight when the run was stopped and not finished
};
inline constexpr std::array<std::string_view, 3> kSkipReasonNames = {"every_nth", "target_rate",
                                                                     "no_motion"};
inline constexpr std::array<std::string_view, 7> kDropReasonNames = {
    "decode_error",      "no_key_frame", "preprocess_error", "inference_error",
    "postprocess_error", "late",         "shutdown"};

// What a live camera is doing (pipeline/supervisor.h).
enum class CameraState : uint8_t {
  kConnecting,
  kLive,
  kStalled,     // connected, and nothing comes
  kFrozen,      // pictures come, always the same one
  kBackingOff,  // waiting for the next attempt
  kEnded,
  kFailed  // trying again cannot help
};
std::string_view ToString(CameraState state);

struct CameraStateChange {
  std::shared_ptr<const CameraInfo> camera;
  CameraState from = CameraState::kConnecting;
  CameraState to = CameraState::kConnecting;
  std::string reason;     // of the last fault, one sentence without secrets; empty when all is well
  int64_t utc_us = 0;     // when, by this machine's clock
  uint32_t epoch = 0;     // of the stream that ended, or of the one that begins
  uint64_t attempts = 0;  // to connect, so far
  int64_t gap_us = 0;     // to kLive: since the last frame before; 0 for the first
};

// A snapshot of the ledger.
struct FrameCounts {
  uint64_t frames_in = 0;
  uint64_t processed = 0;
  std::array<uint64_t, kSkipReasonNames.size()> skipped{};
  std::array<uint64_t, kDropReasonNames.size()> dropped{};

  uint64_t total_skipped() const {
    uint64_t sum = 0;
    for (const uint64_t n : skipped) sum += n;
    return sum;
  }
  uint64_t total_dropped() const {
    uint64_t sum = 0;
    for (const uint64_t n : dropped) sum += n;
    return sum;
  }
  FrameCounts& operator+=(const FrameCounts& more) {
    frames_in += more.frames_in;
    processed += more.processed;
    for (size_t i = 0; i < skipped.size(); ++i) skipped[i] += more.skipped[i];
    for (size_t i = 0; i < dropped.size(); ++i) dropped[i] += more.dropped[i];
    return *this;
  }
  // Frames that are on their way; 0 at every exit, negative never.
  int64_t in_flight() const {
    return static_cast<int64_t>(frames_in) -
           static_cast<int64_t>(processed + total_skipped() + total_dropped());
  }
};

// One per camera. Threads: safe; every stage that ends a frame's way counts it here, exactly once.
// An end is released and read with acquire, so that whoever sees it sees the frame come in too.
class FrameLedger {
 public:
  void CountIn(uint64_t n = 1) { in_.fetch_add(n, std::memory_order_relaxed); }
  void CountProcessed() { processed_.fetch_add(1, std::memory_order_release); }
  void CountSkipped(SkipReason reason, uint64_t n = 1) {
    skipped_[static_cast<size_t>(reason)].fetch_add(n, std::memory_order_release);
  }
  void CountDropped(DropReason reason, uint64_t n = 1) {
    dropped_[static_cast<size_t>(reason)].fetch_add(n, std::memory_order_release);
  }
  FrameCounts Snapshot() const {
    FrameCounts counts;
    counts.processed = processed_.load();
    for (size_t i = 0; i < skipped_.size(); ++i) counts.skipped[i] = skipped_[i].load();
    for (size_t i = 0; i < dropped_.size(); ++i) counts.dropped[i] = dropped_[i].load();
    counts.frames_in = in_.load();  // last, so that in_flight() is never negative
    return counts;
  }

 private:
  std::atomic<uint64_t> in_{0};
  std::atomic<uint64_t> processed_{0};
  std::array<std::atomic<uint64_t>, kSkipReasonNames.size()> skipped_{};
  std::array<std::atomic<uint64_t>, kDropReasonNames.size()> dropped_{};
};

}  // namespace sightline
