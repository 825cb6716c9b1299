#include "pipeline/engine_metrics.h"

#include <algorithm>
#include <set>

#include "base/time.h"
#include "pipeline/engine.h"

namespace sightline {
namespace {

using enum MetricType;

constexpr MetricInfo kFramesIn = {"sightline_camera_frames_in_total", kCounter,
                                  "Frames that the source met"};
constexpr MetricInfo kFrames = {
    "sightline_camera_frames_total", kCounter,
    "Frames whose way has ended, by outcome (processed, skipped, dropped) and reason"};
constexpr MetricInfo kInFlight = {
    "sightline_camera_frames_in_flight", kGauge,
    "Frames on their way: frames_in minus frames, exactly, within a scrape"};
constexpr MetricInfo kWindow = {"sightline_camera_window_frames", kGauge,
                                "Frames between the source and the tracker"};
constexpr MetricInfo kWindowCapacity = {"sightline_camera_window_capacity", kGauge,
                                        "Most frames between the source and the tracker"};
constexpr MetricInfo kTracks = {"sightline_camera_tracks_total", kCounter, "Confirmed tracks"};
constexpr MetricInfo kEvents = {"sightline_camera_events_total", kCounter,
                                "Events of zones and lines"};
constexpr MetricInfo kState = {"sightline_camera_state", kGauge,
                               "1 for the state that the camera is in, 0 for the others"};
constexpr MetricInfo kAttempts = {"sightline_camera_connection_attempts_total", kCounter,
                                  "Attempts to connect to a live camera"};
constexpr MetricInfo kGaps = {"sightline_camera_gaps_total", kCounter,
                              "Times that a live camera came back after a fault"};
constexpr MetricInfo kGapSeconds = {"sightline_camera_gap_seconds_total", kCounter,
                                    "Time without a frame, of the gaps that are over"};
constexpr MetricInfo kLastFrameAge = {"sightline_camera_last_frame_age_seconds", kGauge,
                                      "Time since the last frame was read; none before the first"};
constexpr MetricInfo kReadCpu = {"sightline_camera_read_cpu_seconds", kHistogram,
                                 "CPU time of reading a frame: demux, decode, look for motion"};
constexpr MetricInfo kQueueWait = {"sightline_camera_queue_wait_seconds", kHistogram,
                                   "From being read to the beginning of the model's work"};
constexpr MetricInfo kTrack = {"sightline_camera_track_seconds", kHistogram,
                               "Tracker and rules of a frame"};
constexpr MetricInfo kCaptureToDelivery = {
    "sightline_camera_capture_to_delivery_seconds", kHistogram,
    "Live cameras: from the capture of a frame to its results being written"};

constexpr MetricInfo kModelStage = {
    "sightline_model_stage_seconds", kHistogram,
    "Work on a batch, by stage: preprocess, inference, postprocess"};
constexpr MetricInfo kModelBatches = {"sightline_model_batches_total", kCounter, "Batches run"};
constexpr MetricInfo kModelFrames = {"sightline_model_frames_total", kCounter,
                                     "Frames of these batches"};
constexpr MetricInfo kGraphAsked = {
    "sightline_graph_asked_total", kCounter,
    "Frames given to a fallback, and objects given to a stage of crops"};
constexpr MetricInfo kGraphFailed = {"sightline_graph_failed_total", kCounter,
                                     "Of those, the ones without an answer"};
constexpr MetricInfo kGraphNotKept = {"sightline_graph_not_kept_total", kCounter,
                                      "Objects that a stage did not confirm, taken out"};
constexpr MetricInfo kGraphLeftOut = {
    "sightline_graph_left_out_total", kCounter,
    "Objects that a stage did not look at: too small, or beyond the most of a frame"};
constexpr MetricInfo kModelBatchSize = {"sightline_model_batch_frames", kHistogram,
                                        "Frames of a batch"};
constexpr MetricInfo kModelQueue = {"sightline_model_queue_seconds", kHistogram,
                                    "Time of a frame before the model, until its batch begins"};
constexpr MetricInfo kModelHeldBack = {
    "sightline_model_batches_held_back_total", kCounter,
    "Batches that waited for more frames, by whether those came"};
constexpr MetricInfo kModelInstances = {"sightline_model_instances", kGauge,
                                        "Copies of the model, by what they do: busy, idle"};
constexpr MetricInfo kQueueDepth = {
    "sightline_queue_depth", kGauge,
    "Entries waiting: frames before a model, records before a lane"};
constexpr MetricInfo kQueueCapacity = {"sightline_queue_capacity", kGauge,
                                       "Most entries that wait; of a model those of recordings"};
constexpr MetricInfo kQueueDropped = {"sightline_queue_dropped_total", kCounter,
                                      "Entries that gave way to newer ones or were refused"};

constexpr MetricInfo kDeliverWait = {"sightline_delivery_wait_seconds", kHistogram,
                                     "Time of a frame's results in the lane's queue"};
constexpr MetricInfo kDeliverWrite = {"sightline_delivery_write_seconds", kHistogram,
                                      "Writing a frame's results to all outputs of the lane"};
constexpr MetricInfo kDelivered = {"sightline_delivery_frames_total", kCounter,
                                   "Frames whose results the lane has written"};
constexpr MetricInfo kSinks = {"sightline_delivery_outputs", kGauge, "Outputs of the lane"};
constexpr MetricInfo kFailedSinks = {"sightline_delivery_failed_outputs", kGauge,
                                     "Outputs of the lane that ended by an error"};

constexpr MetricInfo kWaiting = {"sightline_delivery_waiting", kGauge,
                                 "1 while an output of the lane cannot be written and waits"};

constexpr MetricInfo kUp = {"sightline_running", kGauge, "1 while cameras are being read"};
constexpr MetricInfo kStuck = {"sightline_stuck_threads", kGauge,
                               "Threads at one piece of work for longer than metrics.hang_after"};

constexpr CameraState kStates[] = {
    CameraState::kConnecting, CameraState::kLive,  CameraState::kStalled, CameraState::kFrozen,
    CameraState::kBackingOff, CameraState::kEnded, CameraState::kFailed};

double Seconds(int64_t us) { return static_cast<double>(us) * 1e-6; }

void CollectLedger(std::string_view camera, const FrameCounts& counts, MetricWriter& writer) {
  const auto count = [&](std::string_view outcome, std::string_view reason, uint64_t n) {
    writer.Write(kFrames, {{"camera", camera}, {"outcome", outcome}, {"reason", reason}},
                 static_cast<double>(n));
  };
  writer.Write(kFramesIn, {{"camera", camera}}, static_cast<double>(counts.frames_in));
  count("processed", "", counts.processed);
  for (size_t i = 0; i < kSkipReasonNames.size(); ++i) {
    count("skipped", kSkipReasonNames[i], counts.skipped[i]);
  }
  for (size_t i = 0; i < kDropReasonNames.size(); ++i) {
    count("dropped", kDropReasonNames[i], counts.dropped[i]);
  }
  writer.Write(kInFlight, {{"camera", camera}}, static_cast<double>(counts.in_flight()));
}

void CollectQueue(std::string_view stage, std::string_view name, std::string_view camera,
                  const QueueStats& stats, size_t capacity, MetricWriter& writer) {
  const MetricWriter::Labels labels = {{"stage", stage}, {"name", name}, {"camera", camera}};
  writer.Write(kQueueDepth, labels, static_cast<double>(stats.depth));
  writer.Write(kQueueCapacity, labels, static_cast<double>(capacity));
  writer.Write(kQueueDropped, labels, static_cast<double>(stats.dropped));
}

}  // namespace

void CollectCameraMetrics(const CameraPipeline& camera, int64_t now_us, MetricWriter& writer) {
  const std::string& id = camera.camera().id;
  const CameraMetrics& metrics = camera.metrics();
  CollectLedger(id, camera.counts(), writer);
  const auto write = [&](const MetricInfo& metric, double value) {
    writer.Write(metric, {{"camera", id}}, value);
  };
  write(kWindow, static_cast<double>(metrics.in_window.value()));
  write(kWindowCapacity, static_cast<double>(camera.window_capacity()));
  write(kTracks, static_cast<double>(camera.tracks_confirmed()));
  write(kEvents, static_cast<double>(camera.events_emitted()));
  const CameraState now = metrics.state.load(std::memory_order_relaxed);
  for (const CameraState state : kStates) {
    writer.Write(kState, {{"camera", id}, {"state", ToString(state)}}, state == now ? 1 : 0);
  }
  if (const int64_t last_us = metrics.last_frame_us.load(std::memory_order_relaxed); last_us > 0) {
    write(kLastFrameAge, Seconds(std::max<int64_t>(0, now_us - last_us)));
  }
  writer.Write(kReadCpu, {{"camera", id}}, metrics.read_cpu.Counts());
  writer.Write(kQueueWait, {{"camera", id}}, metrics.queue_wait.Counts());
  writer.Write(kTrack, {{"camera", id}}, metrics.track.Counts());
  if (!camera.is_live()) return;
  write(kAttempts, static_cast<double>(metrics.attempts.value()));
  write(kGaps, static_cast<double>(metrics.gaps.value()));
  write(kGapSeconds, static_cast<double>(metrics.gap_us.value()) * 1e-6);
  writer.Write(kCaptureToDelivery, {{"camera", id}}, metrics.capture_to_delivery.Counts());
}

void CollectModelMetrics(std::string_view model, std::string_view camera, const Batcher& batcher,
                         const ModelMetrics& metrics, MetricWriter& writer) {
  const auto stage = [&](std::string_view name, const Histogram& histogram) {
    writer.Write(kModelStage, {{"model", model}, {"camera", camera}, {"stage", name}},
                 histogram.Counts());
  };
  stage("preprocess", metrics.preprocess);
  stage("inference", metrics.inference);
  stage("postprocess", metrics.postprocess);
  writer.Write(kModelBatches, {{"model", model}, {"camera", camera}},
               static_cast<double>(metrics.batches.value()));
  writer.Write(kModelFrames, {{"model", model}, {"camera", camera}},
               static_cast<double>(metrics.frames.value()));
  const BatcherCounts counts = batcher.Counts();
  writer.Write(kModelBatchSize, {{"model", model}, {"camera", camera}}, counts.batch_size);
  writer.Write(kModelQueue, {{"model", model}, {"camera", camera}}, counts.queue_us);
  writer.Write(kModelHeldBack, {{"model", model}, {"camera", camera}, {"outcome", "joined"}},
               static_cast<double>(counts.waited - counts.in_vain));
  writer.Write(kModelHeldBack, {{"model", model}, {"camera", camera}, {"outcome", "in_vain"}},
               static_cast<double>(counts.in_vain));
  const auto busy = std::count_if(metrics.busy.begin(), metrics.busy.end(),
                                  [](const BusySince& b) { return b.BusyUs(INT64_MAX) > 0; });
  writer.Write(kModelInstances, {{"model", model}, {"camera", camera}, {"state", "busy"}},
               static_cast<double>(busy));
  writer.Write(kModelInstances, {{"model", model}, {"camera", camera}, {"state", "idle"}},
               static_cast<double>(metrics.busy.size()) - static_cast<double>(busy));
  CollectQueue("model", model, camera, counts.queue, batcher.options().queue_capacity, writer);
}

void CollectLaneMetrics(const DeliverLane& lane, MetricWriter& writer) {
  const LaneMetrics& metrics = lane.metrics();
  const MetricWriter::Labels labels = {{"lane", lane.name()}};
  writer.Write(kDeliverWait, labels, metrics.wait.Counts());
  writer.Write(kDeliverWrite, labels, metrics.write.Counts());
  writer.Write(kDelivered, labels, static_cast<double>(metrics.written.value()));
  writer.Write(kSinks, labels, static_cast<double>(lane.sink_names().size()));
  writer.Write(kFailedSinks, labels, static_cast<double>(metrics.failed_sinks.value()));
  writer.Write(kWaiting, labels, lane.wait()->reason().empty() ? 0 : 1);
  CollectQueue("lane", lane.name(), "", lane.stats(), lane.capacity(), writer);
}

bool EngineHealth::ready(bool all_cameras) const {
  if (!running || !alive() || !failed.empty() || !waiting.empty()) return false;
  size_t giving = 0, wanted = 0;
  for (const CameraHealth& camera : cameras) {
    const bool over = !camera.live && camera.state == CameraState::kEnded;
    const bool gives = camera.state == CameraState::kLive && camera.last_frame_age_s >= 0;
    if (gives) ++giving;
    if (!over) ++wanted;
  }
  return giving > 0 && (!all_cameras || giving == wanted);
}

CameraHealth HealthOf(const CameraPipeline& camera, int64_t now_us) {
  const CameraMetrics& metrics = camera.metrics();
  CameraHealth health{.id = camera.camera().id,
                      .live = camera.is_live(),
                      .state = metrics.state.load(std::memory_order_relaxed),
                      .reason = {},
                      .frames_in = camera.counts().frames_in};
  if (health.state != CameraState::kLive) health.reason = metrics.reason();
  if (const int64_t last_us = metrics.last_frame_us.load(std::memory_order_relaxed); last_us > 0) {
    health.last_frame_age_s = Seconds(std::max<int64_t>(0, now_us - last_us));
  }
  return health;
}

void FindStuck(const CameraPipeline& camera, int64_t now_us, int64_t hang_after_us,
               std::vector<std::string>* stuck) {
  const int64_t busy_us = camera.metrics().tracking.BusyUs(now_us);
  if (busy_us <= hang_after_us) return;
  stuck->push_back(fmt::format("the tracker of camera {} has been at one frame for {:.1f} s",
                               camera.camera().id, Seconds(busy_us)));
}

void CollectGraphMetrics(std::string_view model, std::string_view camera, const GraphMetrics& graph,
                         MetricWriter& writer) {
  const auto write = [&](const GraphStepMetrics& step, bool crops) {
    const auto count = [&](const MetricInfo& metric, const Counter& counter) {
      writer.Write(metric, {{"model", model}, {"camera", camera}, {"step", step.step}},
                   static_cast<double>(counter.value()));
    };
    count(kGraphAsked, step.asked);
    count(kGraphFailed, step.failed);
    if (!crops) return;
    count(kGraphNotKept, step.not_kept);
    count(kGraphLeftOut, step.left_out);
  };
  for (const GraphStepMetrics& step : graph.fallbacks) write(step, /*crops=*/false);
  for (const GraphStepMetrics& step : graph.crops) write(step, /*crops=*/true);
}

void FindStuck(std::string_view model, const ModelMetrics& metrics, int64_t now_us,
               int64_t hang_after_us, std::vector<std::string>* stuck) {
  for (size_t i = 0; i < metrics.busy.size(); ++i) {
    const int64_t busy_us = metrics.busy[i].BusyUs(now_us);
    if (busy_us <= hang_after_us) continue;
    stuck->push_back(fmt::format("model {}, instance {}, has been at one batch for {:.1f} s", model,
                                 i, Seconds(busy_us)));
  }
}

void FindStuck(const DeliverLane& lane, int64_t now_us, int64_t hang_after_us,
               EngineHealth* health) {
  if (const std::string reason = lane.wait()->reason(); !reason.empty()) {
    health->waiting.push_back(fmt::format("the outputs of lane {} wait: {}", lane.name(), reason));
    return;
  }
  const int64_t busy_us = lane.metrics().busy.BusyUs(now_us);
  if (busy_us <= hang_after_us) return;
  std::string outputs;
  for (const std::string& name : lane.sink_names()) outputs += (outputs.empty() ? "" : ", ") + name;
  health->stuck.push_back(
      fmt::format("the outputs of lane {} ({}) have been at one write for {:.1f} s", lane.name(),
                  outputs, Seconds(busy_us)));
}

// The cameras, and by them the models and the lanes that are in use. Held while they are looked at, so
// that none goes meanwhile.
struct Engine::Graph {
  explicit Graph(const Cameras& all) : cameras(all) {
    for (const auto& camera : cameras) {
      AddModel(camera->model);
      outlets.push_back(camera->pipeline->outlets());
      for (const auto& lane : outlets.back()->lanes) AddOnce(lane, &lanes);
    }
  }
  // With the parts that it is made of.
  void AddModel(const std::shared_ptr<Model>& model) {
    AddOnce(model, &models);
    if (model->graph == nullptr) return;
    for (const GraphPart& part : model->graph->ensemble) AddModel(part.model);
    for (const GraphFallback& fallback : model->graph->fallbacks) AddModel(fallback.part.model);
    for (const GraphCrops& crops : model->graph->crops) AddModel(crops.model);
  }
  template <typename T>
  static void AddOnce(const std::shared_ptr<T>& part, std::vector<std::shared_ptr<T>>* to) {
    if (std::find(to->begin(), to->end(), part) == to->end()) to->push_back(part);
  }
  // Whose a model is alone; empty: shared.
  std::string OwnerOf(const Model& model) const {
    if (!model.info.stateful) return {};
    for (const auto& camera : cameras) {
      if (camera->model.get() == &model) return camera->id();
    }
    return {};
  }

