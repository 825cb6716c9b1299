// The stages' contract with made-up parts: order, tombstones, the ledger, stopping, sinks that fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <numeric>
#include <thread>

#include "base/bounded_queue.h"
#include "base/log.h"
#include "pipeline/config/parse.h"
#include "pipeline/engine.h"

namespace sightline {
namespace {

struct World {
  int frames = 200;
  int fail_every = 0;  // the model fails on every n-th frame
  DropReason fail_as = DropReason::kInferenceError;
  int source_fails_at = -1;  // the source ends with an error there
  int sink_fails_at = -1;    // the sink refuses its n-th result
  std::function<void(uint64_t ordinal)> on_detect = [](uint64_t) {};

  std::mutex mutex;
  std::map<std::string, std::vector<uint64_t>> delivered;  // camera -> ordinals
  std::map<std::string, FrameCounts> ledgers;
  std::vector<Uuid> ids;
  int ends = 0;
  int closed = 0;
  std::atomic<int> detecting{0};
  std::atomic<int> most_detecting{0};
};

class FakeSource final : public FrameSource {
 public:
  FakeSource(World& world, const SourceOptions& options, FrameLedger& ledger)
      : world_(world), options_(options), ledger_(ledger) {
    info_ = {.container = "fake",
             .codec = "none",
             .width = 640,
             .height = 480,
             .fps = 25,
             .duration_us = 0,
             .frames_estimate = world.frames};
    info_.fingerprint = HashString(options.url);
  }
  const SourceInfo& info() const override { return info_; }
  absl::StatusOr<std::optional<Frame>> Next() override {
    if (cancelled_) return Cancelled("stopped");
    if (next_ == world_.source_fails_at)
      return DataLoss("{}: damaged at frame {}", options_.url, next_);
    if (next_ >= world_.frames) return std::optional<Frame>();
    ledger_.CountIn();
    Frame frame;
    frame.meta = {.camera = options_.camera,
                  .ordinal = static_cast<uint64_t>(next_),
                  .time = {.pts_us = next_ * 40'000, .epoch = 0, .capture_utc_us = next_ * 40'000},
                  .width = 640,
                  .height = 480};
    ++next_;
    return std::optional<Frame>(std::move(frame));
  }
  void Cancel() override { cancelled_ = true; }

 private:
  World& world_;
  const SourceOptions options_;
  FrameLedger& ledger_;
  SourceInfo info_;
  int next_ = 0;
  std::atomic<bool> cancelled_{false};
};

// One object that walks to the right.
class FakeDetector final : public Detector {
 public:
  explicit FakeDetector(World& world) : world_(world) {
    info_.name = info_.describe = "fake";
    info_.labels = std::make_shared<const LabelSet>(LabelSet{{"walker"}});
    info_.max_batch = 4;
  }
  const DetectorInfo& info() const override { return info_; }
  void Detect(std::span<DetectJob> jobs) override {
    const int now = ++world_.detecting;
    int most = world_.most_detecting;
    while (now > most && !world_.most_detecting.compare_exchange_weak(most, now)) {
    }
    for (DetectJob& job : jobs) {
      const uint64_t n = job.frame->meta.ordinal;
      world_.on_detect(n);
      if (world_.fail_every > 0 && n % world_.fail_every == 0) {
        job.status = Internal("the model failed");
        job.failure = world_.fail_as;
        continue;
      }
      const float x = static_cast<float>(n % 500);
      job.result->items.push_back(
          {.box_px = {x, 100, x + 50, 220}, .confidence = 0.9f, .class_id = 0});
    }
    --world_.detecting;
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
    if (result.end_of_stream) {
      ++world_.ends;
      return absl::OkStatus();
    }
    if (written_++ == world_.sink_fails_at) return ResourceExhausted("the disk is full");
    world_.delivered[result.frame.meta.camera->id].push_back(result.frame.meta.ordinal);
    world_.ids.insert(world_.ids.end(), result.detection_ids.begin(), result.detection_ids.end());
    return absl::OkStatus();
  }
  absl::Status WriteLedger(const CameraInfo& camera, const FrameCounts& counts) override {
    world_.ledgers[camera.id] = counts;
    return absl::OkStatus();
  }
  absl::Status Close() override {
    ++world_.closed;
    return absl::OkStatus();
  }

