#include "events/event_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <set>

namespace sightline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kFrameUs = 40'000;

ZoneSpec Square() {
  ZoneSpec zone;
  zone.name = "square";
  zone.polygon_px = {{100, 100}, {200, 100}, {200, 200}, {100, 200}};
  zone.margin = {5, 0};
  return zone;
}

// From left to right on the screen is forward: up is its direction, so its right side is the right.
LineSpec Door() {
  LineSpec line;
  line.name = "door";
  line.a_px = {150, 300};
  line.b_px = {150, 0};
  line.margin = {5, 0};
  return line;
}

TrackedObject At(int64_t id, float x, float y, int32_t class_id = 0) {
  TrackedObject object;
  object.track_id = id;
  object.state = TrackState::kConfirmed;
  object.box_px = {x - 10, y - 40, x + 10, y};
  object.class_id = class_id;
  object.confidence = 0.9f;
  return object;
}

class Scene {
 public:
  explicit Scene(const CameraRules& rules) {
    auto engine = EventEngine::Create(rules);
    EXPECT_TRUE(engine.ok()) << engine.status();
    engine_ = std::move(*engine);
    camera_ = std::make_shared<CameraInfo>(CameraInfo{"gate", "test", 0});
  }

  // The events of the next frame.
  std::vector<Event> See(std::vector<TrackedObject> objects,
                         std::span<const TrackSummary> ended = {}) {
    Tracks tracks;
    tracks.frame.camera = camera_;
    tracks.frame.ordinal = static_cast<uint64_t>(ordinal_++);
    tracks.frame.time = {pts_us_, epoch_, 1'700'000'000'000'000 + pts_us_,
                         ClockSource::kConfigured};
    tracks.frame.width = width_;
    tracks.frame.height = height_;
    tracks.items = std::move(objects);
    pts_us_ += kFrameUs;
    std::vector<Event> events;
    const absl::Status status = engine_->Update(tracks, &events, &occupancy_, ended);
    EXPECT_TRUE(status.ok()) << status;
    return events;
  }
  std::vector<Event> Finish() {
    std::vector<Event> events;
    engine_->Finish(&events, &occupancy_);
    return events;
  }

  EventEngine& engine() { return *engine_; }
  const std::vector<int32_t>& occupancy() const { return occupancy_; }
  void Wait(int64_t us) { pts_us_ += us; }
  void BeginEpoch() {
    ++epoch_;
    pts_us_ = 0;
  }
  void Resize(int width, int height) {
    width_ = width;
    height_ = height;
  }

 private:
  std::unique_ptr<EventEngine> engine_;
  std::shared_ptr<const CameraInfo> camera_;
  std::vector<int32_t> occupancy_;
  int64_t ordinal_ = 0;
  int64_t pts_us_ = 0;
  uint32_t epoch_ = 0;
  int width_ = 640;
  int height_ = 480;
};

CameraRules Rules(std::vector<ZoneSpec> zones, std::vector<LineSpec> lines = {}) {
  CameraRules rules;
  rules.zones = std::move(zones);
  rules.lines = std::move(lines);
  return rules;
}

TEST(Zones, EnterStayExit) {
  Scene scene(Rules({Square()}));
  EXPECT_TRUE(scene.See({At(1, 50, 150)}).empty());
  EXPECT_THAT(scene.occupancy(), ElementsAre(0));

  const auto enter = scene.See({At(1, 150, 150, 3)});
  ASSERT_EQ(enter.size(), 1u);
  EXPECT_EQ(enter[0].kind, EventKind::kZoneEnter);
  EXPECT_EQ(enter[0].rule, "square");
  EXPECT_EQ(enter[0].track_id, 1);
  EXPECT_EQ(enter[0].class_id, 3);
  EXPECT_EQ(enter[0].anchor_px, (PointF{150, 150}));
  EXPECT_EQ(enter[0].frame.ordinal, 1u);
  EXPECT_THAT(scene.occupancy(), ElementsAre(1));

  EXPECT_TRUE(scene.See({At(1, 160, 150, 3)}).empty());
  const auto exit = scene.See({At(1, 250, 150, 4)});
  ASSERT_EQ(exit.size(), 1u);
  EXPECT_EQ(exit[0].kind, EventKind::kZoneExit);
  EXPECT_EQ(exit[0].dwell_us, 2 * kFrameUs);
  EXPECT_EQ(exit[0].class_id, 3) << "as it entered";
  EXPECT_THAT(scene.occupancy(), ElementsAre(0));

  const ZoneCounts& counts = scene.engine().counts().zones[0];
  EXPECT_EQ(counts.total.entered, 1u);
  EXPECT_EQ(counts.total.exited, 1u);
  EXPECT_EQ(counts.by_class.at(3).exited, 1u);
}

