// A running engine that goes over to other configurations: what stays loses nothing, what is wrong
// changes nothing. In the world of test_world.h.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "pipeline/test_world.h"

namespace sightline {
namespace {

using test_world::ExpectNoneMissing;
using test_world::FactoriesOf;
using test_world::RunningEngine;
using test_world::Shop;
using test_world::TwoCameras;
using test_world::World;
using testing::ElementsAre;
using testing::HasSubstr;

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
  EXPECT_EQ(std::set<uint64_t>(gate.ordinals.begin(), gate.ordinals.end()).size(),
            gate.ordinals.size());
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

// The largest batch by the queue's capacity, which is twice that of all instances.
class QueueCapacity final : public MetricWriter {
 public:
  void Write(const MetricInfo& metric, Labels labels, double value) override {
    if (metric.name == "sightline_queue_capacity" && labels.begin()->value == "model")
      found = value;
  }
  void Write(const MetricInfo&, Labels, const HistogramCounts&) override {}
  double found = 0;
};

TEST(Apply, BatchesAndPrioritiesChangeWithoutOpeningAnything) {
  World world;
  Shop shop = TwoCameras();
  shop.models = "{name: m, builtin: people, instances: 2, batch: {max: 3}}";
  for (auto& [id, camera] : shop.cameras) camera.model = "m";
  RunningEngine engine(world, shop);
  const auto capacity = [&] {
    QueueCapacity writer;
    engine->CollectMetrics(writer);
    return writer.found;
  };
  EXPECT_EQ(world.detectors, 2);
  EXPECT_EQ(capacity(), 12);
  shop.models =
      "{name: m, builtin: people, instances: 2, batch: {max: 4, preferred: [2, 4], max_delay: "
      "1ms}}";
  shop.cameras["gate"].priority = 1;
  const auto diff = engine->Apply(shop.Parsed());
  ASSERT_TRUE(diff.ok()) << diff.status();
  EXPECT_EQ(diff->changes.size(), 4u);
  EXPECT_EQ(capacity(), 16);
  world.WaitForFrames("gate", 20);
  world.WaitForFrames("yard", 20);
  EXPECT_EQ(world.detectors, 2);
  // More than it was opened for.
  shop.models = "{name: m, builtin: people, instances: 2, batch: {max: 33}}";
  ASSERT_TRUE(engine->Apply(shop.Parsed()).ok());
  world.WaitForFrames("gate", 5);
  EXPECT_EQ(world.detectors, 4);
  EXPECT_EQ(world.Of("gate").connections, 2);
  engine.Stop();
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
      {"zone",
       [](Shop& shop) {
         shop.cameras["gate"].zone = "far";
         shop.cameras["gate"].zone_left = 599;
         shop.cameras["yard"].zone = "flat";
         shop.cameras["yard"].zone_left = 600;
       },
       "zone"},
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

// To end a camera or an output means to wait for what it has yet to write, for hours perhaps.
TEST(Apply, WhatWouldWaitForAFullDiskIsRefused) {
  World world;
  RunningEngine engine(world, TwoCameras());
  world.disk_is_full = true;
  while (engine->Health(1'000'000'000).waiting.empty()) std::this_thread::yield();
  EXPECT_FALSE(engine->Health(1'000'000'000).ready(false));
  Shop after = TwoCameras();
  after.cameras["gate"].source = "b";
  const absl::Status refused = engine->Apply(after.Parsed()).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("the disk is full"));
  Shop new_rules = TwoCameras();
  new_rules.cameras["gate"].zone = "door";
  EXPECT_TRUE(engine->Apply(new_rules.Parsed()).ok()) << "which ends nothing";
  world.disk_is_full = false;
  world.WaitForFrames("gate", 20);
  EXPECT_TRUE(engine->Apply(after.Parsed()).ok());
  world.WaitForFrames("gate", 20);
  EXPECT_EQ(world.Of("gate").connections, 2);
}

// Ctrl-C while the disk is full: the run ends, with the error.
TEST(Apply, ARunWithAFullDiskCanBeEnded) {
  World world;
  RunningEngine engine(world, TwoCameras());
  world.disk_is_full = true;
  while (engine->Health(1'000'000'000).waiting.empty()) std::this_thread::yield();
  const absl::Status status = engine.End();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
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
        case 0:
          next.cameras.contains(id) ? (void)next.cameras.erase(id) : (void)next.cameras[id];
          break;
        case 1:
          next.cameras[id].source = std::string(1, static_cast<char>('a' + pick(3)));
          break;
        case 2:
          next.cameras[id].zone = pick(3) == 0 ? "" : fmt::format("z{}", pick(4));
          break;
        case 3:
          next.cameras[id].track_buffer = 20 + pick(3);
          break;
        case 4:
          next.cameras[id].model = pick(2) == 0 ? "people" : "motion";
          break;
        default:
          next.lines = std::string(1, static_cast<char>('a' + pick(3))) + ".jsonl";
      }
    }
    const bool is_wrong = pick(3) == 0;
    if (is_wrong) {
      switch (pick(4)) {
        case 0:
          next.cameras[fmt::format("cam{:02}", 10 + pick(10))].source = "nowhere";
          break;
        case 1:
          next.cameras[fmt::format("cam{:02}", 10 + pick(10))].model = "faces";
          break;
        case 2:
          next.lines = "full.jsonl";
          break;
        default:
          next.threads = 3;
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
  for (const CameraSummary& camera : summary.cameras)
    EXPECT_EQ(camera.counts.in_flight(), 0) << camera.id;
}

}  // namespace
}  // namespace sightline
