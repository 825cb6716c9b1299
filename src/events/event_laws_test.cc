// The laws of event_engine.h, over random scenes.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>

#include "events/event_engine.h"

namespace sightline {
namespace {

constexpr float kBoxHeight = 60;
constexpr float kMarginPx = 8;
constexpr float kLineX = 300;

// Fixed seed, unless RC_PARAMS says otherwise.
const int kSeeded = setenv("RC_PARAMS", "seed=20230817 max_success=300", 0);

Box BoxAt(PointF feet) { return {feet.x - 10, feet.y - kBoxHeight, feet.x + 10, feet.y}; }

TrackedObject Sighting(int64_t id, PointF feet, TrackState state = TrackState::kConfirmed,
                       int32_t class_id = 0) {
  TrackedObject object;
  object.track_id = id;
  object.state = state;
  object.box_px = BoxAt(feet);
  object.class_id = class_id;
  return object;
}

// A zone, a line that spans every way there is, and one that ends in the middle.
CameraRules Rules() {
  CameraRules rules;
  ZoneSpec zone;
  zone.name = "zone";
  zone.polygon_px = {{200, 200}, {420, 180}, {400, 400}, {320, 300}, {220, 420}};
  zone.margin = {kMarginPx, 0};
  rules.zones = {zone};
  LineSpec line;
  line.name = "endless";
  line.a_px = {kLineX, 1e6f};
  line.b_px = {kLineX, -1e6f};
  line.margin = {kMarginPx, 0};
  rules.lines = {line};
  line.name = "short";
  line.a_px = {kLineX, 300};
  line.b_px = {kLineX, 100};
  rules.lines.push_back(line);
  rules.forget_after_us = 60'000'000;
  return rules;
}

struct Scene {
  std::vector<std::vector<TrackedObject>> frames;
};

struct Outcome {
  std::vector<Event> events;
  std::vector<std::vector<int32_t>> occupancy;
  RuleCounts counts;
};

void AppendFrame(EventEngine& engine, size_t ordinal, std::vector<TrackedObject> objects,
                 Outcome* outcome) {
  Tracks tracks;
  tracks.frame.ordinal = ordinal;
  tracks.frame.time.pts_us = static_cast<int64_t>(ordinal) * 40'000;
  tracks.frame.time.capture_utc_us = tracks.frame.time.pts_us;
  tracks.items = std::move(objects);
  outcome->occupancy.emplace_back();
  RC_ASSERT(engine.Update(tracks, &outcome->events, &outcome->occupancy.back()).ok());
}

// `kept`: which frames are given to the engine; empty = all.
Outcome Run(const Scene& scene, const std::vector<bool>& kept = {}) {
  auto engine = EventEngine::Create(Rules());
  RC_ASSERT(engine.ok());
  Outcome outcome;
  for (size_t i = 0; i < scene.frames.size(); ++i) {
    if (kept.empty() || kept[i]) AppendFrame(**engine, i, scene.frames[i], &outcome);
  }
  outcome.counts = (*engine)->counts();
  return outcome;
}

// Random walks with stops and leaps.
Scene GenWalks(int tracks) {
  const auto frames = *rc::gen::inRange(5, 60);
  Scene scene;
  scene.frames.resize(static_cast<size_t>(frames));
  for (int id = 1; id <= tracks; ++id) {
    PointF feet = {static_cast<float>(*rc::gen::inRange(100, 500)),
                   static_cast<float>(*rc::gen::inRange(100, 500))};
    const auto reach = *rc::gen::element(3, 15, 120);
    for (auto& frame : scene.frames) {
      feet.x += static_cast<float>(*rc::gen::inRange(-reach, reach + 1));
      feet.y += static_cast<float>(*rc::gen::inRange(-reach, reach + 1));
      frame.push_back(Sighting(id, feet));
    }
  }
  return scene;
}

std::vector<bool> GenKept(size_t frames) {
  return *rc::gen::container<std::vector<bool>>(frames, rc::gen::arbitrary<bool>());
}

// A straight way at constant speed from `from` to `to`, each sighting off by up to `jitter` px.
Scene GenStraightWay(PointF from, PointF to, int jitter) {
  const auto frames = *rc::gen::inRange(2, 80);
  Scene scene;
  for (int i = 0; i <= frames; ++i) {
    const float part = static_cast<float>(i) / static_cast<float>(frames);
    // The ends are clear of the margin in any case.
    const int off = i == 0 || i == frames ? 0 : jitter;
    const PointF feet = {
        from.x + part * (to.x - from.x) + static_cast<float>(*rc::gen::inRange(-off, off + 1)),
        from.y + part * (to.y - from.y) + static_cast<float>(*rc::gen::inRange(-off, off + 1))};
    scene.frames.push_back({Sighting(1, feet)});
  }
  return scene;
}

RC_GTEST_PROP(EventLaws, OnePassageCountsOnceUnderJitter, ()) {
  const bool rightwards = *rc::gen::arbitrary<bool>();
  const PointF left = {100, static_cast<float>(*rc::gen::inRange(140, 260))};
  const PointF right = {500, static_cast<float>(*rc::gen::inRange(140, 260))};
  // A step back from the far side by jitter must stay within both margins: 2 x jitter < 2 x margin.
  const Scene scene =
      GenStraightWay(rightwards ? left : right, rightwards ? right : left, kMarginPx - 1);
  const Outcome outcome = Run(scene);
  for (const LineCounts& line : outcome.counts.lines) {
    RC_ASSERT(line.total.forward == (rightwards ? 1u : 0u));
    RC_ASSERT(line.total.backward == (rightwards ? 0u : 1u));
  }
}

RC_GTEST_PROP(EventLaws, PassingBeyondTheEndNeverCounts, ()) {
  const float below = 300 + 2 * kMarginPx;
  const PointF left = {100, below + static_cast<float>(*rc::gen::inRange(0, 200))};
  const PointF right = {500, below + static_cast<float>(*rc::gen::inRange(0, 200))};
  const Scene scene = GenStraightWay(left, right, kMarginPx - 1);
  const Outcome outcome = Run(scene, GenKept(scene.frames.size()));
  RC_ASSERT(outcome.counts.lines[1].total.forward == 0u);
  RC_ASSERT(outcome.counts.lines[1].total.backward == 0u);
}

RC_GTEST_PROP(EventLaws, EndlessLineCountsSettledSides, ()) {
  const Scene scene = GenWalks(1);
  uint64_t forward = 0;
  uint64_t backward = 0;
  int settled = 0;
  for (const auto& frame : scene.frames) {
    const float x = frame[0].box_px.bottom_center().x;
    if (std::abs(x - kLineX) <= kMarginPx) continue;
    const int side = x > kLineX ? 1 : -1;
    if (settled == -side) ++(side > 0 ? forward : backward);
    settled = side;
  }
  const Outcome outcome = Run(scene);
  RC_ASSERT(outcome.counts.lines[0].total.forward == forward);
  RC_ASSERT(outcome.counts.lines[0].total.backward == backward);
}

RC_GTEST_PROP(EventLaws, LeavingOutFramesAddsNothing, ()) {
  const Scene scene = GenWalks(*rc::gen::inRange(1, 4));
  const Outcome all = Run(scene);
  const Outcome some = Run(scene, GenKept(scene.frames.size()));
  RC_ASSERT(some.counts.zones[0].total.entered <= all.counts.zones[0].total.entered);
  RC_ASSERT(some.counts.lines[0].total.forward <= all.counts.lines[0].total.forward);
  RC_ASSERT(some.counts.lines[0].total.backward <= all.counts.lines[0].total.backward);
}

// Tracks come and go, change class, are lost and found.
Scene GenTraffic() {
  Scene scene = GenWalks(*rc::gen::inRange(1, 6));
  for (auto& frame : scene.frames) {
    for (TrackedObject& object : frame) {
      object.state = *rc::gen::weightedElement<TrackState>(
          {{8, TrackState::kConfirmed}, {1, TrackState::kLost}, {1, TrackState::kTentative}});
      object.class_id = *rc::gen::weightedElement<int32_t>({{9, 0}, {1, 1}});
    }
    std::erase_if(frame, [](const TrackedObject&) { return *rc::gen::inRange(0, 5) == 0; });
  }
  return scene;
}

RC_GTEST_PROP(EventLaws, EntersLessExitsIsOccupancyInEveryFrame, ()) {
  const Scene scene = GenTraffic();
  CameraRules rules = Rules();
  rules.forget_after_us = *rc::gen::inRange(0, 400'000);
  auto engine = EventEngine::Create(rules);
  RC_ASSERT(engine.ok());
  std::map<int32_t, int32_t> inside_by_class;
  std::map<int64_t, bool> inside_by_track;
  Outcome outcome;
  for (size_t i = 0; i <= scene.frames.size(); ++i) {
    outcome.events.clear();
    if (i < scene.frames.size()) {
      AppendFrame(**engine, i, scene.frames[i], &outcome);
    } else {
      outcome.occupancy.emplace_back();
      (*engine)->Finish(&outcome.events, &outcome.occupancy.back());
    }
    for (const Event& event : outcome.events) {
      if (event.kind == EventKind::kLineCross) continue;
      const bool enters = event.kind == EventKind::kZoneEnter;
      RC_ASSERT(inside_by_track[event.track_id] == !enters);
      RC_ASSERT(event.dwell_us >= 0);
      inside_by_track[event.track_id] = enters;
      inside_by_class[event.class_id] += enters ? 1 : -1;
    }
    const ZoneCounts& counts = (*engine)->counts().zones[0];
    int32_t sum = 0;
    for (const auto& [class_id, inside] : inside_by_class) {
      RC_ASSERT(inside >= 0);
      RC_ASSERT(counts.by_class.at(class_id).occupancy() == inside);
      sum += inside;
    }
    RC_ASSERT(outcome.occupancy.back().at(0) == sum);
    RC_ASSERT(counts.total.occupancy() == sum);
  }
  RC_ASSERT(outcome.occupancy.back().at(0) == 0);
}

RC_GTEST_PROP(EventLaws, UnconfirmedNeverCounts, ()) {
  Scene scene = GenWalks(*rc::gen::inRange(1, 4));
  for (auto& frame : scene.frames) {
    for (TrackedObject& object : frame) {
      object.state = *rc::gen::element(TrackState::kTentative, TrackState::kLost);
    }
  }
  RC_ASSERT(Run(scene).events.empty());
}

RC_GTEST_PROP(EventLaws, OrderWithinAFrameChangesNothing, ()) {
  const Scene scene = GenTraffic();
  Scene shuffled = scene;
  std::mt19937 random(*rc::gen::arbitrary<uint32_t>());
  for (auto& frame : shuffled.frames) std::shuffle(frame.begin(), frame.end(), random);
  const Outcome a = Run(scene);
  const Outcome b = Run(shuffled);
  RC_ASSERT(a.occupancy == b.occupancy);
  RC_ASSERT(a.events.size() == b.events.size());
  for (size_t i = 0; i < a.events.size(); ++i) {
    RC_ASSERT(a.events[i].id == b.events[i].id);
    RC_ASSERT(a.events[i].box_px == b.events[i].box_px);
  }
}

}  // namespace
}  // namespace sightline
