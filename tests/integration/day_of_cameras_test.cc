// Twenty-four hours of live cameras through the whole engine, on a clock that the test moves on: real
// supervision, tracking and outputs, simulated time. Connections break, stall, freeze and send garbage,
// stream counters wrap, the cameras' and the machine's clocks step, summer time ends, and for an hour
// the disk is full. Every frame that counts as processed has its rows, once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>
#include <tuple>
#include <vector>

#include "media/sources/live_clock.h"
#include "pipeline/config/parse.h"
#include "pipeline/engine.h"
#include "sim/sim_source.h"
#include "sim/truth_detector.h"
#include "store/full_disk_test_internal.h"
#include "store/jsonl_sink.h"
#include "store/read.h"
#include "store/sqlite_sink.h"
#include "store/store_test_support.h"

namespace sightline {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr int64_t kHour = 3600 * kSecond;
// One o'clock in the morning, UTC, summer time ends in most of Europe.
constexpr std::string_view kBegin = "2026-10-24T12:00:00Z";

// What sanitizers run many times slower is run for a shorter day with the same events in it.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int64_t kHourOfTheTest = kHour / 20;
#else
constexpr int64_t kHourOfTheTest = kHour;
#endif
constexpr int64_t kDay = 24 * kHourOfTheTest;

// The time of the day. It goes on when every camera's reader sleeps and every frame that was read is
// through; then to the moment at which the first of them wants to wake.
class DayClock final : public Clock {
 public:
  explicit DayClock(int readers) : readers_(readers), begin_utc_us_(*ParseUtc(kBegin)) {}

  int64_t NowMonotonicUs() const override { return now_us_.load(); }
  int64_t NowUtcUs() const override { return begin_utc_us_ + now_us_.load() + step_us_.load(); }

  void Watch(const FrameLedger* ledger) {
    const std::lock_guard lock(mutex_);
    ledgers_.push_back(ledger);
  }

  // On a reader's thread.
  void Sleep(int64_t wait_us) {
    std::unique_lock lock(mutex_);
    Sleeper me{.due_us = now_us_ + std::max<int64_t>(wait_us, 1), .wake = {}};
    sleepers_.push_back(&me);
    if (sleepers_.size() == static_cast<size_t>(readers_)) GoOn(lock);
    me.wake.wait(lock, [&] { return now_us_ >= me.due_us; });
    std::erase(sleepers_, &me);
  }
  // That reader comes no more.
  void Leave() {
    std::unique_lock lock(mutex_);
    --readers_;
    if (readers_ > 0 && sleepers_.size() == static_cast<size_t>(readers_)) GoOn(lock);
  }

  bool disk_was_full() const { return disk_was_full_; }

 private:
  struct Sleeper {
    int64_t due_us;
    std::condition_variable wake;
  };

  void GoOn(std::unique_lock<std::mutex>& lock) {
    // With a full disk frames stay on their way, and that is no reason to wait for them.
    while (!disk_ && std::any_of(ledgers_.begin(), ledgers_.end(), [](const FrameLedger* l) {
      return l->Snapshot().in_flight() > 0;
    })) {
      lock.unlock();
      std::this_thread::yield();
      lock.lock();
    }
    if (sleepers_.empty()) return;
    int64_t next_us = INT64_MAX;
    for (const Sleeper* sleeper : sleepers_) next_us = std::min(next_us, sleeper->due_us);
    if (next_us <= now_us_) return;  // somebody is on the way already
    now_us_ = next_us;
    Happen();
    for (Sleeper* sleeper : sleepers_) {
      if (sleeper->due_us <= now_us_) sleeper->wake.notify_all();
    }
  }

  // What happens to the machine.
  void Happen() {
    const int64_t hour = now_us_ / kHourOfTheTest;
    const bool full = hour == 10;
    if (full && !disk_) disk_.emplace();
    if (!full && disk_) disk_.reset();
    disk_was_full_ = disk_was_full_ || full;
    // A clock that is corrected by a second, one that was an hour wrong, one that jumps ahead.
    step_us_ = hour < 3 ? 0 : hour < 6 ? kSecond : hour < 15 ? -kHour : hour < 20 ? 2 * kHour : 0;
  }

