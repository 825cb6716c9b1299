// What a running engine says about itself, asked from another thread: the ledger's law in every
// scrape, states that are true, threads that do not come back.
#include "pipeline/engine_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <semaphore>
#include <thread>

#include "pipeline/config/parse.h"
#include "pipeline/engine.h"

namespace sightline {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int64_t kHourUs = int64_t{3600} * 1'000'000;

// A gate that a thread stands at until it is opened.
class Gate {
 public:
  void Pass() {
    if (!closed_) return;
    reached_.release();
    open_.acquire();
  }
  void Close() { closed_ = true; }
  void AwaitSomebody() { reached_.acquire(); }
  void Open() {
    closed_ = false;
    open_.release(1000);
  }

 private:
  std::atomic<bool> closed_{false};
  std::counting_semaphore<> reached_{0};
  std::counting_semaphore<> open_{0};
};

struct World {
  uint64_t frames = 200;
  Gate source, model, sink;
  std::atomic<bool> sink_fails{false};
};

class FakeSource final : public FrameSource {
 public:
  FakeSource(World& world, const SourceOptions& options, FrameLedger& ledger)
      : world_(world), options_(options), ledger_(ledger) {
    info_.width = 640;
    info_.height = 480;
    info_.fps = 25;
  }
  const SourceInfo& info() const override { return info_; }
  void Cancel() override { cancelled_ = true; }
  absl::StatusOr<std::optional<Frame>> Next() override {
    if (next_ == world_.frames) {
      world_.source.Pass();
      return std::optional<Frame>();
    }
    if (cancelled_) return Cancelled("stopped");
    ledger_.CountIn();
    Frame frame;
    const auto pts_us = static_cast<int64_t>(next_ * 40'000);
    frame.meta = {.camera = options_.camera,
                  .ordinal = next_++,
                  .time = {.pts_us = pts_us, .epoch = 0, .capture_utc_us = pts_us},
                  .width = 640,
                  .height = 480};
    return frame;
  }

 private:
  World& world_;
  const SourceOptions options_;
  FrameLedger& ledger_;
  SourceInfo info_;
  uint64_t next_ = 0;
  std::atomic<bool> cancelled_{false};
};

class FakeDetector final : public Detector {
 public:
  explicit FakeDetector(World& world) : world_(world) {
    info_.name = info_.describe = "fake";
    info_.labels = std::make_shared<const LabelSet>(LabelSet{{"walker"}});
  }
  const DetectorInfo& info() const override { return info_; }
  void Detect(std::span<DetectJob> jobs) override {
    world_.model.Pass();
    for (DetectJob& job : jobs) {
      if (job.frame->meta.ordinal % 10 == 9) job.status = Internal("every tenth fails");
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
  absl::Status Write(const FrameResult&) override {
    world_.sink.Pass();
    return world_.sink_fails ? ResourceExhausted("disk full") : absl::OkStatus();
  }
  absl::Status Close() override { return absl::OkStatus(); }

 private:
  World& world_;
};

// Values by "name{label,label}"; of histograms their count.
class Values final : public MetricWriter {
 public:
  void Write(const MetricInfo& metric, Labels labels, double value) override {
    const bool fresh = map_.emplace(KeyOf(metric, labels), value).second;
    EXPECT_TRUE(fresh) << "twice in one scrape: " << KeyOf(metric, labels);
  }
  void Write(const MetricInfo& metric, Labels labels, const HistogramCounts& counts) override {
    uint64_t sum = 0;
    for (const uint64_t n : counts.buckets) sum += n;
    Write(metric, labels, static_cast<double>(sum));
  }
  double Of(const std::string& key) const {
    const auto at = map_.find(key);
    EXPECT_NE(at, map_.end()) << key;
    return at == map_.end() ? -1 : at->second;
  }
  // The sum of every series that begins so.
  double Sum(std::string_view begin) const {
    double sum = 0;
    for (const auto& [key, value] : map_) sum += key.starts_with(begin) ? value : 0;
    return sum;
  }

 private:
  static std::string KeyOf(const MetricInfo& metric, Labels labels) {
    std::string key(metric.name);
    key += '{';
    for (const MetricLabel& label : labels) {
      if (key.back() != '{') key += ',';
      key += label.value;
    }
    return key + '}';
  }
  std::map<std::string, double> map_;
};

class EngineMetricsTest : public testing::Test {
 protected:
  void Make(int cameras = 1) {
    EngineFactories factories;
    factories.open_source =
        [this](const SourceOptions& options, const LiveConfig&,
               FrameLedger& ledger) -> absl::StatusOr<std::unique_ptr<FrameSource>> {
      return std::make_unique<FakeSource>(world_, options, ledger);
    };
    factories.open_detector = [this](const ModelConfig&) -> absl::StatusOr<DetectorFactory> {
      return DetectorFactory([this]() -> absl::StatusOr<std::unique_ptr<Detector>> {
        return std::make_unique<FakeDetector>(world_);
      });
    };
    factories.plan_sinks = [this](const Config&, bool) {
      std::vector<SinkPlan> plans;
      plans.push_back(
          {.lane = "rows",
           .what = "fake",
           .make = [this](const SinkContext&) -> absl::StatusOr<std::unique_ptr<ResultSink>> {
             return std::make_unique<FakeSink>(world_);
           }});
      return plans;
    };
    std::string text = "cameras:\n";
    for (int i = 0; i < cameras; ++i) {
      text += fmt::format("  - {{id: c{}, source: clip.mp4, model: people}}\n", i);
    }
    text += "limits: {threads: 1}\n";
    ParseOptions options;
    options.check_files = false;
    const ParsedConfig parsed = ParseConfig(text, "test.yaml", options);
    ASSERT_TRUE(parsed.config.has_value()) << parsed.ErrorText();
    auto engine = Engine::Create(*parsed.config, std::move(factories));
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }
  void Start() {
    run_ = std::thread([this] {
      RunSummary summary;
      status_ = engine_->Run({}, &summary);
    });
  }
  void Finish() { run_.join(); }
  // Comes back once a thread is found that has been at one thing for a millisecond.
  EngineHealth AwaitStuck(const std::string& what) const {
    while (true) {
      const EngineHealth health = engine_->Health(1000);
      for (const std::string& text : health.stuck) {
        if (text.find(what) != std::string::npos) return health;
      }
      std::this_thread::yield();
    }
  }
  Values Collect() const {
    Values values;
    engine_->CollectMetrics(values);
    return values;
  }

  World world_;
  std::unique_ptr<Engine> engine_;
  std::thread run_;
  absl::Status status_;
};

TEST_F(EngineMetricsTest, TheLedgersLawHoldsInEveryScrape) {
  world_.frames = 4'000;
  Make(3);
  Start();
  int scrapes = 0;
  for (bool over = false; !over; ++scrapes) {
    const Values values = Collect();
    bool all = true;
    for (const std::string id : {"c0", "c1", "c2"}) {
      if (values.Sum("sightline_camera_frames_in_total{" + id) == 0) {
        all = false;
        continue;
      }
      const double in = values.Of("sightline_camera_frames_in_total{" + id + "}");
      const double ended = values.Sum("sightline_camera_frames_total{" + id + ",");
      const double in_flight = values.Of("sightline_camera_frames_in_flight{" + id + "}");
      ASSERT_EQ(in, ended + in_flight);
      ASSERT_GE(in_flight, 0);
      all = all && ended == 4'000;
    }
    over = all;
  }
  EXPECT_GT(scrapes, 0);
  Finish();
  const Values values = Collect();
  EXPECT_EQ(values.Of("sightline_camera_frames_total{c0,processed,}"), 3'600);
  EXPECT_EQ(values.Of("sightline_camera_frames_total{c0,dropped,inference_error}"), 400);
  EXPECT_EQ(values.Of("sightline_camera_frames_in_flight{c0}"), 0);
  EXPECT_EQ(values.Of("sightline_camera_window_frames{c0}"), 0);
  EXPECT_EQ(values.Of("sightline_camera_queue_wait_seconds{c0}"), 3'600);
  EXPECT_EQ(values.Of("sightline_camera_track_seconds{c0}"), 3'600);
  EXPECT_EQ(values.Of("sightline_camera_read_cpu_seconds{c0}"), 4'000);
  EXPECT_EQ(values.Of("sightline_camera_state{c0,ended}"), 1);
  EXPECT_EQ(values.Sum("sightline_camera_state{c0,"), 1);
  EXPECT_EQ(values.Of("sightline_model_frames_total{people,}"), 12'000);
  EXPECT_EQ(values.Of("sightline_delivery_frames_total{rows}"), 10'800);
  EXPECT_EQ(values.Of("sightline_delivery_wait_seconds{rows}"), 10'800);
  EXPECT_EQ(values.Of("sightline_running{}"), 0);
}

TEST_F(EngineMetricsTest, ReadyOnceACameraGivesPictures) {
  Make();
  EXPECT_FALSE(engine_->Health(kHourUs).ready(false));
  EXPECT_TRUE(engine_->Health(kHourUs).alive());
  world_.source.Close();  // at its end
  Start();
  world_.source.AwaitSomebody();
  while (!engine_->Health(kHourUs).running) std::this_thread::yield();
  EngineHealth health = engine_->Health(kHourUs);
  EXPECT_TRUE(health.ready(true));
  ASSERT_EQ(health.cameras.size(), 1u);
  EXPECT_EQ(health.cameras[0].state, CameraState::kLive);
  EXPECT_EQ(health.cameras[0].frames_in, 200u);
  world_.source.Open();
  Finish();
  health = engine_->Health(kHourUs);
  EXPECT_FALSE(health.ready(false));
  EXPECT_EQ(health.cameras[0].state, CameraState::kEnded);
  EXPECT_TRUE(health.alive());
}

TEST_F(EngineMetricsTest, AnOutputThatDoesNotComeBackIsFound) {
  Make();
  world_.sink.Close();
  Start();
  world_.sink.AwaitSomebody();
  const EngineHealth health = AwaitStuck("lane rows");
  EXPECT_THAT(health.stuck, Contains(AllOf(HasSubstr("lane rows"), HasSubstr("fake"))));
  EXPECT_FALSE(health.alive());
  EXPECT_FALSE(health.ready(false));
  EXPECT_THAT(engine_->Health(kHourUs).stuck, IsEmpty());
  world_.sink.Open();
  Finish();
  EXPECT_THAT(engine_->Health(0).stuck, IsEmpty());  // nobody is at anything
}

TEST_F(EngineMetricsTest, AModelThatDoesNotComeBackIsFound) {
  Make();
  world_.model.Close();
  Start();
  world_.model.AwaitSomebody();
  EXPECT_EQ(Collect().Of("sightline_model_instances{people,,busy}"), 1);
  AwaitStuck("model people, instance 0");
  world_.model.Open();
  Finish();
  EXPECT_EQ(Collect().Of("sightline_model_instances{people,,busy}"), 0);
}

TEST_F(EngineMetricsTest, AnOutputThatFailedIsNotReady) {
  Make();
  world_.sink_fails = true;
  Start();
  while (engine_->Health(kHourUs).failed.empty()) std::this_thread::yield();
  EXPECT_FALSE(engine_->Health(kHourUs).ready(false));
  EXPECT_EQ(Collect().Of("sightline_delivery_failed_outputs{rows}"), 1);
  Finish();
  EXPECT_TRUE(absl::IsResourceExhausted(status_));
}

}  // namespace
}  // namespace sightline
