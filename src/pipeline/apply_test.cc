// A running engine that goes over to other configurations: what stays loses nothing, what is wrong
// changes nothing. Sources, models and sinks are made up; a camera gives its next frame when its last
// one has reached the sinks, so that nothing is ever late and every missing frame is a fault.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "base/mutex.h"
#include "pipeline/config/parse.h"
#include "pipeline/engine.h"

namespace sightline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class World {
 public:
  struct Camera {
    int connections = 0;
    bool may_go = false;  // its last frame has arrived
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
                  .time = {.pts_us = static_cast<int64_t>(next_) * 40'000, .epoch = 0,
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
      job.result->items.push_back({.box_px = {x, 100, x + 50, 220}, .confidence = 0.9f, .class_id = 0});
    }
  }

 private:
  DetectorInfo info_;
};

class Sink final : public ResultSink {
 public:
  Sink(World& world, std::string path) : world_(world), path_(std::move(path)) { world_.SinkOpened(path_); }
  std::string_view name() const override { return path_; }
  absl::Status Write(const FrameResult& result) override {
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
};

EngineFactories FactoriesOf(World& world) {
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
    return ConnectSource([&world, options, &ledger](const ConnectRequest& request)
                             -> absl::StatusOr<std::unique_ptr<FrameSource>> {
      return std::make_unique<Connection>(world, options, ledger, request.give_up);
    });
  };
  factories.open_detector = [](const ModelConfig& model) -> absl::StatusOr<DetectorFactory> {
    if (model.reference == "faces") return FailedPrecondition("the model does not open");
    return DetectorFactory([]() -> absl::StatusOr<std::unique_ptr<Detector>> {
      return std::make_unique<Walker>();
    });
  };
  factories.plan_sinks = [&world](const Config& config, bool) {
    const std::string path = config.outputs.jsonl.path;
    return std::vector<SinkPlan>{
        {.lane = "rows", .what = path, .make = [&world, path](const SinkContext&) -> absl::StatusOr<std::unique_ptr<ResultSink>> {
           if (path.find("full") != std::string::npos) return ResourceExhausted("no space on {}", path);
           return std::make_unique<Sink>(world, path);
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
  };
  std::map<std::string, Camera> cameras;
  std::string lines = "a.jsonl";
  int threads = 2;

  std::string Text() const {
    std::string text = "cameras:\n";
    for (const auto& [id, camera] : cameras) {
      text += fmt::format(
          "  - {{id: {}, source: \"rtsp://10.0.0.1/{}\", model: {}, coordinates: pixels, "
          "tracker: {{track_buffer: {}}}, live: {{stall_after: 1h, frozen_after: 0s, connect_timeout: 1h}}",
          id, camera.source, camera.model, camera.track_buffer);
      if (!camera.zone.empty()) {
        text += fmt::format(", zones: [{{name: {}, polygon: [[{}, 0], [600, 0], [600, 480], [{}, 480]]}}]",
                            camera.zone, camera.zone_left, camera.zone_left);
      }
      text += "}\n";
    }
    return text + fmt::format("outputs: {{jsonl: {{path: {}}}}}\nlimits: {{threads: {}}}\n", lines, threads);
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
  ~RunningEngine() { Stop(); }
  Engine* operator->() { return engine_.get(); }
  RunSummary Stop() {
    engine_->RequestStop();
    if (thread_.joinable()) thread_.join();
    EXPECT_TRUE(status_.ok()) << status_;
    return summary_;
  }

 private:
  std::unique_ptr<Engine> engine_;
  std::thread thread_;
  absl::Status status_;
  RunSummary summary_;
};

Shop TwoCameras() {
  Shop shop;
  shop.cameras["gate"] = {};
  shop.cameras["yard"] = {};
  return shop;
}

// Every frame from the first to the last, each once.
void ExpectNoneMissing(const World::Camera& camera) {
  for (size_t i = 0; i < camera.ordinals.size(); ++i) ASSERT_EQ(camera.ordinals[i], i);
}

TEST(Apply, TheSameConfigurationChangesNothing) {
  World world;
  RunningEngine engine(world, TwoCameras());
  const auto diff = engine->Apply(TwoCameras().Parsed());
  ASSERT_TRUE(diff.ok()) << diff.status();
  EXPECT_TRUE(diff->empty());
}

TEST(Apply, ACameraComesAndAnotherGoes) {
  World world;
  RunningEngine engine(world, TwoCameras());
  Shop after = TwoCameras();
  after.cameras.erase("yard");
  after.cameras["roof"] = {};
  const auto diff = engine->Apply(after.Parsed());
  ASSERT_TRUE(diff.ok()) << diff.status();
  EXPECT_THAT(diff->added, ElementsAre("roof"));
  EXPECT_THAT(diff->removed, ElementsAre("yard"));
  world.WaitForFrames("roof", 20);
  world.WaitForFrames("gate", 20);
  const World::Camera yard = world.Of("yard");
  EXPECT_EQ(yard.states.back(), "ended");
  EXPECT_EQ(yard.ledger.frames_in, yard.ordinals.size()) << "its ledger was written when it left";
  EXPECT_EQ(world.Of("gate").connections, 1);
  const RunSummary summary = engine.Stop();
  ASSERT_EQ(summary.cameras.size(), 3u) << "who has left is told of as well";
  EXPECT_EQ(summary.cameras.back().id, "yard");
  ExpectNoneMissing(world.Of("gate"));
}

TEST(Apply, NewRulesAreTakenBetweenTwoFrames) {
  World world;
  RunningEngine engine(world, TwoCameras());
  Shop after = TwoCameras();
  after.cameras["gate"].zone = "door";
  ASSERT_TRUE(engine->Apply(after.Parsed()).ok());
  world.WaitForFrames("gate", 120);
  EXPECT_THAT(world.Of("gate").rules, ElementsAre("door"));
  after.cameras["gate"].zone = "entry";
  after.cameras["gate"].track_buffer = 60;
  ASSERT_TRUE(engine->Apply(after.Parsed()).ok());
  world.WaitForFrames("gate", 120);
  EXPECT_THAT(world.Of("gate").rules, ElementsAre("door", "entry"));
  const RunSummary summary = engine.Stop();
  EXPECT_EQ(summary.cameras[0].rule_counts.at(0).first, "zone entry entered");
  EXPECT_EQ(world.Of("gate").connections, 1);
  ExpectNoneMissing(world.Of("gate"));
}

// The frame that a change meets may be one that tracker or rules refuse: what ended ended nevertheless.
TEST(Apply, WhatEndsWithTheOldRulesIsToldOfWhenTheFrameFails) {
  World world;
  Shop shop = TwoCameras();
  shop.cameras["gate"].zone = "door";
  shop.cameras["gate"].zone_left = 0;
  RunningEngine engine(world, shop);
  world.WaitForFrames("gate", 60);
  world.Hold("gate", 20);  // the walker is in the middle of it
  const World::Camera before = world.Of("gate");
  ASSERT_EQ(before.events.back(), "zone_enter door");
  shop.cameras["gate"].zone = "hall";
  shop.cameras["gate"].track_buffer = 60;  // ends the tracks as well
  ASSERT_TRUE(engine->Apply(shop.Parsed()).ok());
  world.LetGo("gate", /*odd=*/true);
  world.WaitForFrames("gate", 1);
  const World::Camera after = world.Of("gate");
  ASSERT_GT(after.events.size(), before.events.size());
  EXPECT_EQ(after.events[before.events.size()], "zone_exit door");
  world.WaitForFrames("gate", 1);  // tracks follow their frame
  EXPECT_GT(world.Of("gate").finished_tracks, before.finished_tracks);
  const RunSummary summary = engine.Stop();
  const FrameCounts& counts = summary.cameras[0].counts;
  EXPECT_EQ(counts.dropped[static_cast<size_t>(DropReason::kPostprocessError)], 1u);
}

TEST(Apply, AnotherSourceGoesOnWithLedgerAndEpochs) {
  World world;
  RunningEngine engine(world, TwoCameras());
  world.WaitForFrames("gate", 10);
  Shop after = TwoCameras();
  after.cameras["gate"].source = "b";
  ASSERT_TRUE(engine->Apply(after.Parsed()).ok());
  world.WaitForFrames("gate", 10);
  const RunSummary summary = engine.Stop();
  const World::Camera gate = world.Of("gate");
  EXPECT_EQ(gate.connections, 2);
  EXPECT_EQ(gate.epochs.front(), 0u);
  EXPECT_EQ(gate.epochs.back(), 1u);
  EXPECT_TRUE(std::is_sorted(gate.ordinals.begin(), gate.ordinals.end()));
  EXPECT_EQ(std::set<uint64_t>(gate.ordinals.begin(), gate.ordinals.end()).size(), gate.ordinals.size());
  ASSERT_EQ(summary.cameras.size(), 2u);
  EXPECT_EQ(summary.cameras[1].id, "gate") << "begun anew, it stands behind the one that went on";
  EXPECT_EQ(summary.cameras[1].counts.frames_in, gate.ledger.frames_in);
  EXPECT_GE(gate.ledger.frames_in, 20u);
  ExpectNoneMissing(world.Of("yard"));
}

TEST(Apply, AnotherFileOfLinesTakesOverBetweenTwoFrames) {
  World world;
  RunningEngine engine(world, TwoCameras());
  Shop after = TwoCameras();
  for (const char* path : {"b.jsonl", "c.jsonl", "a.jsonl"}) {
    after.lines = path;
    ASSERT_TRUE(engine->Apply(after.Parsed()).ok());
    world.WaitForFrames("gate", 20);
    EXPECT_THAT(world.OpenSinks(), ElementsAre(path));
  }
  engine.Stop();
  ExpectNoneMissing(world.Of("gate"));
  ExpectNoneMissing(world.Of("yard"));
}

// Two changes before the next frame: the second must not undo what the first has said of the tracker.
TEST(Apply, AChangeThatIsOvertakenIsNotLost) {
  World world;
  RunningEngine engine(world, TwoCameras());
  world.WaitForFrames("gate", 60);
  Shop after = TwoCameras();
  for (int n = 0; n < 40; ++n) {
    after.cameras["gate"].track_buffer = 31 + n;
    ASSERT_TRUE(engine->Apply(after.Parsed()).ok());
    after.cameras["gate"].zone = n % 2 == 0 ? "door" : "entry";
    ASSERT_TRUE(engine->Apply(after.Parsed()).ok());
    world.WaitForFrames("gate", 3);
  }
  const RunSummary summary = engine.Stop();
  // Each tracker has ended its tracks and begun new ones.
  EXPECT_GE(summary.cameras[0].tracks, 40u);
  ExpectNoneMissing(world.Of("gate"));
}

TEST(Apply, ACameraThatIsBackIsToldOfInOne) {
  World world;
  RunningEngine engine(world, TwoCameras());
  world.WaitForFrames("yard", 30);
  Shop without = TwoCameras();
  without.cameras.erase("yard");
  ASSERT_TRUE(engine->Apply(without.Parsed()).ok());
  world.WaitForFrames("gate", 5);  // behind the ledger in the lane
  const uint64_t before = world.Of("yard").ledger.frames_in;
  ASSERT_TRUE(engine->Apply(TwoCameras().Parsed()).ok());
  world.WaitForFrames("yard", 30);
  const RunSummary summary = engine.Stop();
  ASSERT_EQ(summary.cameras.size(), 2u);
  EXPECT_EQ(summary.cameras[1].id, "yard");
  EXPECT_GE(summary.cameras[1].counts.frames_in, before + 30);
  const FrameCounts ledger = world.Of("yard").ledger;
  EXPECT_EQ(ledger.frames_in, summary.cameras[1].counts.frames_in)
      << "the ledger has all of the run";
  EXPECT_EQ(ledger.processed, summary.cameras[1].counts.processed);
  EXPECT_EQ(ledger.processed, world.Of("yard").ordinals.size());
  EXPECT_EQ(summary.cameras[1].counts.in_flight(), 0);
}

// The same recording again replaces what it gave before; another one adds to it.
TEST(Apply, ARecordingThatIsReadAgainIsToldByItsLastReading) {
  World world;
  Shop shop = TwoCameras();
  shop.cameras["gate"].source = "tape";
  RunningEngine engine(world, shop);
  const auto change = [&](auto make) {
    world.WaitForFrames("gate", 20);
    make(shop.cameras["gate"]);
    const auto diff = engine->Apply(shop.Parsed());
    ASSERT_TRUE(diff.ok()) << diff.status();
    world.WaitForFrames("gate", 10);
  };
  change([](Shop::Camera& gate) { gate.model = "motion"; });
  change([](Shop::Camera& gate) { gate.source = "tape2"; });
  change([](Shop::Camera& gate) { gate.model = "people"; });
  const RunSummary summary = engine.Stop();
  const World::Camera gate = world.Of("gate");
  using Life = std::pair<uint32_t, uint32_t>;
  EXPECT_THAT(gate.lives, ElementsAre(Life(0, 0), Life(1, 0), Life(2, 2), Life(3, 2)));
  // How long each reading was: their frames begin at 0.
  std::vector<uint64_t> readings;
  for (const uint64_t ordinal : gate.ordinals) {
    if (ordinal == 0) readings.push_back(0);
    ++readings.back();
  }
  ASSERT_EQ(readings.size(), 4u);
  EXPECT_EQ(gate.ledger.processed, readings[1] + readings[3]);
  EXPECT_EQ(gate.ledger.in_flight(), 0);
  ASSERT_EQ(summary.cameras[1].id, "gate");
  EXPECT_EQ(summary.cameras[1].counts.processed, gate.ledger.processed);
  ExpectNoneMissing(world.Of("yard"));
}

TEST(Apply, AModelThatWasReplacedUnderItsNameIsOpenedAnew) {
  World world;
  Shop shop = TwoCameras();
  shop.cameras["yard"].model = "motion";
  Config before = shop.Parsed();
  for (ModelConfig& model : before.models) model.content = "a";
  RunningEngine engine(world, before);
  Config after = before;
  after.models[after.cameras[0].model_index].content = "b";
  const auto diff = engine->Apply(after);
  ASSERT_TRUE(diff.ok()) << diff.status();
  ASSERT_EQ(diff->changes.size(), 1u);
  world.WaitForFrames("gate", 5);
  EXPECT_EQ(world.Of("gate").connections, 2);
  EXPECT_EQ(world.Of("yard").connections, 1);
  const auto again = engine->Apply(after);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->empty());
}

struct Mistake {
  const char* what;
  std::function<void(Shop&)> make;
  const char* says;
};

TEST(Apply, WhatIsWrongChangesNothing) {
  World world;
  RunningEngine engine(world, TwoCameras());
  const std::vector<Mistake> mistakes = {
      {"address", [](Shop& shop) { shop.cameras["gate"].source = "nowhere"; }, "no such address"},
      {"model", [](Shop& shop) { shop.cameras["gate"].model = "faces"; }, "does not open"},
      {"zone", [](Shop& shop) {
         shop.cameras["gate"].zone = "far";
         shop.cameras["gate"].zone_left = 599;
         shop.cameras["yard"].zone = "flat";
         shop.cameras["yard"].zone_left = 600;
       }, "zone"},
      {"sink", [](Shop& shop) { shop.lines = "full.jsonl"; }, "no space"},
      {"limits", [](Shop& shop) { shop.threads = 3; }, "limits.threads cannot change"},
  };
  for (const Mistake& mistake : mistakes) {
    SCOPED_TRACE(mistake.what);
    Shop wrong = TwoCameras();
    wrong.cameras["roof"] = {};  // which is right by itself
    mistake.make(wrong);
    const ParsedConfig parsed = ParseConfig(wrong.Text(), "shop.yaml");
    if (!parsed.config) continue;  // found before it comes here
    const auto before = engine->config();
    const auto diff = engine->Apply(*parsed.config);
    ASSERT_FALSE(diff.ok());
    EXPECT_THAT(std::string(diff.status().message()), HasSubstr(mistake.says));
    EXPECT_EQ(engine->config(), before);
    world.WaitForFrames("gate", 5);
    world.WaitForFrames("yard", 5);
  }
  EXPECT_EQ(world.Of("roof").connections, 0);
  engine.Stop();
  for (const char* id : {"gate", "yard"}) {
    EXPECT_EQ(world.Of(id).connections, 1);
    ExpectNoneMissing(world.Of(id));
  }
}

TEST(Apply, NothingCanBeAppliedWhenNothingRuns) {
  World world;
  auto engine = Engine::Create(TwoCameras().Parsed(), FactoriesOf(world));
  ASSERT_TRUE(engine.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition((*engine)->Apply(TwoCameras().Parsed()).status()));
}

// Under a sanitizer each costs thirty times as much.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kChanges = 60;
#else
constexpr int kChanges = 1000;
#endif

// 20 cameras, 10 of which nobody touches; 1,000 changes of the others, every third of them wrong.
TEST(Apply, AThousandChangesCostTheOthersNothing) {
  World world;
  std::mt19937 random(7);
  const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  Shop shop;
  for (int i = 0; i < 20; ++i) shop.cameras[fmt::format("cam{:02}", i)] = {};
  RunningEngine engine(world, shop);
  int wrong = 0;
  for (int n = 0; n < kChanges; ++n) {
    Shop next = shop;
    for (int changes = 1 + pick(3); changes > 0; --changes) {
      const std::string id = fmt::format("cam{:02}", 10 + pick(10));
      switch (pick(6)) {
        case 0: next.cameras.contains(id) ? (void)next.cameras.erase(id) : (void)next.cameras[id]; break;
        case 1: next.cameras[id].source = std::string(1, static_cast<char>('a' + pick(3))); break;
        case 2: next.cameras[id].zone = pick(3) == 0 ? "" : fmt::format("z{}", pick(4)); break;
        case 3: next.cameras[id].track_buffer = 20 + pick(3); break;
        case 4: next.cameras[id].model = pick(2) == 0 ? "people" : "motion"; break;
        default: next.lines = std::string(1, static_cast<char>('a' + pick(3))) + ".jsonl";
      }
    }
    const bool is_wrong = pick(3) == 0;
    if (is_wrong) {
      switch (pick(4)) {
        case 0: next.cameras[fmt::format("cam{:02}", 10 + pick(10))].source = "nowhere"; break;
        case 1: next.cameras[fmt::format("cam{:02}", 10 + pick(10))].model = "faces"; break;
        case 2: next.lines = "full.jsonl"; break;
        default: next.threads = 3;
      }
    }
    const auto before = engine->config();
    const auto diff = engine->Apply(next.Parsed());
    ASSERT_EQ(diff.ok(), !is_wrong) << diff.status();
    if (is_wrong) {
      ++wrong;
      ASSERT_EQ(engine->config(), before);
    } else {
      shop = next;
      ASSERT_THAT(world.OpenSinks(), testing::SizeIs(1));
    }
  }
  EXPECT_GT(wrong, kChanges / 5);
  // Whoever is there works, and with the rules that the last change gave it.
  for (const auto& [id, camera] : shop.cameras) world.WaitForFrames(id, 3);
  const RunSummary summary = engine.Stop();
  for (int i = 0; i < 10; ++i) {
    const World::Camera camera = world.Of(fmt::format("cam{:02}", i));
    EXPECT_EQ(camera.connections, 1);
    EXPECT_EQ(camera.ledger.total_dropped(), camera.ledger.frames_in - camera.ordinals.size());
    EXPECT_LE(camera.ledger.total_dropped(), 1u) << "at most the frame that the end met on its way";
    ExpectNoneMissing(camera);
  }
  for (const CameraSummary& camera : summary.cameras) EXPECT_EQ(camera.counts.in_flight(), 0) << camera.id;
}

}  // namespace
}  // namespace sightline
