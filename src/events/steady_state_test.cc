// The event engine allocates nothing in a frame without events, after warm-up: operator new is
// counted.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "events/event_engine.h"

namespace {
thread_local bool counting = false;
thread_local long allocations = 0;
}  // namespace

// Sanitizers bring an operator new of their own.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SIGHTLINE_COUNTS_ALLOCATIONS 1
void* operator new(size_t bytes) {
  if (counting) ++allocations;
  if (void* memory = std::malloc(bytes)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace sightline {
namespace {

TEST(EventSteadyState, AllocatesNothingWhereNothingHappens) {
#ifndef SIGHTLINE_COUNTS_ALLOCATIONS
  GTEST_SKIP() << "a sanitizer counts its own allocations";
#endif
  CameraRules rules;
  ZoneSpec zone;
  zone.name = "zone";
  zone.polygon_px = {{100, 100}, {400, 100}, {400, 400}, {100, 400}};
  rules.zones = {zone};
  LineSpec line;
  line.name = "line";
  line.a_px = {0, 500};
  line.b_px = {900, 500};
  rules.lines = {line};
  auto engine = *EventEngine::Create(rules);

  Tracks tracks;
  tracks.frame.camera = std::make_shared<CameraInfo>();
  std::vector<Event> events;
  events.reserve(64);
  std::vector<int32_t> occupancy;
  int quiet_frames = 0;
  for (int frame = 0; frame < 2000; ++frame) {
    tracks.frame.ordinal = static_cast<uint64_t>(frame);
    tracks.frame.time.pts_us = frame * 33'333;
    tracks.items.clear();
    // Ten tracks, each new one in the place of the oldest after 100 frames; they walk through the
    // zone from top to bottom and over the line. Listed backwards, so that they must be sorted.
    for (int i = 9; i >= 0; --i) {
      const int age = (frame + i * 10) % 100;
      TrackedObject object;
      object.track_id = (frame + i * 10) / 100 * 10 + 10 - i;
      object.state = TrackState::kConfirmed;
      const float y = static_cast<float>(age * 7);
      object.box_px = {240, y - 50, 260, y};
      tracks.items.push_back(object);
    }
    const size_t before = events.size();
    const long allocated = allocations;
    counting = true;
    const bool ok = engine->Update(tracks, &events, &occupancy).ok();
    counting = false;
    ASSERT_TRUE(ok);
    if (frame > 1000 && events.size() == before) {
      ++quiet_frames;
      EXPECT_EQ(allocations, allocated) << "frame " << frame;
    }
    events.clear();
  }
  EXPECT_GT(quiet_frames, 100);
  EXPECT_GT(engine->counts().zones[0].total.exited, 100u) << "tracks must come and go";
}

}  // namespace
}  // namespace sightline
