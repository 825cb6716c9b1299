// Live cameras in a whole engine, with made-up connections: a sick one disturbs nobody, nothing is
// lost silently, rules wait for the first frame, states reach the sinks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <semaphore>
#include <thread>

#include "pipeline/config/parse.h"
#include "pipeline/engine.h"

namespace sightline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct World {
  // What a camera does; frames come as fast as they are read, the connection breaks after so many.
  struct Script {
    int frames_per_connection = 50;
    int connections = 4;  // then it is silent until it is given up
    absl::Status refuses = {};
    int width = 640;
    int height = 480;
  };
  std::map<std::string, Script> cameras;
  std::counting_semaphore<1 << 20> model_may_run{0};
  bool model_waits = false;

  std::mutex mutex;
  std::map<std::string, int> connected;
  std::map<std::string, std::vector<uint64_t>> delivered;  // camera -> ordinals
  std::map<std::string, std::vector<uint32_t>> epochs;
  std::map<std::string, std::vector<std::string>> states;
  std::map<std::string, int> events;
  std::map<std::string, FrameCounts> ledgers;
  std::atomic<int> idle{0};  // cameras that have nothing more to say
};

class FakeConnection final : public FrameSource {
 public:
  FakeConnection(World& world, const SourceOptions& options, FrameLedger& ledger, bool last,
                 std::function<bool()> give_up)
      : world_(world),
        script_(world.cameras.at(options.camera->id)),
        options_(options),
        ledger_(ledger),
        last_(last),
        give_up_(std::move(give_up)) {
    info_.live = true;
  }
  ~FakeConnection() override {
    if (last_) BeIdle();
  }
  const SourceInfo& info() const override { return info_; }
  void Cancel() override {}
  absl::StatusOr<std::optional<Frame>> Next() override {
    if (next_ == script_.frames_per_connection) {
      if (!last_) return Unavailable("connection reset by peer");
      BeIdle();
      while (!give_up_()) std::this_thread::yield();
      return Cancelled("given up");
    }
    ledger_.CountIn();
    Frame frame;
    frame.meta = {.camera = options_.camera,
                  .ordinal = static_cast<uint64_t>(next_),
                  .time = {.pts_us = next_ * 40'000, .epoch = 0, .capture_utc_us = next_ * 40'000},
                  .width = script_.width,
                  .height = script_.height};
    ++next_;
    return frame;
  }

 private:
  void BeIdle() {
    if (std::exchange(idle_, true)) return;
    ++world_.idle;
    world_.idle.notify_all();
  }

  World& world_;
  const World::Script script_;
  const SourceOptions options_;
  FrameLedger& ledger_;
  const bool last_;
  const std::function<bool()> give_up_;
  SourceInfo info_;
  int next_ = 0;
  bool idle_ = false;
};

// One object that walks to the right.
class FakeDetector final : public Detector {
 public:
  explicit FakeDetector(World& world) : world_(world) {
    info_.name = info_.describe = "fake";
    info_.labels = std::make_shared<const LabelSet>(LabelSet{{"walker"}});
  }
  const DetectorInfo& info() const override { return info_; }
  void Detect(std::span<DetectJob> jobs) override {
    if (world_.model_waits) world_.model_may_run.acquire();
    for (DetectJob& job : jobs) {
      const float x = static_cast<float>(job.frame->meta.ordinal % 50) * 12;
      job.result->items.push_back(
          {.box_px = {x, 100, x + 50, 220}, .confidence = 0.9f, .class_id = 0});
    }
  }

 private:
  World& world_;
  DetectorInfo info_;
};

