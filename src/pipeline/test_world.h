// A made-up world of cameras for the tests of Engine::Apply(): sources, models and sinks that do nothing
// but remember. A camera gives its next frame when its last one has reached the sinks, so that nothing
// is ever late and every missing frame is a fault.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "pipeline/config/parse.h"
#include "pipeline/engine.h"

namespace sightline::test_world {

class World {
 public:
  std::atomic<bool> disk_is_full{false};
  std::atomic<int> detectors{0};  // that were made

  struct Camera {
    int connections = 0;
    bool may_go = false;              // its last frame has arrived
    std::optional<uint64_t> hold_at;  // waits behind a frame whose ordinal leaves this over by 50
    bool odd = false;                 // the next frame is one that tracker or rules refuse
    std::vector<std::string> events;  // "zone_enter door"
    int finished_tracks = 0;
    std::vector<uint64_t> ordinals;
    std::vector<uint32_t> epochs;
    std::vector<std::pair<uint32_t, uint32_t>> lives;  // with the first that each replaces
    std::vector<std::string> states;
    std::set<std::string> rules;  // that events were made by
    FrameCounts ledger;
  };

  // Of a connection: waits for its turn; false when it is to be given up.
  bool TakeTurn(const std::string& id, const std::function<bool()>& give_up) {
    while (!give_up()) {
      MutexLock lock(mutex_);
      if (std::exchange(cameras_[id].may_go, false)) return true;
      moved_.WaitFor(mutex_, std::chrono::milliseconds(5));
    }
    return false;
  }
  void Connected(const std::string& id) {
    MutexLock lock(mutex_);
    ++cameras_[id].connections;
    cameras_[id].may_go = true;
    moved_.NotifyAll();
  }
  void Delivered(const FrameResult& result) {
    MutexLock lock(mutex_);
    const FrameMeta& frame = result.frame.meta;
    Camera& camera = cameras_[frame.camera->id];
    for (const Event& event : result.events) {
      camera.rules.insert(event.rule);
      camera.events.push_back(fmt::format("{} {}", ToString(event.kind), event.rule));
    }
    if (result.end_of_stream) return;
    camera.ordinals.push_back(frame.ordinal);
    camera.epochs.push_back(frame.time.epoch);
    const std::pair life{frame.camera->life, frame.camera->replaces_from};
    if (camera.lives.empty() || camera.lives.back() != life) camera.lives.push_back(life);
    camera.may_go = camera.hold_at != frame.ordinal % 50;
    moved_.NotifyAll();
  }
  void Told(const CameraStateChange& change) {
    MutexLock lock(mutex_);
    cameras_[change.camera->id].states.emplace_back(ToString(change.to));
  }
  void Counted(const CameraInfo& camera, const FrameCounts& counts) {
    MutexLock lock(mutex_);
    cameras_[camera.id].ledger = counts;
  }
  Camera Of(const std::string& id) {
    MutexLock lock(mutex_);
    return cameras_[id];
  }
  // Stops the camera behind such a frame.
  void Hold(const std::string& id, uint64_t at) {
    MutexLock lock(mutex_);
    Camera& camera = cameras_[id];
    camera.hold_at = at;
    while (camera.may_go || camera.ordinals.back() % 50 != at) moved_.Wait(mutex_);
  }
  void LetGo(const std::string& id, bool odd) {
    MutexLock lock(mutex_);
    Camera& camera = cameras_[id];
    camera.hold_at.reset();
    camera.odd = odd;
    camera.may_go = true;
    moved_.NotifyAll();
  }
  bool TakeOdd(const std::string& id) {
    MutexLock lock(mutex_);
    return std::exchange(cameras_[id].odd, false);
  }
  void TrackFinished(const TrackSummary& track) {
    MutexLock lock(mutex_);
    ++cameras_[track.camera->id].finished_tracks;
  }
  // Waits until `n` more frames of the camera have been delivered.
  void WaitForFrames(const std::string& id, size_t n) {
    MutexLock lock(mutex_);
    const size_t wanted = cameras_[id].ordinals.size() + n;
    while (cameras_[id].ordinals.size() < wanted) moved_.Wait(mutex_);
  }
  void SinkOpened(const std::string& path) {
    MutexLock lock(mutex_);
    open_sinks_.insert(path);
  }
  void SinkClosed(const std::string& path) {
    MutexLock lock(mutex_);
    open_sinks_.erase(open_sinks_.find(path));
  }
  std::multiset<std::string> OpenSinks() {
    MutexLock lock(mutex_);
    return open_sinks_;
  }

