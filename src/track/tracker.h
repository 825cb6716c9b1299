// Multi-object tracking: detections of one camera in, objects that keep their identity out.
//
// In:   Detections of one camera, in the order of the frames. Boxes in px of the source picture;
//       boxes that are not finite or have no area are left out (TrackerStats::rejected_boxes).
// Out:  Tracks: the confirmed objects seen in this frame, in rising track_id. Boxes in the same px,
//       the tracker's estimate, not clipped.
//
// Threads: one thread at a time per instance; one instance per camera.
// Determinism: the same sequence of Detections gives the same tracks, ids and summaries, bit for
//       bit, on every x86-64 and Arm machine (double arithmetic without contraction, no wall clock).
// Memory: bounded by max_detections and max_tracks; nothing is allocated per frame after warm-up.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "base/uuid.h"
#include "types/detections.h"
#include "types/result_sink.h"
#include "types/tracks.h"

namespace sightline {

// Defaults are those of the reference's demo (ifzhang/ByteTrack tools/demo_track.py) where it has
// one.
struct TrackerOptions {
  // kNone: nothing is ever tracked; for pictures that are no film.
  enum class Kind : uint8_t { kByteTrack, kNone };
  Kind kind = Kind::kByteTrack;

  // Confidences are compared in float, as detectors give them.
  // Detections of at least this confidence take part in the first association.
  double track_threshold = 0.5;
  // Those between this and track_threshold may only continue a track.
  double low_threshold = 0.1;
  // What a new track needs; negative: track_threshold + 0.1, as the reference.
  double new_track_threshold = -1;
  // Greatest cost (1 - IoU x confidence) of the first association.
  double match_threshold = 0.8;
  // Greatest cost (1 - IoU) of the second, low-confidence association.
  double low_match_threshold = 0.5;
  // Greatest cost of the association of tentative tracks.
  double tentative_match_threshold = 0.7;

  // How long an object may stay unseen, in frames of a 30 frames/s stream: 30 is one second. The
  // engine measures it in stream time; the reference in frames: int(frame_rate / 30 * buffer).
  int track_buffer = 30;
  // The same in stream time, in its place when not 0. Not for reference_quirks.
  int64_t max_lost_us = 0;
  // Frames a second given to the tracker (after skipping), 0 when unknown. The engine predicts over
  // missing frames with it; the reference takes its buffer from it and needs it.
  double frame_rate = 30;

  // Frames with a matching detection after which a track counts (>= 1). The reference's is 2.
  int confirm_hits = 2;
  // Detections only match tracks of their class.
  bool class_aware = true;
  // Whether tracks may go on into a new epoch (a discontinuity of the stream). The time that passed
  // is then unknown and taken as one frame.
  bool link_epochs = false;

  // Ids equal to those of ifzhang/ByteTrack (yolox/tracker, commit d1bf0191): pixel-inclusive IoU
  // (+1), strict thresholds, tracks confirmed at once in the first frame, no prediction of
  // tentative tracks, time counted in updates, late removal of lost tracks, ties as its lists are
  // ordered. confirm_hits, class_aware, link_epochs and stream time have no meaning then.
  bool reference_quirks = false;

  // Bounds, chosen far above what detectors give (300 a frame). More detections in one frame are an
  // error; beyond max_tracks no track is started (TrackerStats::refused_tracks).
  int max_detections = 1000;
  int max_tracks = 2000;

  // Hash of the model and settings; part of every summary's id.
  Hash128 identity;
};

struct TrackerStats {
  uint64_t updates = 0;
  uint64_t rejected_boxes = 0;    // not finite, or without area
  uint64_t started_tracks = 0;    // ids given
  uint64_t confirmed_tracks = 0;  // reported at least once
  uint64_t refused_tracks = 0;    // not started because of max_tracks
  int live_tracks = 0;            // now: tentative, confirmed and lost
};

class Tracker {
 public:
  virtual ~Tracker() = default;

  // Takes the next frame; fills *tracks (items are cleared, capacity is reused). A frame without
  // detections must be given too; a frame that failed is left out, and the engine bridges the time.
  // Errors: InvalidArgument when the frame lies before the previous one of its epoch, or holds
  // more than max_detections; the frame is then as if it had not been there.
  virtual absl::Status Update(const Detections& detections, Tracks* tracks) = 0;

  // The stream ended: every live track is finished.
  virtual void Finish() = 0;

  // Appends the summaries of the confirmed tracks finished since the last call, in the order in
  // which they were given up. Call it after each Update: they are kept until then.
  virtual void TakeFinished(std::vector<TrackSummary>* finished) = 0;

  virtual const TrackerStats& stats() const = 0;
};

// InvalidArgument, naming the option and its range, when an option is impossible.
absl::StatusOr<std::unique_ptr<Tracker>> MakeTracker(const TrackerOptions& options);

}  // namespace sightline
