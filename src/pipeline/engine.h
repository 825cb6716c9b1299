// A run: cameras, their models, their results, from a configuration to a summary.
//
// The engine knows interfaces only; the program hands it the factories of sources, detectors and
// sinks. Create() opens everything, so that whatever is wrong is said before a frame is read.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "pipeline/config/config.h"
#include "pipeline/config/diff.h"
#include "pipeline/engine_factories.h"
#include "pipeline/engine_metrics.h"
#include "pipeline/lane_set.h"
#include "pipeline/model_pool.h"
#include "pipeline/running_camera.h"

namespace sightline {

struct CameraSummary {
  std::string id;
  FrameCounts counts;
  uint64_t tracks = 0;  // confirmed
  uint64_t events = 0;
  std::map<std::string, uint64_t> counts_by_class;            // confirmed tracks
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
  absl::Status Run(const std::function<void(const RunProgress&)>& on_progress, RunSummary* summary)
      EXCLUDES(mutex_);

  // Stops reading soon. Safe in a signal handler.
  void RequestStop() { stop_requested_.store(true, std::memory_order_relaxed); }

  // Goes over to another configuration while Run() runs; what has changed. A transaction: everything
  // that can fail is tried first (sources and models opened, files for results taken, threads
  // started), and after any error the engine is as it was. Cameras that stay as they are lose no
  // frame, nor do those of which only zones, lines and tracker change. Others are stopped, their
  // frames finished, and begun anew, a live one with its ledger and its epochs going on.
  //   InvalidArgument     a rule does not fit its picture
  //   FailedPrecondition  a setting that only a new run can change; a source or model that does not
  //                       open; the run has ended
  //   Unavailable         another change is under way; an output that would have to end cannot be written
  //                       for now
  // Any thread; blocks for as long as opening and stopping take.
  absl::StatusOr<ConfigDiff> Apply(Config config) EXCLUDES(mutex_);

  // Lets that camera ("": every one) try to connect now instead of waiting; what is live goes on.
  // NotFound when there is no such live camera. Any thread.
  absl::Status RetryNow(const std::string& camera) EXCLUDES(mutex_);

  // The configuration in force.
  std::shared_ptr<const Config> config() const EXCLUDES(mutex_);

  // What is measured, and how it is; any thread may ask while the engine lives (engine_metrics.h).
  void CollectMetrics(MetricWriter& writer) const EXCLUDES(mutex_);
  EngineHealth Health(int64_t hang_after_us) const EXCLUDES(mutex_);

  // The graph as it is: cameras, stages, shapes, threads, queue bounds and policies. Not while Run()
  // runs.
  std::string Explain() const EXCLUDES(mutex_);
  std::string ExplainJson() const EXCLUDES(mutex_);

 private:
  enum class Phase : uint8_t { kReady, kRunning, kEnded };
  using Cameras = std::vector<std::shared_ptr<RunningCamera>>;
  struct Graph;  // engine_metrics.cc
  // On the way from one configuration to another.
  struct Change {
    std::shared_ptr<const Config> config;
    std::shared_ptr<const Config> before = nullptr;
    ConfigDiff diff = {};
    Cameras kept = {};
    std::vector<std::pair<std::shared_ptr<RunningCamera>, size_t>> new_rules = {};  // of those kept
    Cameras leaving = {};
    Cameras fresh = {};  // opened, their threads waiting
    LaneSet::Staged sinks = {};
    bool live = false;  // any camera is
  };

  // Of a camera, in this run.
  struct Past {
    uint32_t lives = 0;  // that have begun
    FrameCounts counts;  // of those that are over and whose ledger does not go on
  };

  Engine(Config config, EngineFactories factories);
  absl::Status Open();
  Cameras cameras() const EXCLUDES(mutex_);
  absl::Status StartCamera(RunningCamera& camera);
  absl::Status StartAll() EXCLUDES(mutex_);
  void WaitForCameras(const std::function<void(const RunProgress&)>& on_progress,
                      RunSummary* summary) EXCLUDES(mutex_);
  bool AllEnded() const REQUIRES(mutex_);
  RunProgress Progress() const EXCLUDES(mutex_);
  absl::Status Finish(bool abandon, RunSummary* summary) EXCLUDES(mutex_);
  static CameraSummary SummaryOf(const RunningCamera& camera);
  static void AddTo(const CameraSummary& more, std::vector<CameraSummary>* cameras);
  void ForgetPasts(const Change& change);
  void AwaitOutputs() EXCLUDES(mutex_);
  int ThreadCount() const EXCLUDES(mutex_);

  absl::Status Prepare(Change* change) EXCLUDES(mutex_);
  absl::Status PrepareCameras(Change* change) EXCLUDES(mutex_);
  absl::Status PrepareSinks(Change* change);
  void TellBeforeOpening(const Config& config, std::span<const size_t> cameras) const;
  bool GoesOn(const Change& change, const RunningCamera& camera, size_t index,
              bool* new_rules) const EXCLUDES(mutex_);
  void Commit(Change change) EXCLUDES(mutex_);
  void TakeOut(RunningCamera& camera, const RunningCamera* next) EXCLUDES(mutex_);
  Past PastOf(const std::string& camera) const;
  static uint32_t FreeNumber(const Change& change, const Cameras& running);

  // Used by one at a time: by Create(), by the Apply() that has set changing_, and by Run() when it
  // has ended. Not under mutex_: making, closing and sending may take long.
  const EngineFactories factories_;
  ModelPool models_;
  LaneSet lanes_;
  std::map<std::string, Past> past_;  // by camera

  mutable Mutex mutex_;
  CondVar changed_;
  std::shared_ptr<const Config> config_ GUARDED_BY(mutex_);
  Cameras cameras_ GUARDED_BY(mutex_);
  std::vector<CameraSummary> left_ GUARDED_BY(mutex_);  // of cameras that were taken out
  Phase phase_ GUARDED_BY(mutex_) = Phase::kReady;
  bool changing_ GUARDED_BY(mutex_) = false;  // an Apply() is under way

  BusySince main_loop_;  // its latest turn; idle before and after
  std::atomic<bool> stop_requested_{false};
  std::atomic<bool> sink_failed_{false};
  int64_t started_us_ = 0;
};

}  // namespace sightline