class FakeSink final : public ResultSink {
 public:
  explicit FakeSink(World& world) : world_(world) {}
  std::string_view name() const override { return "fake"; }
  absl::Status Write(const FrameResult& result) override {
    const std::lock_guard lock(world_.mutex);
    const FrameMeta& frame = result.frame.meta;
    world_.events[frame.camera->id] += static_cast<int>(result.events.size());
    if (result.end_of_stream) return absl::OkStatus();
    world_.delivered[frame.camera->id].push_back(frame.ordinal);
    world_.epochs[frame.camera->id].push_back(frame.time.epoch);
    return absl::OkStatus();
  }
  absl::Status WriteCameraState(const CameraStateChange& change) override {
    const std::lock_guard lock(world_.mutex);
    world_.states[change.camera->id].emplace_back(ToString(change.to));
    return absl::OkStatus();
  }
  absl::Status WriteLedger(const CameraInfo& camera, const FrameCounts& counts) override {
    world_.ledgers[camera.id] = counts;
    return absl::OkStatus();
  }
  absl::Status Close() override { return absl::OkStatus(); }

 private:
  World& world_;
};

EngineFactories FactoriesOf(World& world) {
  EngineFactories factories;
  factories.open_source = [](const SourceOptions&, const LiveConfig&,
                             FrameLedger&) -> absl::StatusOr<std::unique_ptr<FrameSource>> {
    return Internal("no recording here");
  };
  factories.open_live = [&world](const SourceOptions& options, const LiveConfig&,
                                 FrameLedger& ledger) -> absl::StatusOr<ConnectSource> {
    return ConnectSource(
        [&world, options,
         &ledger](const ConnectRequest& request) -> absl::StatusOr<std::unique_ptr<FrameSource>> {
          const World::Script& script = world.cameras.at(options.camera->id);
          const std::lock_guard lock(world.mutex);
          const int number = ++world.connected[options.camera->id];
          SL_RETURN_IF_ERROR(script.refuses);
          return std::make_unique<FakeConnection>(world, options, ledger,
                                                  number >= script.connections, request.give_up);
        });
  };
  factories.open_detector = [&world](const ModelConfig&) -> absl::StatusOr<DetectorFactory> {
    return DetectorFactory([&world]() -> absl::StatusOr<std::unique_ptr<Detector>> {
      return std::make_unique<FakeDetector>(world);
    });
  };
  factories.plan_sinks = [&world](const Config&, bool) {
    return std::vector<SinkPlan>{
        {.lane = "rows", .what = "fake", .make = [&world](const SinkContext&) {
           return absl::StatusOr<std::unique_ptr<ResultSink>>(std::make_unique<FakeSink>(world));
         }}};
  };
  return factories;
}

// Runs until every camera but those that never connect has nothing more to say.
RunSummary RunWorld(World& world, const std::string& more_of_camera = "",
                    absl::Status* status = nullptr) {
  std::string text = "cameras:\n";
  int talking = 0;
  for (const auto& [id, script] : world.cameras) {
    text += "  - {id: " + id + ", source: \"rtsp://10.0.0.1/" + id +
            "\", model: people, live: {stall_after: 1h, frozen_after: 0s}" + more_of_camera + "}\n";
    if (script.refuses.ok()) ++talking;
  }
  text += "limits: {threads: 2}\n";
  const ParsedConfig parsed = ParseConfig(text, "test.yaml");
  EXPECT_TRUE(parsed.config.has_value()) << parsed.ErrorText();
  auto engine = Engine::Create(*parsed.config, FactoriesOf(world));
  EXPECT_TRUE(engine.ok()) << engine.status();
  std::thread stop([&] {
    for (int idle = world.idle; idle < talking; idle = world.idle) world.idle.wait(idle);
    world.model_may_run.release(1000);
    (*engine)->RequestStop();
  });
  RunSummary summary;
  const absl::Status result = (*engine)->Run({}, &summary);
  world.idle += talking;  // a run that ended by itself
  world.idle.notify_all();
  stop.join();
  if (status != nullptr) {
    *status = result;
  } else {
    EXPECT_TRUE(result.ok()) << result;
  }
  for (const CameraSummary& camera : summary.cameras) EXPECT_EQ(camera.counts.in_flight(), 0);
  return summary;
}

