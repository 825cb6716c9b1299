// Tracks in, events out: who entered and left zones, who crossed tripwires.
//
// Laws, each held by a property test:
//   - only confirmed tracks count, each at most once per real passage, however its box trembles
//     within the margin;
//   - entered - exited = occupancy, for every zone, in total and by class, after every frame;
//   - leaving out frames never adds an entry (with enter_frames and exit_frames of 1), nor a
//     crossing of a line that spans the way (between two sightings the way is taken as straight);
//   - the order of tracks within a frame changes nothing;
//   - the same input gives the same events with the same ids.
// A track that is out of sight for a while keeps its state; when it ended, or was not seen for
// CameraRules::forget_after_us, or its epoch ended, it leaves the zones it was in: an exit in the
// frame in which that was known, with the dwell until its last sighting.
//
// Threads: one at a time per instance; one instance per camera.
// Memory: state per track that was seen within forget_after_us, at most kMaxWatched tracks (further
// ones are not watched, and counted); nothing is allocated in a frame without events, after
// warm-up. Cost: about 30 ns per track and rule.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "events/line_rule.h"
#include "events/rules.h"
#include "events/zone_rule.h"
#include "types/event.h"
#include "types/result_sink.h"
#include "types/tracks.h"

namespace sightline {

class EventEngine {
 public:
  static constexpr size_t kMaxWatched = 10'000;  // chosen, far above what trackers keep

  // InvalidArgument, naming the rule and the mistake, when a rule is impossible.
  static absl::StatusOr<std::unique_ptr<EventEngine>> Create(const CameraRules& rules);

  // Takes the next frame's tracks (in any order), appends what happened to *events, by rising
  // track_id and then by rule, and sets *occupancy to the objects per zone, in the order of the
  // zones. `ended`: tracks that the tracker gave up since the last call; optional, exits come
  // sooner with it. Errors: InvalidArgument when the frame lies before the previous one or a track
  // is there twice; the frame is then as if it had not been there.
  absl::Status Update(const Tracks& tracks, std::vector<Event>* events,
                      std::vector<int32_t>* occupancy, std::span<const TrackSummary> ended = {});

  // The stream ended: everyone inside leaves, in the last frame. Appends and sets as Update does.
  void Finish(std::vector<Event>* events, std::vector<int32_t>* occupancy);

  // Other rules from the next frame, `next`, on. A rule that stays as it is, by all of its spec, keeps
  // its counts and knows who is inside; whoever is inside a zone that goes leaves it now (appended to
  // *events). InvalidArgument as Create() has it; nothing is changed then.
  absl::Status ChangeRules(const CameraRules& rules, const FrameMeta& next,
                           std::vector<Event>* events);

  const RuleCounts& counts() const { return counts_; }
  size_t watched_tracks() const { return records_.size(); }
  // Sightings of tracks beyond kMaxWatched.
  uint64_t unwatched_sightings() const { return unwatched_sightings_; }

 private:
  struct Record {
    TrackedObject last;  // its last confirmed sighting
    int64_t first_pts_us = 0;
    int64_t last_pts_us = 0;
    size_t slot = 0;  // of its states: slot * rules
  };

  explicit EventEngine(const CameraRules& rules);

  absl::Status OrderSightings(const Tracks& tracks);
  void SetScale(const FrameMeta& frame);
  PointF AnchorOf(const Box& box_px, AnchorPoint anchor) const;
  Record* RecordOf(const TrackedObject& object);
  void WatchZones(const Record& record, std::vector<Event>* events);
  void WatchLines(const Record& record, std::vector<Event>* events);
  void Enter(const Record& record, size_t zone, std::vector<Event>* events);
  void Exit(const Record& record, size_t zone, int64_t until_pts_us, std::vector<Event>* events);
  void End(const Record& record, std::vector<Event>* events);
  void EndAll(std::vector<Event>* events);
  void ForgetUnseen(std::vector<Event>* events);
  void SetOccupancy(std::vector<int32_t>* occupancy) const;
  Event MakeEvent(const Record& record, EventKind kind, const std::string& rule, AnchorPoint anchor,
                  CrossDirection direction) const;

  std::vector<ZoneRule> zones_;
  std::vector<LineRule> lines_;
  int width_ = 0;
  int height_ = 0;
  int64_t forget_after_us_ = 0;
  Hash128 identity_;
  RuleCounts counts_;
  uint64_t unwatched_sightings_ = 0;

  bool started_ = false;
  FrameMeta frame_;
  float scale_x_ = 1;
  float scale_y_ = 1;

  std::vector<Record> records_;  // by rising track_id
  std::vector<ZoneRule::State> zone_states_;
  std::vector<LineRule::State> line_states_;
  std::vector<size_t> free_slots_;
  size_t slots_ = 0;
  std::vector<const TrackedObject*> sightings_;  // of one frame, by rising track_id
};

}  // namespace sightline