TEST(Zones, MarginHoldsAtTheBoundary) {
  Scene scene(Rules({Square()}));
  EXPECT_EQ(scene.See({At(1, 198, 150)}).size(), 1u);
  EXPECT_TRUE(scene.See({At(1, 204, 150)}).empty()) << "outside by 4 of 5 px";
  EXPECT_TRUE(scene.See({At(1, 203, 203)}).empty()) << "outside a corner by 4.2 px";
  EXPECT_TRUE(scene.See({At(1, 198, 150)}).empty());
  EXPECT_EQ(scene.See({At(1, 206, 150)}).size(), 1u);
  EXPECT_TRUE(scene.See({At(1, 204, 150)}).empty()) << "within the margin is not inside";
}

TEST(Zones, FramesInARow) {
  ZoneSpec zone = Square();
  zone.enter_frames = 3;
  zone.exit_frames = 2;
  Scene scene(Rules({zone}));
  EXPECT_TRUE(scene.See({At(1, 150, 150)}).empty());
  EXPECT_TRUE(scene.See({At(1, 150, 150)}).empty());
  EXPECT_TRUE(scene.See({At(1, 50, 150)}).empty());
  EXPECT_TRUE(scene.See({At(1, 150, 150)}).empty());
  EXPECT_TRUE(scene.See({At(1, 150, 150)}).empty());
  EXPECT_EQ(scene.See({At(1, 150, 150)}).size(), 1u);
  EXPECT_TRUE(scene.See({At(1, 50, 150)}).empty());
  EXPECT_EQ(scene.See({At(1, 50, 150)}).size(), 1u);
}

TEST(Zones, ConcaveAndAnyOrientation) {
  ZoneSpec zone = Square();  // a U, open above
  zone.polygon_px = {{0, 0},   {0, 90},  {90, 90}, {90, 0}, {60, 0},
                     {60, 60}, {30, 60}, {30, 0},  {0, 0}};
  zone.margin = {0, 0};
  Scene scene(Rules({zone}));
  EXPECT_EQ(scene.See({At(1, 15, 30), At(2, 45, 30), At(3, 75, 30), At(4, 45, 75)}).size(), 3u);
  std::reverse(zone.polygon_px.begin(), zone.polygon_px.end());
  Scene turned(Rules({zone}));
  EXPECT_EQ(turned.See({At(1, 15, 30), At(2, 45, 30), At(3, 75, 30), At(4, 45, 75)}).size(), 3u);
}

TEST(Zones, ClassesAndAge) {
  ZoneSpec zone = Square();
  zone.classes = {7, 2};
  zone.min_track_age_us = kFrameUs;
  Scene scene(Rules({zone}));
  EXPECT_TRUE(scene.See({At(1, 150, 150, 7), At(2, 150, 150, 1)}).empty()) << "too young";
  const auto events = scene.See({At(1, 150, 150, 7), At(2, 150, 150, 1)});
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].track_id, 1);
}

TEST(Zones, LostTracksKeepTheirPlaceAndEndedOnesLeave) {
  Scene scene(Rules({Square()}));
  EXPECT_EQ(scene.See({At(1, 150, 150), At(2, 150, 160)}).size(), 2u);
  EXPECT_TRUE(scene.See({}).empty());
  EXPECT_THAT(scene.occupancy(), ElementsAre(2));
  TrackedObject predicted = At(1, 500, 150);
  predicted.state = TrackState::kLost;
  EXPECT_TRUE(scene.See({predicted}).empty()) << "a prediction is no sighting";
  EXPECT_TRUE(scene.See({At(1, 160, 150)}).empty()) << "back, and never left";

  TrackSummary ended;
  ended.track_id = 2;
  const auto exit = scene.See({At(1, 160, 150)}, {&ended, 1});
  ASSERT_EQ(exit.size(), 1u);
  EXPECT_EQ(exit[0].track_id, 2);
  EXPECT_EQ(exit[0].dwell_us, 0) << "until its last sighting";
  EXPECT_EQ(exit[0].frame.ordinal, 4u) << "in the frame in which it was known";
  EXPECT_THAT(scene.occupancy(), ElementsAre(1));

  scene.Wait(3'000'000);
  EXPECT_EQ(scene.See({}).size(), 1u) << "not seen for longer than forget_after";
  EXPECT_EQ(scene.engine().watched_tracks(), 0u);
}

