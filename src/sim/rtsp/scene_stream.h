// A simulated camera that sends: rendered in time, encoded once for all who watch, with the faults of
// its scene on the way.
//
// While nobody watches nothing is rendered or encoded; the camera's life goes on all the same. Who
// comes first begins with a key frame, who joins waits for the next. Faults, by the camera's life:
// cut and refuse send viewers away and turn new ones down; stall sends nothing; garbage spoils what
// is coded; freeze repeats the last picture, coded as a key frame, to
// the bit; slow and resize are the scene's own. clockstep and wrap do nothing: sender reports tell
// this machine's clock.
//
// Time: frame k of the camera's life (from 0) has RTP time stamp 90000 k / fps, rounded down from
// microseconds, and was taken at born_utc_us + k / fps. It is row k + 1 of the truth files.
//
// Threads: Run() blocks the one that calls it; Stop() from any. Memory: the renderer's and the
// encoder's, while somebody watches.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "media/stream_encoder.h"
#include "sim/rtsp/rtsp_server.h"
#include "sim/sim_camera.h"

namespace sightline::sim {

// Where the pictures of one stream go.
class StreamOutlet {
 public:
  virtual ~StreamOutlet() = default;
  virtual bool Watched() const = 0;
  virtual void Send(const CodedPicture& picture) = 0;
  virtual void Admit(Admission admission) = 0;
};

struct SceneStreamOptions {
  SimOptions scene;  // rendered and paced, whatever it says
  StreamCodec codec = StreamCodec::kH264;
  int64_t key_interval_us = 1'000'000;
  int quality = 26;
  const Clock* clock = &Clock::Real();  // must outlive the stream
  // Waits for so long, at most 20 ms; empty: really. For tests, whose clock it moves on.
  std::function<void(int64_t wait_us)> sleep = {};
};

class SceneStream {
 public:
  // The camera is switched on here.
  SceneStream(const SceneStreamOptions& options, StreamOutlet& outlet);
  SimCamera::Birth birth() const { return birth_; }

  // Until Stop(), or until the scene's duration is over. Errors: what the encoder says.
  absl::Status Run();
  void Stop() { stop_.store(true, std::memory_order_relaxed); }

 private:
  int64_t LifeUs() const;
  const Fault* Find(FaultKind kind, int64_t life_us) const;
  Admission AdmissionAt(int64_t life_us) const;
  bool Over() const;
  absl::Status Send(const Frame& frame);
  absl::Status Watch();
  void Sleep() const;

  const SceneStreamOptions options_;
  StreamOutlet& outlet_;
  const std::shared_ptr<SimCamera> camera_;  // its faults are those that pictures show
  const SimCamera::Birth birth_;
  std::unique_ptr<StreamEncoder> encoder_;  // while somebody watches
  int encoder_width_ = 0;
  int encoder_height_ = 0;
  std::vector<uint8_t> frozen_;  // the coded picture that a frozen camera repeats
  std::vector<uint8_t> garbage_;
  std::atomic<bool> stop_{false};
};

// Overwrites a coded picture, but for parameter sets and the head of each part, with bytes that hold
// neither start codes nor markers. The same every time.
void Spoil(StreamCodec codec, std::span<uint8_t> picture, uint64_t seed);

}  // namespace sightline::sim
