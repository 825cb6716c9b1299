// A run: cameras, their models, their results, from a configuration to a summary.
//
// The engine knows interfaces only; the program hands it the factories of sources, detectors and
// sinks. Create() opens everything, so that whatever is wrong is said before a frame is read.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/mutex.h"
#include "pipeline/camera_pipeline.h"
#include "pipeline/config/config.h"
#include "pipeline/engine_metrics.h"
#include "pipeline/supervised_source.h"
#include "types/detector.h"
#include "types/frame_source.h"
#include "types/result_sink.h"

namespace sightline {

// What the makers of sinks need to know about a camera of the run.
struct CameraOutline {
  std::shared_ptr<const CameraInfo> camera;
  const CameraConfig* config = nullptr;
  SourceInfo source;
  std::shared_ptr<const LabelSet> labels;
  // Zones and lines in pixels of a picture of that size. Cheap.
  std::function<absl::StatusOr<CameraRules>(int width, int height)> rules;
};

// Sinks that share a thread.
struct LaneSpec {
  std::string name;
  std::vector<std::unique_ptr<ResultSink>> sinks;
};

struct EngineFactories {
  std::function<absl::StatusOr<std::unique_ptr<FrameSource>>(const SourceOptions&, FrameLedger&)>
      open_source;
  // How to connect to a live source; empty for a recording, which open_source then opens. Checks the
  // address, connects to nothing. May be missing.
  std::function<absl::StatusOr<ConnectSource>(const SourceOptions&, const LiveConfig&, FrameLedger&)>
      open_live = {};
  std::function<absl::StatusOr<DetectorFactory>(const ModelConfig&)> open_detector;
  std::function<absl::StatusOr<std::vector<LaneSpec>>(const std::vector<CameraOutline>&)>
      make_sinks;
};

struct CameraSummary {
  std::string id;
  FrameCounts counts;
  uint64_t tracks = 0;  // confirmed
  uint64_t events = 0;
  std::map<std::string, uint64_t> counts_by_class;  // confirmed tracks
  std::vector<std::pair<std::string, uint64_t>> rule_counts;  // "line gate in" -> 12
  absl::Status status;  // why the source ended early, if it did
};

struct RunSummary {
  std::vector<CameraSummary> cameras;
  double wall_s = 0;
  double cpu_s = 0;      // of the process since it started, all threads
  bool stopped = false;  // before the sources ended
};

// How far a run is, for the progress line.
struct RunProgress {
  uint64_t frames_in = 0;
  uint64_t frames_done = 0;      // processed, skipped or dropped
  uint64_t frames_estimate = 0;  // over all cameras; 0 = unknown
  uint64_t tracks = 0;
  uint64_t events = 0;
  double elapsed_s = 0;
};

class Engine {
 public:
  static absl::StatusOr<std::unique_ptr<Engine>> Create(Config config, EngineFactories factories);
  ~Engine();

  // Runs until every source has ended, the time is up, or RequestStop(). `on_progress` (may be empty)
  // is called about five times a second on the caller's thread. Frames that were read are finished
  // and delivered before Run() returns; *summary is filled in every case. The first error of a
  // sink, else of a source.
  absl::Status Run(const std::function<void(const RunProgress&)>& on_progress, RunSummary* summary);

  // Stops reading soon. Safe in a signal handler.
  void RequestStop() { stop_requested_.store(true, std::memory_order_relaxed); }

  // What is measured, and how it is; any thread may ask while the engine lives (engine_metrics.h).
  void CollectMetrics(MetricWriter& writer) const EXCLUDES(graph_mutex_);
  EngineHealth Health(int64_t hang_after_us) const EXCLUDES(graph_mutex_);

  // The graph as it was built: cameras, stages, shapes, threads, queue bounds and policies.
  std::string Explain() const;
  std::string ExplainJson() const;

 private:
  struct Model {
    std::string name;
    DetectorInfo info;
    int instances = 0;
    std::string camera;  // whose it is alone; empty: shared
    std::shared_ptr<ModelMetrics> metrics;
    BatcherOptions batcher_options;
    std::unique_ptr<Batcher> batcher;
  };

  Engine(Config config, EngineFactories factories);
  absl::Status Open();
  absl::StatusOr<Model*> ModelFor(const CameraConfig& camera);
  absl::Status OpenCamera(size_t index);
  absl::Status OpenCameraSource(size_t index, CameraParts* parts);
  absl::Status OpenLanes();
  void WaitForCameras(const std::function<void(const RunProgress&)>& on_progress,
                      std::vector<absl::Status>* statuses, RunSummary* summary);
  RunProgress Progress() const;
  CameraSummary SummaryOf(const CameraPipeline& pipeline, const LabelSet& labels) const;
  int WorkerThreads() const;
  int ThreadCount() const;

  Config config_;
  EngineFactories factories_;
  std::vector<CameraOutline> outlines_;
  std::vector<CameraParts> parts_;                  // until Run() moves them into pipelines_
  std::vector<std::unique_ptr<Model>> models_;
  std::vector<Model*> model_of_camera_;
  std::vector<std::unique_ptr<DeliverLane>> lanes_;
  std::vector<std::unique_ptr<CameraPipeline>> pipelines_;
  // Held while pipelines_, models_ or lanes_ change and by those who look at them from other threads;
  // the thread of Run(), which alone changes them, looks without it.
  mutable Mutex graph_mutex_;
  BusySince main_loop_;  // its latest turn; idle before and after
  std::atomic<bool> stop_requested_{false};
  std::atomic<bool> sink_failed_{false};
  int64_t started_us_ = 0;
};

}  // namespace sightline