 private:
  Mutex mutex_;
  CondVar moved_;
  std::map<std::string, Camera> cameras_ GUARDED_BY(mutex_);
  std::multiset<std::string> open_sinks_ GUARDED_BY(mutex_);
};

class Connection final : public FrameSource {
 public:
  Connection(World& world, const SourceOptions& options, FrameLedger& ledger,
             std::function<bool()> give_up)
      : world_(world), options_(options), ledger_(ledger), give_up_(std::move(give_up)) {
    info_.live = true;
    world_.Connected(options_.camera->id);
  }
  const SourceInfo& info() const override { return info_; }
  void Cancel() override {}
  absl::StatusOr<std::optional<Frame>> Next() override {
    // Behind an odd one, which nobody delivers, at once.
    if (!odd_ && !world_.TakeTurn(options_.camera->id, give_up_)) return Cancelled("given up");
    odd_ = world_.TakeOdd(options_.camera->id);
    ledger_.CountIn();
    Frame frame;
    frame.meta = {.camera = options_.camera,
                  .ordinal = next_,
                  .time = {.pts_us = static_cast<int64_t>(next_) * 40'000,
                           .epoch = 0,
                           .capture_utc_us = static_cast<int64_t>(next_) * 40'000},
                  .width = 640,
                  .height = 480};
    if (odd_) frame.meta.time.pts_us = -1;  // before the one before it
    ++next_;
    return frame;
  }

 private:
  World& world_;
  const SourceOptions options_;
  FrameLedger& ledger_;
  const std::function<bool()> give_up_;
  SourceInfo info_;
  uint64_t next_ = 0;
  bool odd_ = false;
};

// A recording without an end.
class Tape final : public FrameSource {
 public:
  Tape(World& world, const SourceOptions& options, FrameLedger& ledger)
      : connection_(world, options, ledger, [this] { return cancelled_.load(); }) {
    info_.width = 640;
    info_.height = 480;
  }
  const SourceInfo& info() const override { return info_; }
  void Cancel() override { cancelled_ = true; }
  absl::StatusOr<std::optional<Frame>> Next() override { return connection_.Next(); }

 private:
  std::atomic<bool> cancelled_{false};
  Connection connection_;
  SourceInfo info_;
};

// One object that walks to the right and around again.
class Walker final : public Detector {
 public:
  Walker() {
    info_.name = info_.describe = "walker";
    info_.max_batch = 4;
    info_.labels = std::make_shared<const LabelSet>(LabelSet{{"walker"}});
  }
  const DetectorInfo& info() const override { return info_; }
  void Detect(std::span<DetectJob> jobs) override {
    for (DetectJob& job : jobs) {
      const float x = static_cast<float>(job.frame->meta.ordinal % 50) * 12;
      job.result->items.push_back(
          {.box_px = {x, 100, x + 50, 220}, .confidence = 0.9f, .class_id = 0});
    }
  }

 private:
  DetectorInfo info_;
};

class Sink final : public ResultSink {
 public:
  Sink(World& world, std::string path, std::shared_ptr<OutputWait> wait)
      : world_(world), path_(std::move(path)), wait_(std::move(wait)) {
    world_.SinkOpened(path_);
  }
  std::string_view name() const override { return path_; }
  absl::Status Write(const FrameResult& result) override {
    SL_RETURN_IF_ERROR(wait_->Until([this] {
      return world_.disk_is_full ? ResourceExhausted("the disk is full") : absl::OkStatus();
    }));
    world_.Delivered(result);
    return absl::OkStatus();
  }
  absl::Status WriteCameraState(const CameraStateChange& change) override {
    world_.Told(change);
    return absl::OkStatus();
  }
  absl::Status WriteTrack(const TrackSummary& track) override {
    world_.TrackFinished(track);
    return absl::OkStatus();
  }
  absl::Status WriteLedger(const CameraInfo& camera, const FrameCounts& counts) override {
    world_.Counted(camera, counts);
    return absl::OkStatus();
  }
  absl::Status Close() override {
    world_.SinkClosed(path_);
    return absl::OkStatus();
  }

