// The tracker allocates nothing per frame after warm-up: operator new is counted.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "track/tracker.h"

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

TEST(ByteTrackSteadyState, AllocatesNothingAfterWarmUp) {
#ifndef SIGHTLINE_COUNTS_ALLOCATIONS
  GTEST_SKIP() << "a sanitizer counts its own allocations";
#endif
  for (const bool quirks : {false, true}) {
    TrackerOptions options;
    options.reference_quirks = quirks;
    auto tracker = *MakeTracker(options);
    Detections detections;
    Tracks tracks;
    std::vector<TrackSummary> finished;
    long counted = 0;
    for (int frame = 0; frame < 2000; ++frame) {
      detections.frame.ordinal = static_cast<uint64_t>(frame);
      detections.frame.time.pts_us = frame * 33'333;
      detections.items.clear();
      // Twenty objects; each is away for 40 of 100 frames, so tracks begin, are lost and end.
      for (int i = 0; i < 20; ++i) {
        if ((frame + i * 5) % 100 < 40) continue;
        const float x = static_cast<float>(i * 60 + frame % 50);
        detections.items.push_back({{x, 100, x + 40, 200}, 0.9f, 0});
      }
      finished.clear();
      counting = frame >= 1000;
      ASSERT_TRUE(tracker->Update(detections, &tracks).ok());
      tracker->TakeFinished(&finished);
      counting = false;
    }
    counted = allocations;
    allocations = 0;
    EXPECT_EQ(counted, 0) << (quirks ? "reference" : "engine");
    EXPECT_GT(tracker->stats().started_tracks, 100u) << "tracks must come and go";
  }
}

}  // namespace
}  // namespace sightline