 private:
  World& world_;
  int written_ = 0;
};

EngineFactories FactoriesOf(World& world) {
  return {
      .open_source = [&world](const SourceOptions& options, const LiveConfig&,
                              FrameLedger& ledger) -> absl::StatusOr<std::unique_ptr<FrameSource>> {
        return std::make_unique<FakeSource>(world, options, ledger);
      },
      .open_detector = [&world](const ModelConfig&) -> absl::StatusOr<DetectorFactory> {
        return DetectorFactory([&world]() -> absl::StatusOr<std::unique_ptr<Detector>> {
          return std::make_unique<FakeDetector>(world);
        });
      },
      .plan_sinks =
          [&world](const Config&, bool) {
            return std::vector<SinkPlan>{
                {.lane = "rows", .what = "fake", .make = [&world](const SinkContext&) {
                   return absl::StatusOr<std::unique_ptr<ResultSink>>(
                       std::make_unique<FakeSink>(world));
                 }}};
          },
  };
}

Config ConfigOfCameras(int cameras, int threads) {
  std::string text = "cameras:\n";
  for (int i = 0; i < cameras; ++i) {
    text += "  - {id: cam" + std::to_string(i) + ", source: clip" + std::to_string(i) +
            ".mp4, model: people}\n";
  }
  text += "limits: {threads: " + std::to_string(threads) + "}\n";
  const ParsedConfig parsed = ParseConfig(text, "test.yaml");
  EXPECT_TRUE(parsed.config.has_value()) << parsed.ErrorText();
  return *parsed.config;
}

RunSummary RunWorld(World& world, int cameras, int threads, absl::Status* status = nullptr) {
  auto engine = Engine::Create(ConfigOfCameras(cameras, threads), FactoriesOf(world));
  EXPECT_TRUE(engine.ok()) << engine.status();
  RunSummary summary;
  const absl::Status result = (*engine)->Run({}, &summary);
  if (status != nullptr) {
    *status = result;
  } else {
    EXPECT_TRUE(result.ok()) << result;
  }
  for (const CameraSummary& camera : summary.cameras) EXPECT_EQ(camera.counts.in_flight(), 0);
  EXPECT_EQ(world.closed, 1);
  return summary;
}

TEST(Engine, EveryFrameOnceAndInOrderWhateverTheModelThreadsDo) {
  World world;
  // Frames finish out of order: each model thread lingers differently.
  world.on_detect = [](uint64_t n) {
    std::this_thread::sleep_for(std::chrono::microseconds((n * 7919) % 700));
  };
  const RunSummary summary = RunWorld(world, 3, 4);
  std::vector<uint64_t> all(world.frames);
  std::iota(all.begin(), all.end(), 0);
  for (const CameraSummary& camera : summary.cameras) {
    EXPECT_EQ(camera.counts.processed, all.size());
    EXPECT_EQ(world.delivered[camera.id], all);
    EXPECT_EQ(world.ledgers[camera.id].processed, all.size());
    EXPECT_EQ(camera.tracks, 1u);
    EXPECT_EQ(camera.counts_by_class.at("walker"), 1u);
  }
  EXPECT_EQ(world.ends, 3);
  EXPECT_LE(world.most_detecting, 4);
}

TEST(Engine, AFailedFrameIsATombstoneNotAHole) {
  SetUpLog("off");
  World world;
  world.fail_every = 10;
  const RunSummary summary = RunWorld(world, 2, 2);
  for (const CameraSummary& camera : summary.cameras) {
    EXPECT_EQ(camera.counts.frames_in, 200u);
    EXPECT_EQ(camera.counts.processed, 180u);
    EXPECT_EQ(camera.counts.dropped[static_cast<size_t>(DropReason::kInferenceError)], 20u);
    EXPECT_TRUE(
        std::is_sorted(world.delivered[camera.id].begin(), world.delivered[camera.id].end()));
    EXPECT_EQ(camera.tracks, 1u) << "one missing frame in ten does not split the track";
  }
}

TEST(Engine, AFailedFrameCountsAsTheStepThatFailed) {
  SetUpLog("off");
  for (const DropReason reason :
       {DropReason::kPreprocessError, DropReason::kInferenceError, DropReason::kPostprocessError}) {
    World world;
    world.fail_every = 10;
    world.fail_as = reason;
    const FrameCounts counts = RunWorld(world, 1, 2).cameras[0].counts;
    EXPECT_EQ(counts.dropped[static_cast<size_t>(reason)], 20u);
    EXPECT_EQ(counts.total_dropped(), 20u);
  }
}

TEST(Engine, IdsAreTheSameOnEveryRunAndThreadCountAndNeverTwice) {
  World one, many;
  RunWorld(one, 2, 1);
  RunWorld(many, 2, 4);
  std::sort(one.ids.begin(), one.ids.end());
  std::sort(many.ids.begin(), many.ids.end());
  EXPECT_EQ(one.ids, many.ids);
  EXPECT_EQ(std::adjacent_find(one.ids.begin(), one.ids.end()), one.ids.end());
  EXPECT_EQ(one.ids.size(), 400u);
}

TEST(Engine, WithoutATrackerThereAreDetectionsAndNoTracks) {
  World world;
  Config config = ConfigOfCameras(1, 2);
  config.cameras[0].tracker.kind = TrackerType::kNone;
  auto engine = Engine::Create(config, FactoriesOf(world));
  ASSERT_TRUE(engine.ok()) << engine.status();
  RunSummary summary;
  ASSERT_TRUE((*engine)->Run({}, &summary).ok());
  EXPECT_EQ(summary.cameras[0].counts.processed, 200u);
  EXPECT_EQ(summary.cameras[0].tracks, 0u);
  EXPECT_EQ(world.ids.size(), 200u) << "one detection a frame";
}

TEST(Engine, AnErrorOfTheSourceEndsItsCameraAndIsReported) {
  World world;
  world.source_fails_at = 50;
  absl::Status status;
  const RunSummary summary = RunWorld(world, 1, 2, &status);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(MessageOf(status)), testing::HasSubstr("camera cam0: "));
  EXPECT_EQ(summary.cameras[0].counts.processed, 50u);
}

TEST(Engine, AFailingSinkEndsTheRunWithItsErrorAndTheLedgerHolds) {
  SetUpLog("off");
  World world;
  world.frames = 100'000;
  world.sink_fails_at = 20;
  absl::Status status;
  const RunSummary summary = RunWorld(world, 1, 2, &status);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(summary.stopped);
  EXPECT_LT(summary.cameras[0].counts.frames_in, 100'000u);
}

TEST(Engine, StoppingFinishesWhatWasRead) {
  World world;
  world.frames = 1'000'000;
  auto engine = Engine::Create(ConfigOfCameras(2, 2), FactoriesOf(world));
  ASSERT_TRUE(engine.ok());
  // From within the work, so that frames are in flight for sure.
  world.on_detect = [&](uint64_t n) {
    if (n == 500) (*engine)->RequestStop();
  };
  RunSummary summary;
  EXPECT_TRUE((*engine)->Run({}, &summary).ok());
  EXPECT_TRUE(summary.stopped);
  for (const CameraSummary& camera : summary.cameras) {
    EXPECT_EQ(camera.counts.in_flight(), 0);
    EXPECT_EQ(camera.counts.frames_in, camera.counts.processed);
    EXPECT_EQ(world.delivered[camera.id].size(), camera.counts.processed);
  }
}

// A run that is asked to stop tells models that wait for others, once; one whose time is up does not.
TEST(Engine, WhoWaitsElsewhereIsToldToStop) {
  for (const bool asked : {true, false}) {
    World world;
    world.frames = asked ? 1'000'000 : 300;
    EngineFactories factories = FactoriesOf(world);
    int told = 0;
    factories.stop_asked = [&] { ++told; };
    auto engine = Engine::Create(ConfigOfCameras(1, 2), factories);
    ASSERT_TRUE(engine.ok());
    world.on_detect = [&](uint64_t n) {
      if (asked && n == 100) (*engine)->RequestStop();
    };
    RunSummary summary;
    EXPECT_TRUE((*engine)->Run({}, &summary).ok());
    EXPECT_EQ(told, asked ? 1 : 0);
  }
}

TEST(ReorderWindow, HandsOutInOrderOfReservation) {
  ReorderWindow window(4);
  FrameSlot* a = window.Reserve();
  FrameSlot* b = window.Reserve();
  b->Done(absl::OkStatus());
  std::thread later([&] { a->Done(Internal("late")); });
  EXPECT_EQ(window.NextInOrder(), a);
  later.join();
  EXPECT_FALSE(a->status.ok());
  window.Release(a);
  EXPECT_EQ(window.NextInOrder(), b);
  window.Release(b);
  window.Close();
  EXPECT_EQ(window.NextInOrder(), nullptr);
  EXPECT_EQ(window.Reserve(), nullptr);
}

TEST(ReorderWindow, InBurstsHandsOnWhatIsFinishedWithoutTheRest) {
  ReorderWindow window(6, ReorderWindow::Pace::kBursts);
  std::vector<FrameSlot*> slots;
  for (int i = 0; i < 6; ++i) slots.push_back(window.Reserve());
  slots[0]->Done(absl::OkStatus());  // less than a burst, and nothing else is finished meanwhile
  EXPECT_EQ(window.NextInOrder(), slots[0]);
  window.Release(slots[0]);
  for (int i = 1; i < 6; ++i) slots[i]->Done(absl::OkStatus());
  for (int i = 1; i < 6; ++i) {
    EXPECT_EQ(window.NextInOrder(), slots[i]);
    window.Release(slots[i]);
  }
  window.Close();
  EXPECT_EQ(window.NextInOrder(), nullptr);
}

TEST(ReorderWindow, KeepsTheOrderAndLosesNothingAtAnyPace) {
  for (const ReorderWindow::Pace pace :
       {ReorderWindow::Pace::kAtOnce, ReorderWindow::Pace::kBursts}) {
    for (const size_t capacity : {1, 2, 3, 10}) {
      ReorderWindow window(capacity, pace);
      BoundedQueue<FrameSlot*> waiting(capacity, QueuePolicy::kBlock);
      constexpr int64_t kFrames = 3000;
      std::thread reader([&] {
        for (int64_t i = 0; i < kFrames; ++i) {
          FrameSlot* slot = window.Reserve();
          slot->read_us = i;
          waiting.Push(std::move(slot));
        }
        waiting.Close();
        window.Close();
      });
      std::vector<std::thread> models;
      for (int m = 0; m < 2; ++m) {
        models.emplace_back([&] {
          while (auto slot = waiting.Pop()) (*slot)->Done(absl::OkStatus());
        });
      }
      int64_t next = 0;
      while (FrameSlot* slot = window.NextInOrder()) {
        ASSERT_EQ(slot->read_us, next++);
        window.Release(slot);
      }
      EXPECT_EQ(next, kFrames) << "capacity " << capacity;
      reader.join();
      for (std::thread& model : models) model.join();
    }
  }
}

}  // namespace
}  // namespace sightline
