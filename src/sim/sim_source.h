// A simulated camera as a FrameSource.
//
// Live (pace=clock): frames come when they are due by the injected clock, from the moment of the
// connection on. A reader that is late gets what waits for it, as from a socket's buffer; frames more
// than a second late are dropped and counted (late). Capture time: SourceOptions::start_utc_us, else
// start=, else the clock's at the camera's first connection, plus the time of its life; plus the
// clock steps of its faults. Ordinals, epochs and pts_us begin at 0 with every connection.
//
// As a recording (pace=none): frames as fast as they are read; live is false, the fingerprint is a
// hash of the options, capture time starts at start= or in 1970. A cut or a refusal is an error of
// Next(), and who connects again finds the camera behind it; a stall leaves its frames out.
//
// Pictures are I420 in pooled memory; Frame::truth says what they show. With render=none image and
// pixels are empty, while meta has size and time.
//
// The ledger: every frame that the camera sends counts as in; those that the selection leaves out
// as skipped, garbage as dropped (decode_error), late ones as dropped (late). What a cut, a stall or
// a slow camera keeps back was never sent.
//
// Errors of Create: InvalidArgument (the URL), Unavailable (cut, or the camera's duration is over),
// Unauthenticated (refused). Of Next: the same two, Cancelled, and Unavailable when `give_up` says so.
//
// Threads: one reads; Cancel() from any. Frames may be released on any thread, also after the source
// is gone. Nothing is allocated after warm-up, except when the size changes. Cost: the renderer's.
#pragma once

#include <functional>
#include <memory>

#include "base/time.h"
#include "sim/sim_camera.h"
#include "types/frame_source.h"

namespace sightline::sim {

struct SimConnection {
  const Clock* clock = &Clock::Real();  // must outlive the source
  // Asked every poll_us while Next() waits; true ends the wait. Empty: never.
  std::function<bool()> give_up = {};
  int64_t poll_us = 20'000;
  // Waits for so long, at most poll_us; empty: really. For tests, whose clock it moves on.
  std::function<void(int64_t wait_us)> sleep = {};
  // Whom to connect to; null: a camera of its own, by the URL.
  std::shared_ptr<SimCamera> camera = nullptr;
};

class SimSource final : public FrameSource {
 public:
  // `ledger` must outlive the source. With a camera given, options.url is not looked at.
  static absl::StatusOr<std::unique_ptr<SimSource>> Create(const SourceOptions& options,
                                                           FrameLedger& ledger,
                                                           SimConnection connection = {});
  ~SimSource() override;

  const SourceInfo& info() const override;
  absl::StatusOr<std::optional<Frame>> Next() override;
  void Cancel() override;

 private:
  class Impl;
  explicit SimSource(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sightline::sim