  int readers_;
  const int64_t begin_utc_us_;
  std::atomic<int64_t> now_us_{0};
  std::atomic<int64_t> step_us_{0};
  std::mutex mutex_;
  std::vector<Sleeper*> sleepers_;
  std::vector<const FrameLedger*> ledgers_;
  std::optional<FullDisk> disk_;
  bool disk_was_full_ = false;
};

// How a camera tells the time.
enum class Stamps {
  kSender,  // by its own clock
  kArrival,  // by a counter of 33 bits that wraps soon after each connection; frames are dated on arrival
  kBoth  // such a counter, and the sender's clock beside it
};

class DayConnection final : public FrameSource {
 public:
  DayConnection(std::unique_ptr<FrameSource> sim, DayClock& clock, Stamps stamps,
                int64_t last_capture_utc_us)
      : sim_(std::move(sim)),
        day_(clock),
        stamps_(stamps),
        clock_(
            {.stream = {.time_base_num = 1, .time_base_den = 90'000, .wrap_bits = 33, .fps = 0.5},
             .last_capture_utc_us = last_capture_utc_us}) {}
  const SourceInfo& info() const override { return sim_->info(); }
  void Cancel() override { sim_->Cancel(); }
  absl::StatusOr<std::optional<Frame>> Next() override {
    auto frame = sim_->Next();
    if (frame.ok() && !frame->has_value()) day_.Leave();
    if (!frame.ok() || !frame->has_value() || stamps_ == Stamps::kSender) return frame;
    FrameTime& time = (*frame)->meta.time;
    if (time.epoch != epoch_) {  // the stream began anew: somewhere else
      epoch_ = time.epoch;
      stamp_begin_ = kWrap / 2;
    }
    const int64_t stamp = (stamp_begin_ + time.pts_us * 9 / 100) % kWrap;
    const std::optional<int64_t> sender_us =
        stamps_ == Stamps::kBoth ? std::optional(time.capture_utc_us) : std::nullopt;
    time = clock_.Next(stamp, day_.NowUtcUs(), sender_us);
    return frame;
  }

 private:
  static constexpr int64_t kWrap = int64_t{1} << 33;
  const std::unique_ptr<FrameSource> sim_;
  DayClock& day_;
  const Stamps stamps_;
  LiveClock clock_;
  uint32_t epoch_ = 0;
  int64_t stamp_begin_ = kWrap - 600 * 90'000;  // ten minutes before it wraps
};

struct DayCamera {
  std::string id;
  Stamps stamps;
  std::string faults;
};

// Faults at hours of the test's day.
std::string FaultsOf(const std::vector<std::pair<double, std::string>>& faults) {
  std::string text;
  for (const auto& [hour, what] : faults) {
    const size_t rest = what.find_first_of("+:");
    text += fmt::format("{}{}@{}s{}", text.empty() ? "" : ",", what.substr(0, rest),
                        static_cast<int64_t>(hour * kHourOfTheTest / kSecond),
                        rest == std::string::npos ? "" : what.substr(rest));
  }
  return text;
}

std::vector<DayCamera> Cameras() {
  return {
      {"gate", Stamps::kSender,
       FaultsOf({{1, "cut+40s"},
                 {2.5, "clockstep:+1h"},
                 {4, "freeze+30s"},
                 {5, "wrap"},
                 {9.99, "cut+60s"},
                 {10.5, "cut+20s"},
                 {12.5, "garbage+60s"},
                 {14, "clockstep:+2h"},
                 {18, "stall+30s"},
                 {22, "wrap"}})},
      {"yard", Stamps::kArrival,
       FaultsOf({{0.5, "stall+20s"},
                 {3.7, "cut+5s"},
                 {7, "refuse+90s"},
                 {8, "wrap"},
                 {10.2, "stall+40s"},
                 {13, "resize+60s:320x240"},
                 {16, "slow+120s:0.3x"},
                 {19, "cut+100s"},
                 {23, "garbage+20s"}})},
      {"dock", Stamps::kBoth,
       FaultsOf({{2, "cut+3s"},
                 {6.1, "clockstep:+20s"},
                 {9, "wrap"},
                 {10.98, "cut+90s"},
                 {11.5, "freeze+20s"},
                 {15.5, "cut+1s"},
                 {17, "garbage+5s"},
                 {21, "clockstep:-30s"},
                 {23.5, "stall+15s"}})},
  };
}

EngineFactories FactoriesOf(DayClock& clock, const std::string& folder) {
  EngineFactories factories;
  factories.clock = &clock;
  factories.wait = [&clock](int64_t wait_us) { clock.Sleep(wait_us); };
  factories.open_source = [](const SourceOptions&, const LiveConfig&,
                             FrameLedger&) -> absl::StatusOr<std::unique_ptr<FrameSource>> {
    return Internal("no recording here");
  };
  factories.open_live = [&clock](const SourceOptions& options, const LiveConfig&,
                                 FrameLedger& ledger) -> absl::StatusOr<ConnectSource> {
    SL_ASSIGN_OR_RETURN(sim::SimOptions parsed, sim::ParseSimUrl(options.url));
    const auto camera = std::make_shared<sim::SimCamera>(std::move(parsed));
    clock.Watch(&ledger);
    Stamps stamps{};
    for (const DayCamera& one : Cameras()) {
      if (one.id == options.camera->id) stamps = one.stamps;
    }
    return ConnectSource(
        [&clock, &ledger, options, camera,
         stamps](const ConnectRequest& request) -> absl::StatusOr<std::unique_ptr<FrameSource>> {
          SL_ASSIGN_OR_RETURN(
              std::unique_ptr<sim::SimSource> source,
              sim::SimSource::Create(options, ledger,
                                     {.clock = &clock,
                                      .give_up = request.give_up,
                                      .poll_us = 2 * kSecond,
                                      .sleep = [&clock](int64_t us) { clock.Sleep(us); },
                                      .camera = camera}));
          return std::make_unique<DayConnection>(std::move(source), clock, stamps,
                                                 request.last_capture_utc_us);
        });
  };
  factories.open_detector = [](const ModelConfig&) {
    return sim::MakeTruthDetectorFactory("truth", std::nullopt);
  };
  factories.plan_sinks = [folder](const Config&, bool) {
    return std::vector<SinkPlan>{
        {.lane = "rows",
         .path = {},
         .what = "sqlite",
         .make =
             [folder](const SinkContext& context) -> absl::StatusOr<std::unique_ptr<ResultSink>> {
           return SqliteSink::Create({.path = folder + "/day.db",
                                      .batch_ms = 10'000,
                                      .clock = context.clock,
                                      .wait = context.wait});
         }},
        {.lane = "rows",
         .path = {},
         .what = "lines",
         .make =
             [folder](const SinkContext& context) -> absl::StatusOr<std::unique_ptr<ResultSink>> {
           return JsonlSink::Create({.path = folder + "/day.jsonl",
                                     .append = true,
                                     .flush_ms = 10'000,
                                     .clock = context.clock,
                                     .wait = context.wait});
         }}};
  };
  return factories;
}

Config ConfigOfTheDay() {
  std::string text = "cameras:\n";
  for (const DayCamera& camera : Cameras()) {
    text += fmt::format(
        "  - {{id: {}, source: "
        "\"sim://"
        "street?render=none&size=160x96&people=3&cars=0&bicycles=0&fps=0.5&duration={}s&faults={}"
        "\", "
        "model: truth, coordinates: fraction, lines: [{{name: middle, from: [0.5, 1], to: [0.5, "
        "0]}}], "
        "live: {{stall_after: 8s}}}}\n",
        camera.id, kDay / kSecond, camera.faults);
  }
  const ParsedConfig parsed = ParseConfig(text, "day.yaml");
  EXPECT_TRUE(parsed.config.has_value()) << parsed.ErrorText();
  return *parsed.config;
}

// The only value of a query.
int64_t Ask(DatabaseReader& database, const std::string& sql) {
  const auto answer = database.Query(sql);
  EXPECT_TRUE(answer.ok()) << answer.status();
  return answer.ok() ? std::stoll("0" + answer->rows.at(0).at(0)) : -1;
}

class DayOfCameras : public testing::Test {
 protected:
  void SetUp() override {
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    ASSERT_TRUE(FullDisk::Prepare());
  }
  void TearDown() override {
    unsetenv("TZ");
    tzset();
  }
  const TemporaryFolder folder_;
};

TEST_F(DayOfCameras, NoRowIsLostOrDoubled) {
  DayClock clock(static_cast<int>(Cameras().size()));
  RunSummary summary;
  {
    auto engine = Engine::Create(ConfigOfTheDay(), FactoriesOf(clock, folder_.path()));
    ASSERT_TRUE(engine.ok()) << engine.status();
    const absl::Status status = (*engine)->Run({}, &summary);
    ASSERT_TRUE(status.ok()) << status;
  }
  EXPECT_TRUE(clock.disk_was_full());
  EXPECT_GE(clock.NowMonotonicUs(), kDay);

  std::map<std::string, std::set<std::pair<uint32_t, uint64_t>>>
      lines;  // camera: epoch and number of its frames
  std::ifstream file(folder_ / "day.jsonl");
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    ASSERT_FALSE(json.is_discarded()) << line;
    if (!json.contains("frame")) continue;  // a camera's state
    ASSERT_TRUE(lines[json["camera"]].emplace(json["epoch"], json["frame"]).second)
        << "twice: " << line;
  }

