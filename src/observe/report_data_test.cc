#include "observe/report_data.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>

#include "observe/report_chart.h"
#include "observe/synthetic_scene.h"

namespace sightline {
namespace {

TEST(CountsOverTime, WideningKeepsEverySum) {
  CountsOverTime counts;
  double objects = 0;
  for (int64_t second = 0; second < 8 * 3600; second += 3) {
    counts.Add(second * 1'000'000, {static_cast<uint32_t>(second % 5), 1});
    objects += static_cast<double>(second % 5);
  }
  EXPECT_LE(counts.buckets(), CountsOverTime::kMaxBuckets);
  EXPECT_GE(counts.buckets(), CountsOverTime::kMaxBuckets / 4);
  double sum = 0;
  double frames = 0;
  for (size_t i = 0; i < counts.buckets(); ++i) {
    sum += counts.Mean(i, 0) * counts.frames(i);
    frames += counts.frames(i);
    EXPECT_EQ(counts.Mean(i, 1), counts.frames(i) > 0 ? 1 : 0);
  }
  EXPECT_NEAR(sum, objects, 1e-6);
  EXPECT_EQ(frames, 9600);
  EXPECT_EQ(counts.Mean(0, 77), 0) << "a class that never came";
}

TEST(CountsOverTime, AnyJumpInTimeIsBounded) {
  CountsOverTime counts;
  counts.Add(0, {1});
  counts.Add(std::numeric_limits<int64_t>::max() / 2, {1});
  EXPECT_LE(counts.buckets(), CountsOverTime::kMaxBuckets);
}

TEST(ReportData, CountsWhatItSaw) {
  const SyntheticScene scene(640, 480, 6, 2);
  ReportData data({});
  for (uint64_t i = 0; i < 1000; ++i) data.Add(scene.Frame(i, false));
  for (int64_t id = 1; id <= 30; ++id) data.AddTrack(scene.Track(id));
  EXPECT_EQ(data.frames(), 1000u);
  EXPECT_EQ(data.tracks(), 30u);
  EXPECT_EQ(data.peak_objects(), 6u);
  EXPECT_EQ(data.duration_us(), 40'000'000);
  ASSERT_EQ(data.class_ids().size(), 2u);
  EXPECT_EQ(data.tracks_per_class()[0], 15u);
  EXPECT_EQ(data.ClassName(1), "class 1");
  const uint64_t sightings = std::accumulate(data.grid().begin(), data.grid().end(), uint64_t{0});
  EXPECT_EQ(sightings, 6000u);
  EXPECT_FALSE(data.LongestTrails(10).empty());
}

TEST(ReportData, TrailsAreBoundedAndKeepTheLongWays) {
  ReportData data({});
  FrameResult frame = SyntheticScene(1000, 1000, 1, 1).Frame(0, false);
  TrackedObject walker = frame.tracks.items[0];
  for (uint64_t i = 0; i < 3000; ++i) {
    frame.frame.meta.ordinal = i;
    walker.track_id = 1;  // walks all the time
    walker.box_px = {static_cast<float>(i % 900), 100, static_cast<float>(i % 900 + 50), 200};
    frame.tracks.items = {walker};
    walker.track_id = static_cast<int64_t>(i) + 2;  // is seen once
    frame.tracks.items.push_back(walker);
    data.Add(frame);
  }
  const auto trails = data.LongestTrails(1000);
  ASSERT_EQ(trails.size(), 1u) << "a point is no way";
  EXPECT_EQ(trails[0]->track_id, 1);
  EXPECT_EQ(trails[0]->sightings, 3000u);
  EXPECT_LE(trails[0]->points_px.size(), ReportData::kMaxTrailPoints);
  EXPECT_GE(trails[0]->points_px.size(), ReportData::kMaxTrailPoints / 2);
}

TEST(ReportData, ManyClassesEndInOne) {
  ReportData data({});
  const SyntheticScene scene(640, 480, 200, 200);
  data.Add(scene.Frame(0, false));
  EXPECT_EQ(data.class_ids().size(), ReportData::kMaxClasses);
  EXPECT_EQ(data.ClassName(ReportData::kMaxClasses - 1), "others");
  EXPECT_EQ(data.over_time().Mean(0, ReportData::kMaxClasses - 1), 200 - 63);
}

TEST(ReportData, TheFrameWithMostObjectsIsKept) {
  ReportData data({});
  for (const int objects : {2, 5, 3}) {
    const SyntheticScene scene(64, 48, objects, 1);
    FrameResult frame = scene.Frame(100);
    frame.frame.meta.time.capture_utc_us += objects;
    data.Add(frame);
    EXPECT_EQ(data.WantsPicture(), objects != 3);
    if (data.WantsPicture()) data.KeepPicture(std::vector<uint8_t>(64 * 48 * 3), 64, 48);
  }
  EXPECT_EQ(data.picture().objects.size(), 5u);
}

TEST(ReportData, TalliesOfLinesAndZones) {
  ReportData data({{"gate", {{0, 0}, {10, 10}}, true},
                   {"hall", {{0, 0}, {10, 0}, {10, 10}}, false},
                   {"yard", {{0, 0}, {10, 0}, {10, 10}}, false}});
  FrameResult frame = SyntheticScene(64, 48, 1, 1).Frame(0, false);
  frame.zone_occupancy = {2, 7};
  Event event;
  event.kind = EventKind::kLineCross;
  event.rule = "gate";
  event.direction = CrossDirection::kBackward;
  frame.events.push_back(event);
  event.kind = EventKind::kZoneEnter;
  event.rule = "yard";
  frame.events.push_back(event);
  event.rule = "unknown";
  frame.events.push_back(event);
  data.Add(frame);
  FrameResult end;
  end.frame.meta = frame.frame.meta;
  end.end_of_stream = true;
  event.kind = EventKind::kZoneExit;
  event.rule = "yard";
  event.dwell_us = 5'000'000;
  end.events.push_back(event);
  data.Add(end);
  EXPECT_EQ(data.frames(), 1u);
  EXPECT_EQ(data.events(), 4u);
  EXPECT_EQ(data.tallies()[0].backward, 1u);
  EXPECT_EQ(data.tallies()[1].peak, 2);
  EXPECT_EQ(data.tallies()[2].peak, 7);
  EXPECT_EQ(data.tallies()[2].entered, 1u);
  EXPECT_EQ(data.tallies()[2].exited, 1u);
  EXPECT_EQ(data.tallies()[2].dwell_us, 5'000'000);
}

TEST(ReportChart, TicksThatPeopleCountIn) {
  EXPECT_EQ(NiceStep(10, 5), 2);
  EXPECT_EQ(NiceStep(60, 5), 20);
  EXPECT_EQ(NiceStep(1, 5), 0.2);
  EXPECT_EQ(NiceStep(0, 5), 1);
  EXPECT_EQ(NiceTimeStepUs(60'000'000, 12), 5'000'000);
  EXPECT_EQ(NiceTimeStepUs(8 * 3'600'000'000, 10), 3'600'000'000);
  EXPECT_EQ(NiceTimeStepUs(365 * 86'400'000'000, 10), 50 * 86'400'000'000);
  EXPECT_EQ(FormatStreamTime(42'900'000), "0:42");
  EXPECT_EQ(FormatStreamTime(3'723'000'000), "1:02:03");
  EXPECT_EQ(FormatStreamTime(-5), "0:00");
}

}  // namespace
}  // namespace sightline