TEST(Zones, FinishAndEpochsEndEverything) {
  Scene scene(Rules({Square()}));
  EXPECT_EQ(scene.See({At(1, 150, 150)}).size(), 1u);
  scene.BeginEpoch();
  const auto events = scene.See({At(1, 150, 150)});
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].kind, EventKind::kZoneExit);
  EXPECT_EQ(events[1].kind, EventKind::kZoneEnter);
  const auto last = scene.Finish();
  ASSERT_EQ(last.size(), 1u);
  EXPECT_EQ(last[0].kind, EventKind::kZoneExit);
  EXPECT_THAT(scene.occupancy(), ElementsAre(0));
  EXPECT_TRUE(scene.Finish().empty());
}

TEST(Zones, FollowTheResolution) {
  CameraRules rules = Rules({Square()});
  rules.width = 640;
  rules.height = 480;
  Scene scene(rules);
  EXPECT_EQ(scene.See({At(1, 150, 150)}).size(), 1u);
  scene.Resize(1280, 960);
  EXPECT_TRUE(scene.See({At(1, 300, 300)}).empty()) << "the same place in a finer picture";
  const auto exit = scene.See({At(1, 150, 150)});
  ASSERT_EQ(exit.size(), 1u);
  EXPECT_EQ(exit[0].anchor_px, (PointF{150, 150})) << "in px of the frame";
}

TEST(Lines, DirectionsAndNames) {
  Scene scene(Rules({}, {Door()}));
  EXPECT_TRUE(scene.See({At(1, 100, 200)}).empty());
  const auto in = scene.See({At(1, 200, 200)});
  ASSERT_EQ(in.size(), 1u);
  EXPECT_EQ(in[0].kind, EventKind::kLineCross);
  EXPECT_EQ(in[0].direction, CrossDirection::kForward);
  EXPECT_EQ(in[0].direction_name, "in");
  const auto out = scene.See({At(1, 100, 200)});
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].direction_name, "out");
  EXPECT_EQ(scene.engine().counts().lines[0].total.forward, 1u);
  EXPECT_EQ(scene.engine().counts().lines[0].total.backward, 1u);
}

TEST(Lines, SlowPassageIsCountedOnce) {
  Scene scene(Rules({}, {Door()}));
  size_t events = 0;
  for (const float x : {140, 148, 151, 149, 152, 150, 153, 148, 154, 156, 154, 156, 160}) {
    events += scene.See({At(1, x, 200)}).size();
  }
  EXPECT_EQ(events, 1u);
}

TEST(Lines, TurningBackIsNoCrossing) {
  Scene scene(Rules({}, {Door()}));
  size_t events = 0;
  for (const float x : {140, 151, 154, 152, 149, 140}) events += scene.See({At(1, x, 200)}).size();
  EXPECT_EQ(events, 0u);
}

TEST(Lines, RoundTheEndIsNoCrossing) {
  Scene scene(Rules({}, {Door()}));
  size_t events = 0;
  for (const PointF p : {PointF{100, 290}, PointF{100, 320}, PointF{200, 320}, PointF{200, 290}}) {
    events += scene.See({At(1, p.x, p.y)}).size();
  }
  EXPECT_EQ(events, 0u);
  // Back through the door is one, the other way.
  const auto back = scene.See({At(1, 100, 290)});
  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(back[0].direction, CrossDirection::kBackward);
}

TEST(Lines, AppearingOnTheLineHasNoSide) {
  Scene scene(Rules({}, {Door()}));
  EXPECT_TRUE(scene.See({At(1, 149, 200)}).empty());
  EXPECT_TRUE(scene.See({At(1, 180, 200)}).empty());
  EXPECT_EQ(scene.See({At(1, 120, 200)}).size(), 1u);
}

