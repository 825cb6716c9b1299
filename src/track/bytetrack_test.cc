#include "track/bytetrack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>
#include <limits>
#include <map>
#include <random>
#include <set>

namespace sightline {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kFrameUs = 33'333;

// Fixed seed, unless RC_PARAMS says otherwise.
const int kSeeded = setenv("RC_PARAMS", "seed=20230817 max_success=150", 0);

Detection Person(float x, float y, float confidence = 0.9f, int32_t class_id = 0) {
  return {{x, y, x + 40, y + 100}, confidence, class_id};
}

class Stream {
 public:
  explicit Stream(TrackerOptions options = {}) {
    auto tracker = MakeTracker(options);
    EXPECT_TRUE(tracker.ok()) << tracker.status();
    tracker_ = std::move(*tracker);
    frame_.camera = std::make_shared<CameraInfo>(CameraInfo{"gate", "test", 0});
    frame_.width = 1280;
    frame_.height = 720;
  }

  // The tracks of the next frame.
  const std::vector<TrackedObject>& See(std::vector<Detection> items) {
    Detections detections;
    frame_.time.capture_utc_us = 1'700'000'000'000'000 + frame_.time.pts_us;
    detections.frame = frame_;
    detections.items = std::move(items);
    const absl::Status status = tracker_->Update(detections, &tracks_);
    EXPECT_TRUE(status.ok()) << status;
    frame_.time.pts_us += kFrameUs;
    ++frame_.ordinal;
    tracker_->TakeFinished(&finished_);
    return tracks_.items;
  }
  std::vector<int64_t> Ids(std::vector<Detection> items) {
    std::vector<int64_t> ids;
    for (const TrackedObject& object : See(std::move(items))) ids.push_back(object.track_id);
    return ids;
  }
  void Finish() {
    tracker_->Finish();
    tracker_->TakeFinished(&finished_);
  }
  void Wait(int64_t us) { frame_.time.pts_us += us; }
  FrameMeta& frame() { return frame_; }
  Tracker& tracker() { return *tracker_; }
  const std::vector<TrackSummary>& finished() const { return finished_; }