  const Cameras cameras;
  std::vector<std::shared_ptr<const Outlets>> outlets;
  std::vector<std::shared_ptr<Model>> models;
  std::vector<std::shared_ptr<DeliverLane>> lanes;
};

void Engine::CollectMetrics(MetricWriter& writer) const {
  const int64_t now_us = factories_.clock->NowMonotonicUs();
  const EngineHealth health = Health(config()->metrics.hang_after_us);
  writer.Write(kUp, {}, health.running ? 1 : 0);
  writer.Write(kStuck, {}, static_cast<double>(health.stuck.size()));
  const Graph graph(cameras());
  // While a change is under way the old and the new of one name may both be there; a series twice
  // would make the whole scrape void.
  std::set<std::string> seen;
  for (const auto& camera : graph.cameras) {
    if (seen.insert("camera " + camera->id()).second) {
      CollectCameraMetrics(*camera->pipeline, now_us, writer);
    }
  }
  for (const auto& model : graph.models) {
    const std::string& name = model->config.name;
    const std::string owner = graph.OwnerOf(*model);
    if (!seen.insert("model " + name + " " + owner).second) continue;
    CollectModelMetrics(name, owner, *model->batcher, *model->metrics, writer);
    if (model->info.collect_metrics) model->info.collect_metrics(name, writer);
    if (model->graph != nullptr) CollectGraphMetrics(name, owner, *model->graph->metrics, writer);
  }
  for (const auto& lane : graph.lanes) {
    if (seen.insert("lane " + lane->name()).second) CollectLaneMetrics(*lane, writer);
  }
}

EngineHealth Engine::Health(int64_t hang_after_us) const {
  const int64_t now_us = factories_.clock->NowMonotonicUs();
  EngineHealth health;
  health.running = main_loop_.BusyUs(INT64_MAX) > 0 && !stop_requested_ && !sink_failed_;
  if (const int64_t turn_us = main_loop_.BusyUs(now_us); turn_us > hang_after_us) {
    health.stuck.push_back(
        fmt::format("the main loop has not turned for {:.1f} s", Seconds(turn_us)));
  }
  const Graph graph(cameras());
  for (const auto& camera : graph.cameras) {
    FindStuck(*camera->pipeline, now_us, hang_after_us, &health.stuck);
    health.cameras.push_back(HealthOf(*camera->pipeline, now_us));
  }
  for (const auto& model : graph.models) {
    FindStuck(model->config.name, *model->metrics, now_us, hang_after_us + model->info.may_wait_us,
              &health.stuck);
  }
  for (const auto& lane : graph.lanes) {
    FindStuck(*lane, now_us, hang_after_us, &health);
    if (lane->metrics().failed_sinks.value() > 0) {
      health.failed.push_back(fmt::format("an output of lane {} ended by an error", lane->name()));
    }
  }
  return health;
}

}  // namespace sightline