  auto opened = DatabaseReader::Open(folder_ / "day.db");
  ASSERT_TRUE(opened.ok()) << opened.status();
  DatabaseReader& database = **opened;
  for (const CameraSummary& camera : summary.cameras) {
    SCOPED_TRACE(camera.id);
    const FrameCounts& counts = camera.counts;
    const auto processed = static_cast<int64_t>(counts.processed);
    const auto dropped = [&](DropReason reason) {
      return counts.dropped[static_cast<size_t>(reason)];
    };
    EXPECT_EQ(counts.in_flight(), 0);
    // A frame every two seconds, but for an hour of full disk and some minutes of faults.
    constexpr int64_t kAll = kDay / kSecond / 2;
    EXPECT_GT(static_cast<int64_t>(counts.frames_in), kAll * 9 / 10 - 100);
    EXPECT_GT(processed, kAll * 8 / 10 - 100);
    EXPECT_GT(dropped(DropReason::kLate), 20u);  // while the disk was full
    EXPECT_EQ(counts.total_dropped(),
              dropped(DropReason::kLate) + dropped(DropReason::kDecodeError));

    const std::string of = " WHERE camera_id = '" + camera.id + "'";
    EXPECT_EQ(Ask(database, "SELECT count(*) FROM frames" + of), processed);
    EXPECT_EQ(Ask(database, "SELECT count(DISTINCT frame) FROM frames" + of), processed);
    EXPECT_EQ(Ask(database, "SELECT count(*) FROM detections" + of),
              Ask(database, "SELECT sum(detections) FROM frames" + of));
    EXPECT_EQ(Ask(database, "SELECT count(*) FROM events" + of),
              static_cast<int64_t>(camera.events));
    EXPECT_EQ(Ask(database, "SELECT count(*) FROM tracks" + of),
              static_cast<int64_t>(camera.tracks));
    EXPECT_EQ(Ask(database, "SELECT sum(frames) FROM ledger" + of + " AND outcome != 'in'"),
              static_cast<int64_t>(counts.frames_in));
    // Within an epoch time goes forward with the frames, whatever the clocks did.
    EXPECT_EQ(
        Ask(database,
            "SELECT count(*) FROM (SELECT timestamp - lag(timestamp) OVER (PARTITION BY epoch "
            "ORDER BY frame) AS step FROM frames" +
                of + ") WHERE step <= 0"),
        0);
    EXPECT_EQ(Ask(database,
                  "SELECT count(*) FROM (SELECT epoch - lag(epoch) OVER (ORDER BY frame) AS step "
                  "FROM frames" +
                      of + ") WHERE step < 0"),
              0);
    EXPECT_GE(Ask(database, "SELECT count(*) FROM camera_states" + of + " AND state = 'live'"), 4);

    std::set<std::pair<uint32_t, uint64_t>> rows;
    for (uint32_t epoch = 0; epoch <= Ask(database, "SELECT max(epoch) FROM frames" + of);
         ++epoch) {
      const auto found =
          database.Query("SELECT frame FROM frames" + of + " AND epoch = " + std::to_string(epoch));
      ASSERT_TRUE(found.ok()) << found.status();
      for (const auto& row : found->rows) rows.emplace(epoch, std::stoull(row[0]));
    }
    EXPECT_EQ(rows, lines[camera.id]);
  }
}

}  // namespace
}  // namespace sightline