TEST(LiveEngine, ACameraThatFallsComesBackInANewEpoch) {
  World world;
  world.cameras["gate"] = {};
  const RunSummary summary = RunWorld(world);
  const FrameCounts& counts = summary.cameras[0].counts;
  EXPECT_EQ(counts.frames_in, 200u);
  EXPECT_EQ(counts.processed + counts.total_dropped(), 200u);
  EXPECT_EQ(counts.processed, world.delivered["gate"].size());
  EXPECT_TRUE(std::is_sorted(world.delivered["gate"].begin(), world.delivered["gate"].end()));
  EXPECT_TRUE(std::is_sorted(world.epochs["gate"].begin(), world.epochs["gate"].end()));
  EXPECT_EQ(world.epochs["gate"].back(), 3u);
  EXPECT_EQ(world.connected["gate"], 4);
  EXPECT_THAT(world.states["gate"], ElementsAre("connecting", "live", "backing_off", "live",
                                                "backing_off", "live", "backing_off", "live"));
}

// The model stands still: the camera is read on, and what is left out is counted as late.
TEST(LiveEngine, OverloadDropsTheOldestAndSaysSo) {
  World world;
  world.cameras["gate"] = {.frames_per_connection = 500, .connections = 1};
  world.model_waits = true;
  const RunSummary summary = RunWorld(world);
  const FrameCounts& counts = summary.cameras[0].counts;
  EXPECT_EQ(counts.frames_in, 500u);
  EXPECT_GT(counts.dropped[static_cast<size_t>(DropReason::kLate)], 400u);
  EXPECT_EQ(counts.processed + counts.dropped[static_cast<size_t>(DropReason::kLate)] +
                counts.dropped[static_cast<size_t>(DropReason::kShutdown)],
            500u);
}

TEST(LiveEngine, ACameraThatRefusesDisturbsNobody) {
  World world;
  world.cameras["gate"] = {.connections = 1};
  world.cameras["locked"] = {.refuses = Unauthenticated("wrong password")};
  world.cameras["yard"] = {.connections = 2};
  const RunSummary summary = RunWorld(world);
  EXPECT_EQ(summary.cameras[0].counts.frames_in, 50u);
  EXPECT_EQ(summary.cameras[1].counts.frames_in, 0u);
  EXPECT_EQ(summary.cameras[2].counts.frames_in, 100u);
  EXPECT_THAT(world.states["locked"], ElementsAre("connecting", "backing_off"));
  EXPECT_EQ(world.connected["locked"], 1);
}

TEST(LiveEngine, WhatCannotBeMendedEndsItsCameraAlone) {
  World world;
  world.cameras["gate"] = {.connections = 1};
  world.cameras["odd"] = {.refuses = Unimplemented("no decoder for codec xyz")};
  absl::Status status;
  const RunSummary summary = RunWorld(world, "", &status);
  EXPECT_THAT(std::string(status.message()), HasSubstr("camera odd: no decoder for codec xyz"));
  EXPECT_EQ(summary.cameras[0].counts.frames_in, 50u);
  EXPECT_THAT(world.states["odd"], ElementsAre("connecting", "failed"));
}

// Fractions mean what the first frame's size says.
TEST(LiveEngine, RulesWaitForTheFirstFrame) {
  World world;
  world.cameras["gate"] = {.connections = 1};
  const RunSummary summary = RunWorld(
      world, ", coordinates: fraction, lines: [{name: mid, from: [0.5, 1], to: [0.5, 0]}]");
  ASSERT_EQ(summary.cameras[0].rule_counts.size(), 2u);
  EXPECT_EQ(summary.cameras[0].rule_counts[0].first, "line mid in");
}

TEST(LiveEngine, RulesOutsideThePictureEndTheCamera) {
  World world;
  world.cameras["gate"] = {.connections = 1, .width = 320, .height = 240};
  absl::Status status;
  RunWorld(world, ", coordinates: pixels, lines: [{name: far, from: [600, 100], to: [600, 10]}]",
           &status);
  EXPECT_THAT(std::string(status.message()), HasSubstr("lies outside the picture"));
  EXPECT_THAT(world.delivered["gate"], IsEmpty());
}

}  // namespace
}  // namespace sightline
