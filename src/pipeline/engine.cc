#include "pipeline/engine.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"
#include "pipeline/camera_setup.h"

namespace sightline {
namespace {

int WorkerThreads(const Config& config) {
  if (config.limits.threads > 0) return config.limits.threads;
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

}  // namespace

Engine::Engine(Config config, EngineFactories factories)
    : factories_(std::move(factories)),
      models_(factories_.open_detector, WorkerThreads(config), *factories_.clock),
      lanes_(
          [this](const absl::Status& error) {
            // Run() gives the error itself.
            Log().info("{}; stopping the run", MessageOf(error));
            sink_failed_ = true;
          },
          *factories_.clock),
      config_(std::make_shared<const Config>(std::move(config))) {}

// The cameras first: they send to the lanes.
Engine::~Engine() {
  Cameras last;  // they end behind the lock, which their ends take
  MutexLock lock(mutex_);
  last.swap(cameras_);
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(Config config, EngineFactories factories) {
  std::unique_ptr<Engine> engine(new Engine(std::move(config), std::move(factories)));
  SL_RETURN_IF_ERROR(engine->Open());
  return engine;
}

absl::Status Engine::Open() {
  const std::shared_ptr<const Config> config = this->config();
  Change change{.config = config};
  std::vector<size_t> all(config->cameras.size());
  std::iota(all.begin(), all.end(), size_t{0});
  TellBeforeOpening(*config, all);
  for (size_t i = 0; i < config->cameras.size(); ++i) {
    absl::StatusOr<std::unique_ptr<RunningCamera>> camera = RunningCamera::Open(
        config, i, static_cast<uint32_t>(i), /*life=*/0, factories_, models_, nullptr);
    SL_RETURN_IF_ERROR(WithContext(camera.status(), "camera " + config->cameras[i].id));
    change.fresh.push_back(*std::move(camera));
    past_[config->cameras[i].id].lives = 1;
  }
  SL_RETURN_IF_ERROR(PrepareSinks(&change));
  lanes_.Commit(std::move(change.sinks));
  lanes_.EnableWaiting(change.live);
  MutexLock lock(mutex_);
  cameras_ = std::move(change.fresh);
  for (const auto& camera : cameras_) camera->pipeline->SetOutlets(lanes_.OutletsOf(camera->id()));
  return absl::OkStatus();
}

void Engine::TellBeforeOpening(const Config& config, std::span<const size_t> cameras) const {
  if (!factories_.before_opening || cameras.empty()) return;
  std::vector<const CameraConfig*> told;
  for (const size_t index : cameras) told.push_back(&config.cameras[index]);
  factories_.before_opening(told);
}

std::shared_ptr<const Config> Engine::config() const {
  MutexLock lock(mutex_);
  return config_;
}

Engine::Cameras Engine::cameras() const {
  MutexLock lock(mutex_);
  return cameras_;
}

absl::Status Engine::Run(const std::function<void(const RunProgress&)>& on_progress,
                         RunSummary* summary) {
  started_us_ = factories_.clock->NowMonotonicUs();
  const absl::Status started = StartAll();
  if (started.ok()) {
    WaitForCameras(on_progress, summary);
  } else {
    MutexLock lock(mutex_);
    phase_ = Phase::kEnded;
  }
  const absl::Status finished = Finish(/*abandon=*/!started.ok(), summary);
  return started.ok() ? finished : started;
}

absl::Status Engine::StartCamera(RunningCamera& camera) {
  return camera.pipeline->Start([this, &camera] {
    MutexLock lock(mutex_);
    camera.ended = true;
    changed_.NotifyAll();
  });
}

// The run was asked for with all its cameras: none goes before all can.
absl::Status Engine::StartAll() {
  const Cameras all = cameras();
  for (const auto& camera : all) SL_RETURN_IF_ERROR(StartCamera(*camera));
  MutexLock lock(mutex_);
  for (const auto& camera : all) camera->Go();
  phase_ = Phase::kRunning;
  return absl::OkStatus();
}

bool Engine::AllEnded() const {
  return std::all_of(cameras_.begin(), cameras_.end(),
                     [](const auto& camera) { return camera->ended; });
}

void Engine::WaitForCameras(const std::function<void(const RunProgress&)>& on_progress,
                            RunSummary* summary) {
  // Often enough for a hand on Ctrl-C and an eye on the progress line.
  constexpr std::chrono::milliseconds kTick(200);
  constexpr int64_t kLedgersEveryUs = 10'000'000;  // chosen: what a crash may take from the counts
  int64_t ledgers_due_us = started_us_ + kLedgersEveryUs;
  bool stop_told = false;
  main_loop_.Begin(started_us_);
  while (true) {
    std::optional<int64_t> duration_us;
    {
      MutexLock lock(mutex_);
      if (!AllEnded() || changing_) changed_.WaitFor(mutex_, kTick);
      if (AllEnded() && !changing_) {
        phase_ = Phase::kEnded;
        break;
      }
      duration_us = config_->limits.duration_us;
    }
    main_loop_.Begin(factories_.clock->NowMonotonicUs());
    const RunProgress progress = Progress();
    if (on_progress) on_progress(progress);
    const bool time_is_up = duration_us.has_value() && progress.elapsed_s * 1e6 >= *duration_us;
    if (stop_requested_ && !std::exchange(stop_told, true) && factories_.stop_asked) {
      factories_.stop_asked();
    }
    if (stop_requested_ || sink_failed_ || time_is_up) {
      // Again at every tick, for those that an Apply() has just let go.
      for (const auto& camera : cameras()) {
        camera->pipeline->RequestStop();
        for (const auto& lane : camera->pipeline->outlets()->lanes) lane->EndWaiting();
      }
      summary->stopped = true;
    } else if (factories_.clock->NowMonotonicUs() >= ledgers_due_us) {
      ledgers_due_us = factories_.clock->NowMonotonicUs() + kLedgersEveryUs;
      for (const auto& camera : cameras()) {
        if (camera->live()) camera->pipeline->OfferLedger();
      }
    }
  }
  main_loop_.End();
  if (on_progress) on_progress(Progress());
}

absl::Status Engine::Finish(bool abandon, RunSummary* summary) {
  const Cameras all = cameras();
  std::vector<absl::Status> statuses;
  for (const auto& camera : all) {
    camera->pipeline->Abandon();
    statuses.push_back(camera->pipeline->Join());
  }
  for (const std::shared_ptr<Model>& model : models_.InUse())
    model->batcher->Stop(/*discard=*/false);
  AwaitOutputs();
  // When every source failed before its first frame there is nothing that could replace the results
  // of an earlier run. A run that somebody cut short is another matter.
  bool failed = true;
  for (size_t i = 0; i < all.size(); ++i) {
    const FrameCounts counts = all[i]->pipeline->counts();
    if (SL_BUG_IF(counts.in_flight() != 0, "camera {}: {} frames are unaccounted for", all[i]->id(),
                  counts.in_flight())) {
    }
    summary->cameras.push_back(SummaryOf(*all[i]));
    // Cut short because we asked for it: no failure of the camera.
    if (!absl::IsCancelled(statuses[i])) summary->cameras.back().status = statuses[i];
    failed =
        failed && !statuses[i].ok() && !absl::IsCancelled(statuses[i]) && counts.processed == 0;
    all[i]->pipeline->DeliverLedger();
  }
  {
    MutexLock lock(mutex_);
    for (const CameraSummary& left : left_) AddTo(left, &summary->cameras);
    failed = failed && left_.empty();
  }
  absl::Status first = lanes_.Finish(abandon || failed);
  for (size_t i = 0; i < summary->cameras.size() && first.ok(); ++i) {
    const CameraSummary& camera = summary->cameras[i];
    first = WithContext(camera.status, "camera " + camera.id);
  }
  summary->wall_s = (factories_.clock->NowMonotonicUs() - started_us_) * 1e-6;
  summary->cpu_s = ProcessCpuSeconds();
  return first;
}

// An output that waits is waited for, until it can write or somebody ends the run; then none waits any more.
void Engine::AwaitOutputs() {
  constexpr std::chrono::milliseconds kTick(200);
  while (!stop_requested_ && !sink_failed_ && !lanes_.WaitingFor().empty()) {
    MutexLock lock(mutex_);
    changed_.WaitFor(mutex_, kTick);
  }
  lanes_.EndWaiting();
}

RunProgress Engine::Progress() const {
  RunProgress progress;
  bool all_known = true;
  MutexLock lock(mutex_);
  for (const auto& camera : cameras_) {
    const FrameCounts counts = camera->pipeline->counts();
    progress.frames_in += counts.frames_in;
    progress.frames_done += counts.frames_in - counts.in_flight();
    progress.tracks += camera->pipeline->tracks_confirmed();
    progress.events += camera->pipeline->events_emitted();
    int64_t estimate = camera->outline.source.frames_estimate;
    if (config_->limits.max_frames > 0) {
      const auto most = static_cast<int64_t>(config_->limits.max_frames);
      estimate = estimate > 0 ? std::min(estimate, most) : most;
    }
    all_known = all_known && estimate > 0;
    progress.frames_estimate += estimate;
  }
  if (!all_known) progress.frames_estimate = 0;
  progress.elapsed_s = (factories_.clock->NowMonotonicUs() - started_us_) * 1e-6;
  return progress;
}

CameraSummary Engine::SummaryOf(const RunningCamera& camera) {
  const CameraPipeline& pipeline = *camera.pipeline;
  CameraSummary summary;
  summary.id = camera.id();
  summary.counts = pipeline.counts();
  summary.tracks = pipeline.tracks_confirmed();
  summary.events = pipeline.events_emitted();
  for (size_t id = 0; id < pipeline.tracks_per_class().size(); ++id) {
    const uint64_t n = pipeline.tracks_per_class()[id];
    if (n > 0)
      summary.counts_by_class[camera.outline.labels->NameOf(static_cast<int32_t>(id))] += n;
  }
  if (pipeline.events() != nullptr) summary.rule_counts = RuleCountsOf(*pipeline.events());
  return summary;
}

absl::Status Engine::RetryNow(const std::string& camera) {
  bool found = camera.empty();
  for (const auto& running : cameras()) {
    if (running->source == nullptr || (!camera.empty() && running->id() != camera)) continue;
    running->source->RetryNow();
    found = true;
  }
  if (!found) return NotFound("there is no live camera \"{}\"", camera);
  return absl::OkStatus();
}

}  // namespace sightline