TEST(Lines, CrossedWhileOutOfSight) {
  Scene scene(Rules({}, {Door()}));
  scene.See({At(1, 100, 200)});
  scene.See({});
  scene.See({});
  EXPECT_EQ(scene.See({At(1, 200, 200)}).size(), 1u);
}

TEST(Engine, EventIdsAreTheirsAlone) {
  const auto run = [](Hash128 identity) {
    CameraRules rules = Rules({Square()}, {Door()});
    rules.identity = identity;
    Scene scene(rules);
    std::vector<Event> events;
    for (int i = 0; i < 40; ++i) {
      const float x = i % 4 < 2 ? 90.0f : 180.0f;
      for (const Event& e : scene.See({At(1, x, 150), At(2, 290 - x, 150)})) events.push_back(e);
    }
    for (const Event& e : scene.Finish()) events.push_back(e);
    return events;
  };
  const auto first = run({1, 2});
  const auto again = run({1, 2});
  const auto other = run({1, 3});
  ASSERT_GT(first.size(), 40u);
  std::set<Uuid> ids;
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(first[i].id, again[i].id);
    EXPECT_NE(first[i].id, other[i].id);
    ids.insert(first[i].id);
  }
  EXPECT_EQ(ids.size(), first.size());
}

TEST(Engine, RefusesImpossibleFrames) {
  auto engine = *EventEngine::Create(Rules({Square()}));
  std::vector<Event> events;
  std::vector<int32_t> occupancy;
  Tracks tracks;
  tracks.frame.time.pts_us = 100;
  tracks.items = {At(1, 150, 150), At(1, 150, 150)};
  EXPECT_EQ(engine->Update(tracks, &events, &occupancy).code(), absl::StatusCode::kInvalidArgument);
  tracks.items = {At(1, 150, 150)};
  EXPECT_TRUE(engine->Update(tracks, &events, &occupancy).ok());
  tracks.frame.time.pts_us = 99;
  EXPECT_FALSE(engine->Update(tracks, &events, &occupancy).ok());
  tracks.frame.time.pts_us = 101;
  tracks.items[0].box_px.x1 = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(engine->Update(tracks, &events, &occupancy).ok()) << "no place, so not seen";
  EXPECT_EQ(events.size(), 1u);
}

TEST(Engine, WatchesABoundedNumber) {
  auto engine = *EventEngine::Create(Rules({Square()}));
  std::vector<Event> events;
  std::vector<int32_t> occupancy;
  Tracks tracks;
  for (size_t i = 0; i < EventEngine::kMaxWatched + 7; ++i) {
    tracks.items.push_back(At(static_cast<int64_t>(i), 0, 0));
  }
  EXPECT_TRUE(engine->Update(tracks, &events, &occupancy).ok());
  EXPECT_EQ(engine->watched_tracks(), EventEngine::kMaxWatched);
  EXPECT_EQ(engine->unwatched_sightings(), 7u);
}

TEST(Rules, ImpossibleOnesAreRefusedByName) {
  const auto error = [](const CameraRules& rules) {
    return std::string(MessageOf(EventEngine::Create(rules).status()));
  };
  ZoneSpec zone = Square();
  zone.polygon_px = {{0, 0}, {10, 10}};
  EXPECT_THAT(error(Rules({zone})), HasSubstr("zone square: 2 different corners"));
  zone.polygon_px = {{0, 0}, {10, 10}, {20, 20}};
  EXPECT_THAT(error(Rules({zone})), HasSubstr("no area"));
  zone.polygon_px = {{0, 0}, {10, 10}, {10, 0}, {0, 20}};
  EXPECT_THAT(error(Rules({zone})), HasSubstr("edge after corner 1 meets the edge after corner 3"));
  zone.polygon_px = {{0, 0}, {10, 0}, {std::numeric_limits<float>::infinity(), 10}};
  EXPECT_THAT(error(Rules({zone})), HasSubstr("not finite"));
  zone = Square();
  zone.enter_frames = 0;
  EXPECT_THAT(error(Rules({zone})), HasSubstr("enter_frames"));
  zone = Square();
  zone.margin.px = -1;
  EXPECT_THAT(error(Rules({zone})), HasSubstr("zone square: margin"));
  LineSpec line = Door();
  line.b_px = line.a_px;
  EXPECT_THAT(error(Rules({}, {line})), HasSubstr("line door: both ends"));
  line = Door();
  line.backward_name = "in";
  EXPECT_THAT(error(Rules({}, {line})), HasSubstr("names that differ"));
  line = Door();
  line.name = "square";
  EXPECT_THAT(error(Rules({Square()}, {line})), HasSubstr("called square"));
  line.name = "";
  EXPECT_THAT(error(Rules({}, {line})), HasSubstr("no name"));
}

