// Detections in, events out: tracker, zones and lines, and the frame ledger, on one core, without
// decoding or inference. Prints its command line and frames a second.
//
//   build/bin/track_bench [OBJECTS] [FRAMES]     by default 10 and 50 objects, 200,000 and 40,000
//   frames
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "events/event_engine.h"
#include "track/tracker.h"
#include "types/camera.h"

namespace sightline {
namespace {

constexpr int kWidth = 1920;
constexpr int kHeight = 1080;
// Detections of so many frames are made beforehand and played again and again.
constexpr int kLoop = 600;

// People who walk to and fro over the picture, tremble, are missed in every 17th frame and unsure
// in every 11th; deterministic, without a random generator's cost in the measured loop.
std::vector<std::vector<Detection>> MakeFrames(int objects) {
  std::vector<std::vector<Detection>> frames(kLoop);
  for (int t = 0; t < kLoop; ++t) {
    for (int i = 0; i < objects; ++i) {
      if ((t + i * 5) % 17 == 0) continue;
      const double phase = 2 * M_PI * (static_cast<double>(t) / kLoop + i * 0.137);
      const double x = kWidth * (0.5 + 0.42 * std::sin(phase)) + std::sin(t * 1.7 + i);
      const double y = kHeight * (0.35 + 0.5 * ((i * 37) % 100) / 100.0) + std::cos(t * 2.3 + i);
      const double h = 90 + 10.0 * (i % 12);
      const float confidence = (t + i) % 11 == 0 ? 0.35f : 0.85f;
      frames[static_cast<size_t>(t)].push_back(
          {{static_cast<float>(x), static_cast<float>(y - h), static_cast<float>(x + h * 0.4),
            static_cast<float>(y)},
           confidence,
           0});
    }
  }
  return frames;
}

// Two zones of eight corners and two lines, as a shop's door camera has.
CameraRules MakeRules() {
  CameraRules rules;
  for (int i = 0; i < 2; ++i) {
    ZoneSpec zone;
    zone.name = i == 0 ? "left" : "right";
    for (int corner = 0; corner < 8; ++corner) {
      const double angle = 2 * M_PI * corner / 8;
      zone.polygon_px.push_back(
          {static_cast<float>(kWidth * (0.3 + 0.4 * i + 0.15 * std::cos(angle))),
           static_cast<float>(kHeight * (0.6 + 0.3 * std::sin(angle)))});
    }
    rules.zones.push_back(zone);
    LineSpec line;
    line.name = i == 0 ? "door" : "aisle";
    const float x = static_cast<float>(kWidth * (0.4 + 0.2 * i));
    line.a_px = {x, kHeight};
    line.b_px = {x, 0};
    rules.lines.push_back(line);
  }
  return rules;
}

void Measure(int objects, int64_t frames) {
  const auto loop = MakeFrames(objects);
  const auto tracker = *MakeTracker({});
  const auto engine = *EventEngine::Create(MakeRules());
  const auto camera = std::make_shared<const CameraInfo>(CameraInfo{"bench", "made", 0});
  FrameLedger ledger;
  Detections detections;
  Tracks tracks;
  std::vector<Event> events;
  std::vector<int32_t> occupancy;
  std::vector<TrackSummary> finished;
  uint64_t boxes = 0;
  uint64_t happened = 0;
  const auto start = std::chrono::steady_clock::now();
  for (int64_t t = 0; t < frames; ++t) {
    ledger.CountIn();
    detections.frame.camera = camera;
    detections.frame.ordinal = static_cast<uint64_t>(t);
    detections.frame.time.pts_us = t * 1'000'000 / 30;
    detections.frame.time.capture_utc_us = detections.frame.time.pts_us;
    detections.frame.width = kWidth;
    detections.frame.height = kHeight;
    detections.items = loop[static_cast<size_t>(t % kLoop)];
    if (!tracker->Update(detections, &tracks).ok()) std::abort();
    finished.clear();
    tracker->TakeFinished(&finished);
    events.clear();
    if (!engine->Update(tracks, &events, &occupancy, finished).ok()) std::abort();
    ledger.CountProcessed();
    boxes += tracks.items.size();
    happened += events.size();
  }
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  std::printf("%3d objects: %8.0f frames/s, %6.2f us a frame (%.1f tracks a frame, %llu events)\n",
              objects, static_cast<double>(frames) / wall.count(),
              1e6 * wall.count() / static_cast<double>(frames),
              static_cast<double>(boxes) / static_cast<double>(frames),
              static_cast<unsigned long long>(happened));
  if (ledger.Snapshot().in_flight() != 0) std::abort();
}

}  // namespace
}  // namespace sightline

int main(int argc, char** argv) {
  std::printf("$");
  for (int i = 0; i < argc; ++i) std::printf(" %s", argv[i]);
  std::printf("\ndetections -> ByteTrack -> 2 zones, 2 lines -> events, ledger; one thread\n");
  if (argc > 1) {
    const int objects = std::atoi(argv[1]);
    const int64_t frames = argc > 2 ? std::atoll(argv[2]) : 100'000;
    if (objects < 1 || objects > 1000 || frames < 1) {
      std::fprintf(stderr, "usage: track_bench [OBJECTS 1..1000] [FRAMES]\n");
      return 2;
    }
    sightline::Measure(objects, frames);
    return 0;
  }
  sightline::Measure(10, 200'000);
  sightline::Measure(50, 40'000);
  return 0;
}
