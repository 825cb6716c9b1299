#include "pipeline/running_camera.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "pipeline/as_failure.h"
#include "pipeline/camera_setup.h"

namespace sightline {
namespace {

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
  options.max_refused_backoff_us =
      std::max(options.max_refused_backoff_us, camera.live.max_backoff_us);
  options.seed = HashString(camera.id).low;
  return options;
}

void LogStateChange(const CameraStateChange& change) {
  const std::string& id = change.camera->id;
  switch (change.to) {
    case CameraState::kLive:
      // As loud as the warnings before it: who read them wants to know that it is over.
      if (change.from == CameraState::kFrozen)
        return Log().warn("camera {}: the picture moves again", id);
      if (change.gap_us == 0) return Log().info("camera {}: live", id);
      return Log().warn("camera {}: live again after {:.1f} s without a frame", id,
                        change.gap_us * 1e-6);
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

// What tracks and events of a camera are made by, for frames of that size.
absl::StatusOr<Analytics> AnalyticsFor(const Config& config, size_t index,
                                       const CameraOutline& outline, const Hash128& detector,
                                       int width, int height) {
  const CameraConfig& camera = config.cameras[index];
  SL_ASSIGN_OR_RETURN(CameraRules rules, RulesOf(config, camera, width, height, *outline.labels));
  return AnalyticsOf(config, camera, outline.source, std::move(rules), detector);
}

absl::Status SetUp(Analytics analytics, CameraParts* parts) {
  parts->identity = analytics.identity;
  SL_ASSIGN_OR_RETURN(parts->tracker, MakeTracker(analytics.tracker));
  parts->tracker_identity = analytics.tracker.identity;
  SL_ASSIGN_OR_RETURN(parts->events, EventEngine::Create(analytics.rules));
  return absl::OkStatus();
}

absl::Status Replace(Analytics analytics, const FrameMeta& next, CameraParts* parts,
                     std::vector<Event>* events, std::vector<TrackSummary>* finished) {
  SL_ASSIGN_OR_RETURN(std::unique_ptr<Tracker> tracker, MakeTracker(analytics.tracker));
  // Whatever is wrong with the rules is found before anything ends.
  SL_RETURN_IF_ERROR(EventEngine::Create(analytics.rules).status());
  if (!(parts->tracker_identity == analytics.tracker.identity)) {
    std::vector<int32_t> occupancy;
    parts->events->Finish(events, &occupancy);
    parts->tracker->Finish();
    parts->tracker->TakeFinished(finished);
    parts->tracker = std::move(tracker);
    parts->tracker_identity = analytics.tracker.identity;
  }
  return parts->events->ChangeRules(analytics.rules, next, events);
}

}  // namespace

RulesInForce::RulesInForce(std::shared_ptr<const Config> config, size_t camera)
    : config_(std::move(config)), camera_(camera) {}

void RulesInForce::Set(std::shared_ptr<const Config> config, size_t camera) {
  MutexLock lock(mutex_);
  config_ = std::move(config);
  camera_ = camera;
  ++version_;
}

uint32_t RulesInForce::version() const {
  MutexLock lock(mutex_);
  return version_;
}

absl::StatusOr<CameraRules> RulesInForce::InPixels(int width, int height,
                                                   const LabelSet& labels) const {
  std::shared_ptr<const Config> config;
  size_t camera = 0;
  {
    MutexLock lock(mutex_);
    config = config_;
    camera = camera_;
  }
  return RulesOf(*config, config->cameras[camera], width, height, labels);
}

absl::StatusOr<std::unique_ptr<RunningCamera>> RunningCamera::Open(
    std::shared_ptr<const Config> config, size_t index, uint32_t number, uint32_t life,
    const EngineFactories& factories, ModelPool& models, const RunningCamera* before) {
  const CameraConfig& wanted = config->cameras[index];
  std::unique_ptr<RunningCamera> camera(new RunningCamera);
  camera->config_ = config;
  camera->index_ = index;
  camera->took_over_ = before != nullptr;
  CameraOutline& outline = camera->outline;
  const auto info = std::make_shared<CameraInfo>(
      CameraInfo{.id = wanted.id, .source = wanted.source.shown(), .index = number});
  outline.camera = info;
  outline.config = std::shared_ptr<const CameraConfig>(config, &wanted);
  // A live stream goes on where the one before it was; a recording is read anew.
  CameraHeritage& heritage = camera->heritage;
  if (before != nullptr && before->live()) heritage = before->heritage;
  if (!heritage.ledger) heritage.ledger = std::make_shared<FrameLedger>();
  if (!heritage.metrics) heritage.metrics = std::make_shared<CameraMetrics>();
  if (!heritage.position) heritage.position = std::make_shared<StreamPosition>();
  heritage.rules = before != nullptr ? before->heritage.rules : nullptr;

  CameraParts parts;
  parts.camera = outline.camera;
  parts.ledger = heritage.ledger;
  parts.metrics = heritage.metrics;
  parts.clock = factories.clock;
  parts.trace = config->outputs.trace;
  SL_RETURN_IF_ERROR(camera->OpenSource(wanted, factories, &parts));
  outline.source = parts.source->info();
  const CameraInfo* const earlier = before != nullptr ? before->outline.camera.get() : nullptr;
  const bool goes_on = before != nullptr && before->live() && camera->live();
  const bool read_again = before != nullptr && !before->live() && !camera->live() &&
                          before->outline.config->source.Reveal() == wanted.source.Reveal() &&
                          before->outline.source.fingerprint == outline.source.fingerprint;
  info->life = goes_on ? earlier->life : life;
  info->replaces_from = goes_on || read_again ? earlier->replaces_from : life;
  SL_ASSIGN_OR_RETURN(camera->model, models.Get(config->models[wanted.model_index]));
  const Model& model = *camera->model;
  parts.batcher = model.batcher.get();
  parts.labels = outline.labels = model.info.labels;
  const int in_flight = config->limits.frames_in_flight;
  const int rounds = camera->live() ? 2 : 4;  // a recording's go in bursts of half
  parts.frames_in_flight =
      in_flight > 0 ? in_flight : rounds * model.instances * model.batcher->options().max_batch + 2;
  parts.max_frames = config->limits.max_frames;
  parts.priority = wanted.priority;
  if (heritage.rules)
    parts.rules_version = heritage.rules->version() + 1;  // set when it takes its place
  SL_ASSIGN_OR_RETURN(parts.motion, MotionGateOf(wanted));
  const auto set_up = [config, index, outline, detector = model.info.identity](
                          int width, int height, CameraParts* to) -> absl::Status {
    SL_ASSIGN_OR_RETURN(Analytics analytics,
                        AnalyticsFor(*config, index, outline, detector, width, height));
    return SetUp(std::move(analytics), to);
  };
  if (camera->live()) {
    parts.set_up = [set_up](const FrameMeta& first, CameraParts* to) {
      return set_up(first.width, first.height, to);
    };
  } else {
    SL_RETURN_IF_ERROR(set_up(outline.source.width, outline.source.height, &parts));
  }
  if (!heritage.rules) heritage.rules = std::make_shared<RulesInForce>(config, index);
  outline.rules = [rules = heritage.rules, labels = outline.labels](int width, int height) {
    return rules->InPixels(width, height, *labels);
  };
  camera->pipeline = std::make_unique<CameraPipeline>(std::move(parts));
  if (camera->source != nullptr) {
    camera->source->OnChange([pipeline = camera->pipeline.get()](const CameraStateChange& change) {
      LogStateChange(change);
      pipeline->Deliver(change);
    });
  }
  return camera;
}

bool RunningCamera::Replaces(const RunningCamera& before) const {
  const CameraInfo& mine = *outline.camera;
  const CameraInfo& other = *before.outline.camera;
  return mine.life != other.life && mine.replaces_from <= other.life;
}

void RunningCamera::Go() {
  if (took_over_) heritage.rules->Set(config_, index_);
  pipeline->Go();
}

absl::Status RunningCamera::OpenSource(const CameraConfig& config, const EngineFactories& factories,
                                       CameraParts* parts) {
  const SourceOptions options{.camera = parts->camera,
                              .url = config.source.Reveal(),
                              .selection = config.selection,
                              .start_utc_us = config.start_utc_us,
                              .decode_threads = config.decode_threads};
  if (factories.open_live) {
    absl::StatusOr<ConnectSource> connect =
        factories.open_live(options, config.live, *parts->ledger);
    if (!connect.ok()) return AsFailure(connect.status());
    if (*connect) {
      SupervisedSource::Parts supervised;
      supervised.camera = parts->camera;
      supervised.ledger = parts->ledger.get();
      supervised.metrics = parts->metrics.get();
      supervised.connect = *std::move(connect);
      supervised.info.live = true;
      supervised.info.clock = ClockSource::kArrival;
      supervised.position = heritage.position;
      supervised.supervision = SupervisionOf(config);
      supervised.clock = factories.clock;
      supervised.wait = factories.wait;
      auto live = std::make_unique<SupervisedSource>(std::move(supervised));
      source = live.get();
      parts->source = std::move(live);
      parts->live_waiting = kLiveWaiting;
      return absl::OkStatus();
    }
  }
  absl::StatusOr<std::unique_ptr<FrameSource>> opened =
      factories.open_source(options, config.live, *parts->ledger);
  if (!opened.ok()) return AsFailure(opened.status());
  parts->source = std::move(*opened);
  return absl::OkStatus();
}

absl::Status RunningCamera::CheckRules(const Config& config, size_t index) const {
  const bool seen = pipeline->width() > 0;
  SL_ASSIGN_OR_RETURN(const Analytics analytics,
                      AnalyticsFor(config, index, outline, model->info.identity,
                                   seen ? pipeline->width() : outline.source.width,
                                   seen ? pipeline->height() : outline.source.height));
  SL_RETURN_IF_ERROR(MakeTracker(analytics.tracker).status());
  return EventEngine::Create(analytics.rules).status();
}

void RunningCamera::ChangeRules(std::shared_ptr<const Config> config, size_t index) {
  heritage.rules->Set(config, index);
  outline.config = std::shared_ptr<const CameraConfig>(config, &config->cameras[index]);
  pipeline->SetRules([config, index, outline = outline, detector = model->info.identity](
                         const FrameMeta& next, CameraParts* parts, std::vector<Event>* events,
                         std::vector<TrackSummary>* finished) -> absl::Status {
    SL_ASSIGN_OR_RETURN(Analytics analytics,
                        AnalyticsFor(*config, index, outline, detector, next.width, next.height));
    return Replace(std::move(analytics), next, parts, events, finished);
  });
}

}  // namespace sightline
