// What the program hands to the engine: how to make sources, detectors and sinks. The engine knows
// their interfaces only.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "events/rules.h"
#include "pipeline/config/config.h"
#include "pipeline/lane_set.h"
#include "pipeline/supervised_source.h"
#include "types/detector.h"
#include "types/frame_source.h"

namespace sightline {

// What the makers of sinks need to know about a camera of the run.
struct CameraOutline {
  std::shared_ptr<const CameraInfo> camera;
  std::shared_ptr<const CameraConfig> config;
  SourceInfo source;
  std::shared_ptr<const LabelSet> labels;
  // The zones and lines in force, in pixels of a picture of that size. Cheap; any thread.
  std::function<absl::StatusOr<CameraRules>(int width, int height)> rules;
};

struct EngineFactories {
  // A recording; the LiveConfig says how a server is reached.
  std::function<absl::StatusOr<std::unique_ptr<FrameSource>>(const SourceOptions&,
                                                             const LiveConfig&, FrameLedger&)>
      open_source;
  // How to connect to a live source; empty for a recording, which open_source then opens. Checks the
  // address; asks HTTP servers alone what they have. May be missing.
  std::function<absl::StatusOr<ConnectSource>(const SourceOptions&, const LiveConfig&,
                                              FrameLedger&)>
      open_live = {};
  // The cameras that open_live is asked for next, all of them: what takes long may be done for all at
  // once. May be missing.
  std::function<void(std::span<const CameraConfig* const>)> before_opening = {};
  std::function<absl::StatusOr<DetectorFactory>(const ModelConfig&)> open_detector;
  // Somebody asked the run to stop: what models wait for elsewhere may end. Called once, by the run's
  // thread; not when its time is up. May be missing.
  std::function<void()> stop_asked = {};
  // The sinks of all cameras' results; `live`: any of them is live.
  std::function<std::vector<SinkPlan>(const Config&, bool live)> plan_sinks;
  // Those of one camera alone. May be missing.
  std::function<std::vector<SinkPlan>(const Config&, const CameraOutline&)> plan_camera_sinks = {};
  // The time that the engine goes by and measures with; outlives it.
  const Clock* clock = &Clock::Real();
  // SupervisedSource::Parts::wait of every live camera; empty: really.
  std::function<void(int64_t wait_us)> wait = {};
};

}  // namespace sightline