 private:
  World& world_;
  const std::string path_;
  const std::shared_ptr<OutputWait> wait_;
};

inline EngineFactories FactoriesOf(World& world) {
  EngineFactories factories;
  factories.open_source = [&world](
                              const SourceOptions& options, const LiveConfig&,
                              FrameLedger& ledger) -> absl::StatusOr<std::unique_ptr<FrameSource>> {
    return std::make_unique<Tape>(world, options, ledger);
  };
  factories.open_live = [&world](const SourceOptions& options, const LiveConfig&,
                                 FrameLedger& ledger) -> absl::StatusOr<ConnectSource> {
    if (options.url.find("nowhere") != std::string::npos) return NotFound("no such address");
    if (options.url.find("tape") != std::string::npos) return ConnectSource();
    return ConnectSource(
        [&world, options,
         &ledger](const ConnectRequest& request) -> absl::StatusOr<std::unique_ptr<FrameSource>> {
          return std::make_unique<Connection>(world, options, ledger, request.give_up);
        });
  };
  factories.open_detector = [&world](const ModelConfig& model) -> absl::StatusOr<DetectorFactory> {
    if (model.reference == "faces") return FailedPrecondition("the model does not open");
    return DetectorFactory([&world]() -> absl::StatusOr<std::unique_ptr<Detector>> {
      ++world.detectors;
      return std::make_unique<Walker>();
    });
  };
  factories.plan_sinks = [&world](const Config& config, bool) {
    const std::string path = config.outputs.jsonl.path;
    return std::vector<SinkPlan>{{.lane = "rows",
                                  .what = path,
                                  .make = [&world, path](const SinkContext& context)
                                      -> absl::StatusOr<std::unique_ptr<ResultSink>> {
                                    if (path.find("full") != std::string::npos)
                                      return ResourceExhausted("no space on {}", path);
                                    return std::make_unique<Sink>(world, path, context.wait);
                                  }}};
  };
  return factories;
}

// A configuration as the tests change it.
struct Shop {
  struct Camera {
    std::string source = "a";
    std::string model = "people";
    std::string zone;  // its name; empty: none
    double zone_left = 100;
    int track_buffer = 30;
    int priority = 8;
  };
  std::map<std::string, Camera> cameras;
  std::string models;  // entries in flow style
  std::string lines = "a.jsonl";
  int threads = 2;

  std::string Text() const {
    std::string text = models.empty() ? "" : fmt::format("models: [{}]\n", models);
    text += "cameras:\n";
    for (const auto& [id, camera] : cameras) {
      text += fmt::format(
          "  - {{id: {}, source: \"rtsp://10.0.0.1/{}\", model: {}, coordinates: pixels, "
          "priority: {}, tracker: {{track_buffer: {}}}, live: {{stall_after: 1h, frozen_after: 0s, "
          "connect_timeout: 1h}}",
          id, camera.source, camera.model, camera.priority, camera.track_buffer);
      if (!camera.zone.empty()) {
        text += fmt::format(
            ", zones: [{{name: {}, polygon: [[{}, 0], [600, 0], [600, 480], [{}, 480]]}}]",
            camera.zone, camera.zone_left, camera.zone_left);
      }
      text += "}\n";
    }
    return text + fmt::format("outputs: {{jsonl: {{path: {}}}}}\nlimits: {{threads: {}}}\n", lines,
                              threads);
  }
  Config Parsed() const {
    const ParsedConfig parsed = ParseConfig(Text(), "shop.yaml");
    EXPECT_TRUE(parsed.config.has_value()) << parsed.ErrorText();
    return parsed.config.value_or(Config());
  }
};

// An engine that runs on a thread of its own until the test is over.
class RunningEngine {
 public:
  RunningEngine(World& world, const Shop& shop) : RunningEngine(world, shop.Parsed()) {}
  RunningEngine(World& world, const Config& config) {
    auto engine = Engine::Create(config, FactoriesOf(world));
    EXPECT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    thread_ = std::thread([this] { status_ = engine_->Run({}, &summary_); });
    for (const CameraConfig& camera : config.cameras) world.WaitForFrames(camera.id, 1);
  }
  ~RunningEngine() { End().IgnoreError(); }
  Engine* operator->() { return engine_.get(); }
  RunSummary Stop() {
    EXPECT_TRUE(End().ok()) << status_;
    return summary_;
  }
  absl::Status End() {
    engine_->RequestStop();
    if (thread_.joinable()) thread_.join();
    return status_;
  }

 private:
  std::unique_ptr<Engine> engine_;
  std::thread thread_;
  absl::Status status_;
  RunSummary summary_;
};

inline Shop TwoCameras() {
  Shop shop;
  shop.cameras["gate"] = {};
  shop.cameras["yard"] = {};
  return shop;
}

// Every frame from the first to the last, each once.
inline void ExpectNoneMissing(const World::Camera& camera) {
  for (size_t i = 0; i < camera.ordinals.size(); ++i) ASSERT_EQ(camera.ordinals[i], i);
}

}  // namespace sightline::test_world
