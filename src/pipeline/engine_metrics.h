// From a running engine's parts to metrics and health. Engine::CollectMetrics and Engine::Health walk
// over the parts there are; each function here speaks of one.
//
// Threads: any, while the part works. Names and meanings: docs/metrics.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/metrics.h"
#include "pipeline/camera_pipeline.h"
#include "pipeline/deliver_lane.h"
#include "types/camera.h"

namespace sightline {

// One consistent look at the ledger: frames in = processed + skipped + dropped + in flight holds
// between the series of every walk.
void CollectCameraMetrics(const CameraPipeline& camera, int64_t now_us, MetricWriter& writer);
// `camera`: of a model that serves one alone, else empty.
void CollectModelMetrics(std::string_view model, std::string_view camera, const Batcher& batcher,
                         const ModelMetrics& metrics, MetricWriter& writer);
void CollectLaneMetrics(const DeliverLane& lane, MetricWriter& writer);

struct CameraHealth {
  std::string id;
  bool live = false;  // a live camera, not a recording
  CameraState state = CameraState::kConnecting;
  std::string reason;  // of its last fault, without secrets
  uint64_t frames_in = 0;
  double last_frame_age_s = -1;  // -1: none came yet
};

// What the engine says about itself. `stuck`, `failed` and `waiting` are sentences for people.
struct EngineHealth {
  bool running = false;              // the cameras were started, and the run has not ended
  std::vector<std::string> stuck;    // threads that have been at one piece of work for too long
  std::vector<std::string> failed;   // outputs that ended by an error
  std::vector<std::string> waiting;  // outputs that cannot be written for now
  std::vector<CameraHealth> cameras;

  bool alive() const { return stuck.empty(); }
  // Results are being made and kept: it runs, nothing is stuck, no output has failed or waits, and at least
  // one camera gives pictures; with `all_cameras` each of them does, recordings that have ended apart.
  bool ready(bool all_cameras) const;
};

CameraHealth HealthOf(const CameraPipeline& camera, int64_t now_us);
// Adds a sentence for each thread of the part that has been at one piece of work for `hang_after_us`.
void FindStuck(const CameraPipeline& camera, int64_t now_us, int64_t hang_after_us,
               std::vector<std::string>* stuck);
void FindStuck(std::string_view model, const ModelMetrics& metrics, int64_t now_us,
               int64_t hang_after_us, std::vector<std::string>* stuck);
// A lane whose output waits for room is not stuck: ending the program would not help it.
void FindStuck(const DeliverLane& lane, int64_t now_us, int64_t hang_after_us,
               EngineHealth* health);

}  // namespace sightline
