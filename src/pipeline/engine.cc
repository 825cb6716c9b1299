#include "pipeline/engine.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "base/time.h"
#include "pipeline/camera_setup.h"
#include "pipeline/detector_runner.h"

namespace sightline {
namespace {

// A file that is not what it should be is a failure of the run, not a mistake in the configuration:
// only the latter is InvalidArgument, which programs tell by the exit code.
absl::Status AsFailure(const absl::Status& status) {
  if (!absl::IsInvalidArgument(status)) return status;
  return absl::Status(absl::StatusCode::kFailedPrecondition, status.message());
}

// Frames of one live camera that wait for the model, beside those being worked on: as many as a
// network that stumbles brings at once; chosen.
constexpr size_t kLiveWaiting = 2;

SupervisorOptions SupervisionOf(const CameraConfig& camera) {
  SupervisorOptions options;
  options.connect_timeout_us = camera.live.connect_timeout_us;
  options.picture_timeout_us = std::max(options.picture_timeout_us, options.connect_timeout_us);
  options.stall_after_us = camera.live.stall_after_us;
  options.frozen_after_us = camera.live.frozen_after_us;
  options.max_backoff_us = camera.live.max_backoff_us;
  options.max_refused_backoff_us = std::max(options.max_refused_backoff_us, camera.live.max_backoff_us);
  options.seed = HashString(camera.id).low;
  return options;
}

void LogStateChange(const CameraStateChange& change) {
  const std::string& id = change.camera->id;
  switch (change.to) {
    case CameraState::kLive:
      // As loud as the warnings before it: who read them wants to know that it is over.
      if (change.from == CameraState::kFrozen) return Log().warn("camera {}: the picture moves again", id);
      if (change.gap_us == 0) return Log().info("camera {}: live", id);
      return Log().warn("camera {}: live again after {:.1f} s without a frame", id, change.gap_us * 1e-6);
    case CameraState::kStalled:
    case CameraState::kFrozen:
    case CameraState::kFailed:
      return Log().warn("camera {}: {}: {}", id, ToString(change.to), change.reason);
    case CameraState::kBackingOff:
      return Log().warn("camera {}: {}; trying again", id, change.reason);
    default:
      Log().debug("camera {}: {}", id, ToString(change.to));
  }
}

}  // namespace

Engine::Engine(Config config, EngineFactories factories)
    : config_(std::move(config)), factories_(std::move(factories)) {}

Engine::~Engine() = default;

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(Config config, EngineFactories factories) {
  std::unique_ptr<Engine> engine(new Engine(std::move(config), std::move(factories)));
  SL_RETURN_IF_ERROR(engine->Open());
  return engine;
}

absl::Status Engine::Open() {
  for (size_t i = 0; i < config_.cameras.size(); ++i) {
    const CameraConfig& camera = config_.cameras[i];
    SL_RETURN_IF_ERROR(WithContext(OpenCamera(i), "camera " + camera.id));
  }
  SL_RETURN_IF_ERROR(AsFailure(OpenLanes()));
  return absl::OkStatus();
}

int Engine::WorkerThreads() const {
  if (config_.limits.threads > 0) return config_.limits.threads;
  return std::max(1u, std::thread::hardware_concurrency());
}

absl::StatusOr<Engine::Model*> Engine::ModelFor(const CameraConfig& camera) {
  const ModelConfig& wanted = config_.models[camera.model_index];
  for (const auto& model : models_) {
    // A stateful detector remembers one camera's pictures and cannot serve another.
    if (model->name == wanted.name && !model->info.stateful) return model.get();
  }
  const absl::StatusOr<DetectorFactory> opened = factories_.open_detector(wanted);
  if (!opened.ok()) return AsFailure(opened.status());
  const DetectorFactory& factory = *opened;
  absl::StatusOr<std::unique_ptr<Detector>> made = factory();
  if (!made.ok()) return AsFailure(made.status());
  std::unique_ptr<Detector> first = std::move(*made);
  auto model = std::make_unique<Model>();
  model->name = wanted.name;
  model->info = first->info();
  // A model with threads of its own gets fewer instances, so that all of them fill the cores once.
  const int wanted_instances =
      wanted.instances > 0 ? wanted.instances : std::max(1, WorkerThreads() / wanted.threads);
  model->instances = model->info.stateful ? 1 : wanted_instances;
  model->camera = model->info.stateful ? camera.id : "";
  model->metrics = std::make_shared<ModelMetrics>(model->instances);
  std::vector<std::unique_ptr<BatchRunner>> runners;
  runners.push_back(std::make_unique<DetectorRunner>(std::move(first), model->metrics, 0));
  while (runners.size() < static_cast<size_t>(model->instances)) {
    SL_ASSIGN_OR_RETURN(std::unique_ptr<Detector> next, factory());
    runners.push_back(
        std::make_unique<DetectorRunner>(std::move(next), model->metrics, runners.size()));
  }
  model->batcher_options = {
      .name = wanted.name,
      .queue_capacity = static_cast<size_t>(std::max(8, 2 * model->instances)),
      .max_batch = model->info.max_batch,
      .max_per_source = 0,
      .max_delay_us = wanted.max_batch_delay_us,
  };
  SL_ASSIGN_OR_RETURN(model->batcher,
                      Batcher::Create(model->batcher_options, std::move(runners)));
  models_.push_back(std::move(model));
  return models_.back().get();
}

absl::Status Engine::OpenCamera(size_t index) {
  const CameraConfig& config = config_.cameras[index];
  CameraParts parts;
  parts.camera = std::make_shared<const CameraInfo>(CameraInfo{
      .id = config.id, .source = config.source.shown(), .index = static_cast<uint32_t>(index)});
  parts.ledger = std::make_shared<FrameLedger>();
  SL_RETURN_IF_ERROR(OpenCameraSource(index, &parts));
  SL_ASSIGN_OR_RETURN(Model * model, ModelFor(config));
  parts.batcher = model->batcher.get();
  parts.labels = model->info.labels;
  const int in_flight = config_.limits.frames_in_flight;
  parts.frames_in_flight = in_flight > 0 ? in_flight : 2 * model->instances * model->info.max_batch + 2;
  parts.max_frames = config_.limits.max_frames;
  parts.trace = config_.outputs.trace;
  CameraOutline outline{.camera = parts.camera,
                        .config = &config,
                        .source = parts.source->info(),
                        .labels = parts.labels,
                        .rules = {}};
  outline.rules = [this, &config, labels = parts.labels](int width, int height) {
    return RulesOf(config_, config, width, height, *labels);
  };
  const auto set_up = [this, &config, source = outline.source, rules = outline.rules,
                       identity = model->info.identity](int width, int height,
                                                        CameraParts* to) -> absl::Status {
    SL_ASSIGN_OR_RETURN(CameraRules in_pixels, rules(width, height));
    return SetUpAnalytics(config_, config, source, std::move(in_pixels), identity, to);
  };
  if (parts.live_waiting > 0) {
    parts.set_up = [set_up](const FrameMeta& first, CameraParts* to) {
      return set_up(first.width, first.height, to);
    };
  } else {
    SL_RETURN_IF_ERROR(set_up(outline.source.width, outline.source.height, &parts));
  }
  outlines_.push_back(std::move(outline));
  model_of_camera_.push_back(model);
  parts_.push_back(std::move(parts));
  return absl::OkStatus();
}

absl::Status Engine::OpenCameraSource(size_t index, CameraParts* parts) {
  const CameraConfig& config = config_.cameras[index];
  const SourceOptions options{.camera = parts->camera,
                              .url = config.source.Reveal(),
                              .selection = config.selection,
                              .start_utc_us = config.start_utc_us,
                              .decode_threads = config.decode_threads};
  if (factories_.open_live) {
    absl::StatusOr<ConnectSource> connect = factories_.open_live(options, config.live, *parts->ledger);
    if (!connect.ok()) return AsFailure(connect.status());
    if (*connect) {
      SupervisedSource::Parts supervised;
      supervised.camera = parts->camera;
      supervised.ledger = parts->ledger.get();
      supervised.metrics = parts->metrics.get();
      supervised.connect = *std::move(connect);
      supervised.info.live = true;
      supervised.info.clock = ClockSource::kArrival;
      supervised.supervision = SupervisionOf(config);
      supervised.on_change = [this, index](const CameraStateChange& change) {
        LogStateChange(change);
        pipelines_[index]->Deliver(change);
      };
      parts->source = std::make_unique<SupervisedSource>(std::move(supervised));
      parts->live_waiting = kLiveWaiting;
      return absl::OkStatus();
    }
  }
  absl::StatusOr<std::unique_ptr<FrameSource>> source =
      factories_.open_source(options, *parts->ledger);
  if (!source.ok()) return AsFailure(source.status());
  parts->source = std::move(*source);
  return absl::OkStatus();
}

absl::Status Engine::OpenLanes() {
  SL_ASSIGN_OR_RETURN(std::vector<LaneSpec> specs, factories_.make_sinks(outlines_));
  // Enough that a group commit does not stop the models, small beside the decoded pictures.
  constexpr size_t kQueueCapacity = 64;
  constexpr size_t kPictureQueueCapacity = 8;
  for (LaneSpec& spec : specs) {
    const bool pictures = std::any_of(spec.sinks.begin(), spec.sinks.end(),
                                      [](const auto& sink) { return sink->wants_pixels(); });
    SL_ASSIGN_OR_RETURN(
        std::unique_ptr<DeliverLane> lane,
        DeliverLane::Create(spec.name, std::move(spec.sinks),
                            pictures ? kPictureQueueCapacity : kQueueCapacity,
                            [this](const absl::Status& error) {
                              // Run() gives the error itself.
                              Log().info("{}; stopping the run", MessageOf(error));
                              sink_failed_ = true;
                            }));
    lanes_.push_back(std::move(lane));
  }
  for (CameraParts& parts : parts_) {
    for (const auto& lane : lanes_) {
      // A lane of one camera's pictures is named after it.
      const bool other_camera = lane->name().starts_with("video-") &&
                                lane->name() != "video-" + parts.camera->id;
      if (!other_camera) parts.lanes.push_back(lane.get());
    }
  }
  return absl::OkStatus();
}

absl::Status Engine::Run(const std::function<void(const RunProgress&)>& on_progress,
                         RunSummary* summary) {
  started_us_ = Clock::Real().NowMonotonicUs();
  {
    MutexLock lock(graph_mutex_);
    for (CameraParts& parts : parts_) {
      pipelines_.push_back(std::make_unique<CameraPipeline>(std::move(parts)));
    }
  }
  parts_.clear();

  std::vector<absl::Status> statuses(pipelines_.size());
  WaitForCameras(on_progress, &statuses, summary);
  for (const auto& model : models_) model->batcher->Stop(/*discard=*/false);

  std::vector<DeliverLane::CameraLedger> ledgers;
  for (size_t i = 0; i < pipelines_.size(); ++i) {
    const FrameCounts counts = pipelines_[i]->counts();
    if (SL_BUG_IF(counts.in_flight() != 0, "camera {}: {} frames are unaccounted for",
                  outlines_[i].camera->id, counts.in_flight())) {
    }
    ledgers.push_back({outlines_[i].camera, counts});
    summary->cameras.push_back(SummaryOf(*pipelines_[i], *outlines_[i].labels));
    // Cut short because we asked for it: no failure of the camera.
    if (!absl::IsCancelled(statuses[i])) summary->cameras.back().status = statuses[i];
  }
  // When every source failed before its first frame there is nothing that could replace the results
  // of an earlier run. A run that somebody cut short is another matter.
  bool failed = true;
  for (size_t i = 0; i < statuses.size(); ++i) {
    failed = failed && !statuses[i].ok() && !absl::IsCancelled(statuses[i]) &&
             ledgers[i].counts.processed == 0;
  }
  absl::Status first;
  for (const auto& lane : lanes_) {
    const absl::Status status = lane->Finish(ledgers, /*abandon=*/failed);
    if (first.ok()) first = status;
  }
  for (size_t i = 0; i < statuses.size() && first.ok(); ++i) {
    const CameraSummary& camera = summary->cameras[i];
    first = WithContext(camera.status, "camera " + camera.id);
  }
  summary->wall_s = (Clock::Real().NowMonotonicUs() - started_us_) * 1e-6;
  summary->cpu_s = ProcessCpuSeconds();
  return first;
}

void Engine::WaitForCameras(const std::function<void(const RunProgress&)>& on_progress,
                            std::vector<absl::Status>* statuses, RunSummary* summary) {
  Mutex mutex;
  CondVar finished;
  size_t running = pipelines_.size();
  std::vector<std::thread> threads;
  for (size_t i = 0; i < pipelines_.size(); ++i) {
    absl::StatusOr<std::thread> thread = StartThread("cam-" + outlines_[i].camera->id, [&, i] {
      (*statuses)[i] = pipelines_[i]->Run();
      MutexLock lock(mutex);
      --running;
      finished.NotifyOne();
    });
    if (thread.ok()) {
      threads.push_back(*std::move(thread));
      continue;
    }
    // The run was asked for with all its cameras: those that began are stopped.
    (*statuses)[i] = thread.status();
    MutexLock lock(mutex);
    running -= pipelines_.size() - i;
    stop_requested_ = true;
    break;
  }
  // Often enough for a hand on Ctrl-C and an eye on the progress line.
  constexpr std::chrono::milliseconds kTick(200);
  bool stop_sent = false;
  main_loop_.Begin(Clock::Real().NowMonotonicUs());
  while (true) {
    {
      MutexLock lock(mutex);
      if (running > 0) finished.WaitFor(mutex, kTick);
      if (running == 0) break;
    }
    main_loop_.Begin(Clock::Real().NowMonotonicUs());
    const RunProgress progress = Progress();
    if (on_progress) on_progress(progress);
    const bool time_is_up = config_.limits.duration_us.has_value() &&
                            progress.elapsed_s * 1e6 >= *config_.limits.duration_us;
    if ((stop_requested_ || sink_failed_ || time_is_up) && !stop_sent) {
      for (const auto& pipeline : pipelines_) pipeline->RequestStop();
      stop_sent = summary->stopped = true;
    }
  }
  for (std::thread& thread : threads) thread.join();
  main_loop_.End();
  if (on_progress) on_progress(Progress());
}

RunProgress Engine::Progress() const {
  RunProgress progress;
  bool all_known = true;
  for (size_t i = 0; i < pipelines_.size(); ++i) {
    const FrameCounts counts = pipelines_[i]->counts();
    progress.frames_in += counts.frames_in;
    progress.frames_done += counts.frames_in - counts.in_flight();
    progress.tracks += pipelines_[i]->tracks_confirmed();
    progress.events += pipelines_[i]->events_emitted();
    int64_t estimate = outlines_[i].source.frames_estimate;
    if (config_.limits.max_frames > 0) {
      const auto most = static_cast<int64_t>(config_.limits.max_frames);
      estimate = estimate > 0 ? std::min(estimate, most) : most;
    }
    all_known = all_known && estimate > 0;
    progress.frames_estimate += estimate;
  }
  if (!all_known) progress.frames_estimate = 0;
  progress.elapsed_s = (Clock::Real().NowMonotonicUs() - started_us_) * 1e-6;
  return progress;
}

CameraSummary Engine::SummaryOf(const CameraPipeline& pipeline, const LabelSet& labels) const {
  CameraSummary summary;
  summary.id = pipeline.camera().id;
  summary.counts = pipeline.counts();
  summary.tracks = pipeline.tracks_confirmed();
  summary.events = pipeline.events_emitted();
  for (size_t id = 0; id < pipeline.tracks_per_class().size(); ++id) {
    const uint64_t n = pipeline.tracks_per_class()[id];
    if (n > 0) summary.counts_by_class[labels.NameOf(static_cast<int32_t>(id))] += n;
  }
  if (pipeline.events() != nullptr) summary.rule_counts = RuleCountsOf(*pipeline.events());
  return summary;
}

}  // namespace sightline