 private:
  std::unique_ptr<Tracker> tracker_;
  FrameMeta frame_;
  Tracks tracks_;
  std::vector<TrackSummary> finished_;
};

TEST(ByteTrack, ConfirmsOnTheSecondSighting) {
  Stream stream;
  EXPECT_THAT(stream.Ids({Person(100, 100)}), IsEmpty());
  const auto& tracks = stream.See({Person(900, 50, 0.3f), Person(102, 100)});
  ASSERT_EQ(tracks.size(), 1u);
  EXPECT_EQ(tracks[0].track_id, 1);
  EXPECT_EQ(tracks[0].state, TrackState::kConfirmed);
  EXPECT_EQ(tracks[0].detection, 1);
  EXPECT_EQ(tracks[0].hits, 2);
  EXPECT_EQ(tracks[0].first_ordinal, 0u);
  EXPECT_NEAR(tracks[0].box_px.x1, 102, 1);
}

TEST(ByteTrack, ConfirmHitsIsTheCallersToChoose) {
  TrackerOptions options;
  options.confirm_hits = 1;
  EXPECT_THAT(Stream(options).Ids({Person(100, 100)}), ElementsAre(1));
  options.confirm_hits = 4;
  Stream slow(options);
  for (int i = 0; i < 3; ++i) EXPECT_THAT(slow.Ids({Person(100, 100)}), IsEmpty());
  EXPECT_THAT(slow.Ids({Person(100, 100)}), ElementsAre(1));
}

TEST(ByteTrack, LowConfidenceContinuesButNeverStarts) {
  Stream stream;
  for (int i = 0; i < 5; ++i) EXPECT_THAT(stream.Ids({Person(600, 100, 0.45f)}), IsEmpty());
  stream.See({Person(100, 100)});
  stream.See({Person(100, 100)});
  EXPECT_THAT(stream.Ids({Person(101, 100, 0.2f)}), ElementsAre(1));
  EXPECT_THAT(stream.Ids({Person(101, 100, 0.05f)}), IsEmpty()) << "below low_threshold";
  EXPECT_EQ(stream.tracker().stats().started_tracks, 1u);
}

TEST(ByteTrack, AConfidenceEqualToTheThresholdCounts) {
  TrackerOptions options;
  options.new_track_threshold = 0.5;
  Stream stream(options);
  stream.See({Person(100, 100, 0.5f)});
  EXPECT_THAT(stream.Ids({Person(100, 100, 0.5f)}), ElementsAre(1));
  options.reference_quirks = true;
  EXPECT_THAT(Stream(options).Ids({Person(100, 100, 0.5f)}), IsEmpty())
      << "neither sure nor unsure";
}

TEST(ByteTrack, ComesBackWithinTheBuffer) {
  Stream stream;
  float x = 100;
  for (int i = 0; i < 10; ++i, x += 4) stream.See({Person(x, 100)});
  for (int i = 0; i < 29; ++i, x += 4) EXPECT_THAT(stream.Ids({}), IsEmpty());
  EXPECT_THAT(stream.Ids({Person(x, 100)}), ElementsAre(1));
  EXPECT_THAT(stream.finished(), IsEmpty());
}

TEST(ByteTrack, EndsAfterTheBuffer) {
  Stream stream;
  for (int i = 0; i < 10; ++i) stream.See({Person(100, 100)});
  for (int i = 0; i < 31; ++i) stream.See({});
  EXPECT_EQ(stream.finished().size(), 1u);
  EXPECT_EQ(stream.tracker().stats().live_tracks, 0);
  stream.See({Person(100, 100)});
  EXPECT_THAT(stream.Ids({Person(100, 100)}), ElementsAre(2));
}

TEST(ByteTrack, TheBufferIsStreamTimeNotFrames) {
  TrackerOptions options;
  options.max_lost_us = 5'000'000;
  Stream patient(options);
  Stream stream;
  for (Stream* s : {&patient, &stream}) {
    for (int i = 0; i < 3; ++i) s->See({Person(100, 100)});
    s->Wait(2'000'000);  // nothing moved, so no frame was given
    s->See({Person(100, 100)});
  }
  EXPECT_THAT(patient.Ids({Person(100, 100)}), ElementsAre(1));
  EXPECT_THAT(stream.Ids({Person(100, 100)}), ElementsAre(2));
  // A camera of a frame in two seconds still keeps its tracks from frame to frame.
  options = {};
  options.frame_rate = 0.5;
  Stream slow(options);
  for (int i = 0; i < 2; ++i) {
    slow.See({Person(100, 100)});
    slow.Wait(2'000'000);
  }
  EXPECT_THAT(slow.Ids({Person(100, 100)}), ElementsAre(1));
}

TEST(ByteTrack, PredictsOverMissingFrames) {
  Stream stream;
  float x = 100;
  for (int i = 0; i < 20; ++i, x += 12) stream.See({Person(x, 100)});
  // Five frames failed; the object went on by 60 px, more than its width.
  stream.Wait(5 * kFrameUs);
  x += 60;
  EXPECT_THAT(stream.Ids({Person(x, 100)}), ElementsAre(1));
}

TEST(ByteTrack, EpochsDoNotMixUnlessLinked) {
  TrackerOptions options;
  options.link_epochs = true;
  Stream linked(options);
  Stream stream;
  for (Stream* s : {&linked, &stream}) {
    for (int i = 0; i < 3; ++i) s->See({Person(100, 100)});
    s->frame().time.epoch = 1;
    s->frame().time.pts_us = 0;
    s->See({Person(100, 100)});
  }
  EXPECT_THAT(linked.Ids({Person(100, 100)}), ElementsAre(1));
  EXPECT_THAT(stream.Ids({Person(100, 100)}), ElementsAre(2));
  ASSERT_EQ(stream.finished().size(), 1u);
  EXPECT_EQ(stream.finished()[0].last.epoch, 0u);
}

TEST(ByteTrack, ClassesDoNotMixUnlessAllowed) {
  TrackerOptions options;
  options.class_aware = false;
  Stream mixed(options);
  Stream stream;
  for (Stream* s : {&mixed, &stream}) {
    for (int i = 0; i < 3; ++i) s->See({Person(100, 100, 0.9f, 1)});
    s->See({Person(100, 100, 0.95f, 2)});
  }
  EXPECT_THAT(mixed.Ids({Person(100, 100, 0.9f, 2)}), ElementsAre(1));
  EXPECT_EQ(mixed.See({Person(100, 100, 0.9f, 2)})[0].class_id, 2) << "of its surest sighting";
  EXPECT_THAT(stream.Ids({Person(100, 100, 0.9f, 2)}), ElementsAre(2));
}

TEST(ByteTrack, FollowsAChangedResolution) {
  Stream stream;
  for (int i = 0; i < 3; ++i) stream.See({Person(600, 300)});
  stream.frame().width = 640;
  stream.frame().height = 360;
  EXPECT_THAT(stream.Ids({{{300, 150, 320, 200}, 0.9f, 0}}), ElementsAre(1));
}

TEST(ByteTrack, SummariesTellTheTrack) {
  TrackerOptions options;
  options.identity = {5, 6};
  Stream stream(options);
  stream.See({});
  stream.See({Person(100, 100, 0.7f)});
  stream.See({Person(110, 100, 0.95f)});
  stream.See({Person(120, 100, 0.8f), Person(700, 100)});
  stream.Finish();
  ASSERT_EQ(stream.finished().size(), 1u) << "the tentative one never was a track";
  const TrackSummary& track = stream.finished()[0];
  EXPECT_EQ(track.track_id, 1);
  EXPECT_EQ(track.camera->id, "gate");
  EXPECT_EQ(track.first_ordinal, 1u);
  EXPECT_EQ(track.last_ordinal, 3u);
  EXPECT_EQ(track.first.pts_us, kFrameUs);
  EXPECT_EQ(track.last.pts_us, 3 * kFrameUs);
  EXPECT_EQ(track.hits, 3);
  EXPECT_FLOAT_EQ(track.max_confidence, 0.95f);
  EXPECT_EQ(track.first_box_px, Person(100, 100).box_px);
  EXPECT_NE(track.id, Uuid());
}

TEST(ByteTrack, BadInputIsRefusedOrLeftOut) {
  Stream stream;
  stream.See({Person(100, 100)});
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  EXPECT_THAT(stream.Ids({{{kNan, 0, 10, 10}, 0.9f, 0},
                          {{0, 0, kInf, 10}, 0.9f, 0},
                          {{0, 0, 10, 1e30f}, 0.9f, 0},
                          {{10, 10, 10, 20}, 0.9f, 0},
                          {{20, 10, 10, 20}, 0.9f, 0},
                          {{0, 0, 10, 10}, kNan, 0},
                          Person(100, 100, 7.0f)}),
              ElementsAre(1));
  EXPECT_EQ(stream.tracker().stats().rejected_boxes, 6u);

  Detections detections;
  detections.frame = stream.frame();
  Tracks tracks;
  detections.items.resize(1001, Person(1, 1));
  EXPECT_EQ(stream.tracker().Update(detections, &tracks).code(),
            absl::StatusCode::kInvalidArgument);
  detections.items.clear();
  detections.frame.time.pts_us = 0;
  EXPECT_FALSE(stream.tracker().Update(detections, &tracks).ok());
  EXPECT_THAT(stream.Ids({Person(100, 100)}), ElementsAre(1)) << "as if they had not been there";
}

TEST(ByteTrack, TracksAreBounded) {
  TrackerOptions options;
  options.max_tracks = 2;
  Stream stream(options);
  const std::vector<Detection> three = {Person(0, 0), Person(200, 0), Person(400, 0)};
  stream.See(three);
  EXPECT_THAT(stream.Ids(three), ElementsAre(1, 2));
  EXPECT_EQ(stream.tracker().stats().refused_tracks, 2u);
}

TEST(ByteTrack, ImpossibleOptionsAreNamed) {
  const auto error = [](auto change) {
    TrackerOptions options;
    change(options);
    return std::string(MessageOf(MakeTracker(options).status()));
  };
  using ::testing::HasSubstr;
  EXPECT_THAT(error([](auto& o) { o.track_threshold = 1.5; }), HasSubstr("track_threshold is 1.5"));
  EXPECT_THAT(error([](auto& o) { o.match_threshold = std::nan(""); }), HasSubstr("match_thre"));
  EXPECT_THAT(error([](auto& o) { o.frame_rate = -1; }), HasSubstr("frame_rate"));
  EXPECT_THAT(error([](auto& o) { o.confirm_hits = 0; }), HasSubstr("confirm_hits"));
  EXPECT_THAT(error([](auto& o) {
                o.reference_quirks = true;
                o.frame_rate = 0;
              }),
              HasSubstr("needs a frame_rate"));
}

TEST(ByteTrackReference, FirstFrameConfirmsAtOnce) {
  TrackerOptions options;
  options.reference_quirks = true;
  Stream stream(options);
  EXPECT_THAT(stream.Ids({Person(100, 100)}), ElementsAre(1));
  EXPECT_THAT(stream.Ids({Person(100, 100), Person(500, 100)}), ElementsAre(1));
  EXPECT_THAT(stream.Ids({Person(100, 100), Person(500, 100)}), ElementsAre(1, 2));
}

// Objects on random ways, with misses, false alarms and changing confidence.
std::vector<std::vector<Detection>> GenScene() {
  std::mt19937 random(*rc::gen::arbitrary<uint32_t>());
  const auto uniform = [&](double low, double high) {
    return static_cast<float>(low + (high - low) * (static_cast<double>(random() % 10001) / 1e4));
  };
  struct Walker {
    float x, y, vx, vy;
  };
  std::vector<Walker> walkers;
  const int count = *rc::gen::inRange(1, 15);
  for (int i = 0; i < count; ++i) {
    walkers.push_back({uniform(0, 600), uniform(0, 400), uniform(-6, 6), uniform(-2, 2)});
  }
  std::vector<std::vector<Detection>> frames(60);
  for (auto& frame : frames) {
    for (Walker& w : walkers) {
      w.x += w.vx;
      w.y += w.vy;
      if (random() % 8 == 0) continue;
      frame.push_back(Person(w.x + uniform(-2, 2), w.y + uniform(-2, 2), uniform(0.05, 1),
                             static_cast<int32_t>(random() % 20 == 0)));
    }
    if (random() % 3 == 0) frame.push_back(Person(uniform(0, 600), uniform(0, 400), uniform(0, 1)));
  }
  return frames;
}

TrackerOptions GenOptions() {
  TrackerOptions options;
  options.reference_quirks = *rc::gen::arbitrary<bool>();
  options.class_aware = *rc::gen::arbitrary<bool>();
  options.confirm_hits = *rc::gen::inRange(1, 4);
  options.track_buffer = *rc::gen::inRange(0, 40);
  return options;
}

// What holds for every output, whatever comes in.
RC_GTEST_PROP(ByteTrackLaws, OutputsAreSound, ()) {
  const auto scene = GenScene();
  const TrackerOptions options = GenOptions();
  Stream stream(options);
  std::map<int64_t, std::pair<uint64_t, int32_t>> known;  // first ordinal, hits
  for (size_t i = 0; i < scene.size(); ++i) {
    int64_t previous = 0;
    std::set<int32_t> used;
    for (const TrackedObject& object : stream.See(scene[i])) {
      RC_ASSERT(object.track_id > previous);
      previous = object.track_id;
      RC_ASSERT(object.state == TrackState::kConfirmed);
      RC_ASSERT(object.detection >= 0);
      RC_ASSERT(static_cast<size_t>(object.detection) < scene[i].size());
      RC_ASSERT(used.insert(object.detection).second);
      const Detection& detection = scene[i][static_cast<size_t>(object.detection)];
      RC_ASSERT(object.confidence == detection.confidence);
      RC_ASSERT(IntersectionOverUnion(object.box_px, detection.box_px) > 0);
      if (options.class_aware && !options.reference_quirks) {
        RC_ASSERT(object.class_id == detection.class_id);
      }
      const auto [entry, is_new] =
          known.try_emplace(object.track_id, object.first_ordinal, object.hits);
      if (!is_new) {
        RC_ASSERT(entry->second.first == object.first_ordinal);
        RC_ASSERT(object.hits == entry->second.second + 1);
        entry->second.second = object.hits;
      } else if (!options.reference_quirks) {
        RC_ASSERT(object.hits == options.confirm_hits);
      }
    }
  }
  stream.Finish();
  std::set<Uuid> ids;
  std::set<int64_t> finished;
  for (const TrackSummary& track : stream.finished()) {
    RC_ASSERT(ids.insert(track.id).second);
    RC_ASSERT(finished.insert(track.track_id).second);
    RC_ASSERT(known.at(track.track_id).second == track.hits);
    RC_ASSERT(known.at(track.track_id).first == track.first_ordinal);
  }
  RC_ASSERT(finished.size() == known.size());
  RC_ASSERT(stream.tracker().stats().confirmed_tracks == known.size());
}

RC_GTEST_PROP(ByteTrackLaws, SameInputSameOutput, ()) {
  const auto scene = GenScene();
  const TrackerOptions options = GenOptions();
  Stream a(options);
  Stream b(options);
  for (const auto& frame : scene) {
    const auto& first = a.See(frame);
    const auto& second = b.See(frame);
    RC_ASSERT(first.size() == second.size());
    for (size_t i = 0; i < first.size(); ++i) {
      RC_ASSERT(first[i].track_id == second[i].track_id);
      RC_ASSERT(first[i].box_px == second[i].box_px);
    }
  }
}

// Objects that never come near each other cannot be confused, in whatever order they are listed.
RC_GTEST_PROP(ByteTrackLaws, ApartStaysApart, ()) {
  std::mt19937 random(*rc::gen::arbitrary<uint32_t>());
  Stream stream;
  std::map<int64_t, float> row_of_track;
  std::vector<float> rows;
  for (int i = 0; i < *rc::gen::inRange(2, 12); ++i) rows.push_back(static_cast<float>(i) * 200);
  for (int frame = 0; frame < 40; ++frame) {
    std::vector<Detection> items;
    for (const float y : rows) {
      if (random() % 6 != 0) items.push_back(Person(static_cast<float>(frame) * 3, y));
    }
    std::shuffle(items.begin(), items.end(), random);
    for (const TrackedObject& object : stream.See(items)) {
      const float y = items[static_cast<size_t>(object.detection)].box_px.y1;
      RC_ASSERT(row_of_track.try_emplace(object.track_id, y).first->second == y);
    }
  }
}

TEST(NoTracker, FollowsNothing) {
  TrackerOptions options;
  options.kind = TrackerOptions::Kind::kNone;
  const std::unique_ptr<Tracker> tracker = *MakeTracker(options);
  Detections detections;
  detections.items = {Person(10, 10), Person(200, 10)};
  Tracks tracks;
  std::vector<TrackSummary> finished;
  for (detections.frame.ordinal = 0; detections.frame.ordinal < 5; ++detections.frame.ordinal) {
    ASSERT_TRUE(tracker->Update(detections, &tracks).ok());
    EXPECT_THAT(tracks.items, IsEmpty());
    EXPECT_EQ(tracks.frame.ordinal, detections.frame.ordinal);
  }
  tracker->Finish();
  tracker->TakeFinished(&finished);
  EXPECT_THAT(finished, IsEmpty());
}

}  // namespace
}  // namespace sightline