FrameMeta Next(int64_t ordinal) {
  FrameMeta frame;
  frame.ordinal = static_cast<uint64_t>(ordinal);
  frame.camera = std::make_shared<CameraInfo>(CameraInfo{"gate", "test", 0});
  frame.time.pts_us = ordinal * kFrameUs;
  return frame;
}

ZoneSpec Named(ZoneSpec zone, const std::string& name) {
  zone.name = name;
  return zone;
}

TEST(ChangeRules, WhoIsInsideAZoneThatStaysDoesNotEnterItAgain) {
  Scene scene(Rules({Named(Square(), "gone"), Square()}, {Door()}));
  scene.See({At(1, 140, 150)});
  EXPECT_THAT(scene.occupancy(), ElementsAre(1, 1));
  // The one that stays is another one by its place.
  std::vector<Event> events;
  ZoneSpec wide = Named(Square(), "wide");
  wide.polygon_px[1].x = wide.polygon_px[2].x = 400;
  ASSERT_TRUE(scene.engine().ChangeRules(Rules({Square(), wide}, {Door()}), Next(1), &events).ok());
  ASSERT_EQ(events.size(), 1u) << "who was inside the zone that goes leaves it";
  EXPECT_EQ(events[0].kind, EventKind::kZoneExit);
  EXPECT_EQ(events[0].rule, "gone");
  EXPECT_EQ(events[0].frame.ordinal, 1u);

  const auto next = scene.See({At(1, 160, 150)});
  ASSERT_EQ(next.size(), 2u) << "into the new zone, and across the line that has stayed";
  EXPECT_EQ(next[0].rule, "wide");
  EXPECT_EQ(next[1].rule, "door");
  EXPECT_THAT(scene.occupancy(), ElementsAre(1, 1));
  EXPECT_EQ(scene.engine().counts().zones[0].total.entered, 1u);
  EXPECT_EQ(scene.See({At(1, 500, 150)}).size(), 2u) << "out of both";
}

TEST(ChangeRules, AZoneThatMovedIsAnotherOne) {
  Scene scene(Rules({Square()}));
  scene.See({At(1, 150, 150)});
  ZoneSpec moved = Square();
  moved.polygon_px[0].x = 90;
  std::vector<Event> events;
  ASSERT_TRUE(scene.engine().ChangeRules(Rules({moved}), Next(1), &events).ok());
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kind, EventKind::kZoneExit);
  const auto next = scene.See({At(1, 150, 150)});
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].kind, EventKind::kZoneEnter);
  EXPECT_EQ(scene.engine().counts().zones[0].total.occupancy(), 1);
}

TEST(ChangeRules, ImpossibleRulesChangeNothing) {
  Scene scene(Rules({Square()}));
  scene.See({At(1, 150, 150)});
  ZoneSpec flat = Named(Square(), "flat");
  flat.polygon_px.resize(2);
  std::vector<Event> events;
  EXPECT_FALSE(scene.engine().ChangeRules(Rules({flat}), Next(1), &events).ok());
  EXPECT_TRUE(events.empty());
  const auto exit = scene.See({At(1, 500, 150)});
  ASSERT_EQ(exit.size(), 1u);
  EXPECT_EQ(exit[0].rule, "square");
}

// A new epoch between the rules and the next frame still empties the zones.
TEST(ChangeRules, ANewEpochIsStillNoticed) {
  Scene scene(Rules({Square()}));
  scene.See({At(1, 150, 150)});
  FrameMeta next = Next(0);
  next.time.epoch = 1;
  std::vector<Event> events;
  ASSERT_TRUE(scene.engine().ChangeRules(Rules({Square()}), next, &events).ok());
  scene.BeginEpoch();
  EXPECT_EQ(scene.See({}).size(), 1u) << "the exit";
  EXPECT_THAT(scene.occupancy(), ElementsAre(0));
}

}  // namespace
}  // namespace sightline
