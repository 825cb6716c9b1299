// ByteTrack: every detection box is associated, the unsure ones after the sure ones.
//
// Source: Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV
// 2022; with TrackerOptions::reference_quirks the ids of ifzhang/ByteTrack (commit d1bf0191).
// The engine's own way differs from that implementation in these points:
//   - IoU of continuous boxes; a confidence equal to a threshold counts as reaching it (in the
//     reference it belongs to neither group);
//   - objects of different classes are never confused (class_aware);
//   - time is the stream's: lost tracks end by stream time before they are compared, a gap is
//     predicted over frame by frame, an epoch ends every track unless link_epochs;
//   - a track must be seen confirm_hits times, in the first frame as in any other;
//   - a track once given up never comes back.
//
// Threads, determinism, memory: see tracker.h. Cost, with the events behind it: about 3 us a frame with
// 10 objects and 25 us with 50, measured by benchmarks/track_bench.
#pragma once

#include <limits>
#include <vector>

#include "base/assignment.h"
#include "track/box_filter.h"
#include "track/tracker.h"

namespace sightline {

class ByteTracker : public Tracker {
 public:
  // Use MakeTracker, which checks the options.
  explicit ByteTracker(const TrackerOptions& options);

  absl::Status Update(const Detections& detections, Tracks* tracks) override;
  void Finish() override;
  void TakeFinished(std::vector<TrackSummary>* finished) override;
  const TrackerStats& stats() const override { return stats_; }

 private:
  enum class Phase : uint8_t { kTracked, kLost, kGivenUp };

  struct Track {
    int64_t id = 0;
    Phase phase = Phase::kTracked;
    bool confirmed = false;
    bool given_up_before = false;  // reference: once given up, the next loss is final
    int32_t class_id = 0;
    float confidence = 0;
    float max_confidence = 0;
    int32_t detection = -1;
    int32_t hits = 0;
    uint64_t start_update = 0;
    uint64_t last_update = 0;
    int64_t last_clock_us = 0;
    FrameTime first;
    uint64_t first_ordinal = 0;
    Box first_box_px;
    // As it was reported last. A track that was dropped as a duplicate before its first report
    // never counts, or one object would count twice.
    FrameTime last;
    uint64_t last_ordinal = 0;
    Box last_box_px;
    int32_t reported_hits = 0;
    BoxFilter filter;
    BoxD box;  // the filter's, after the last change
  };

  // A detection that takes part.
  struct Candidate {
    BoxD box;
    double confidence = 0;  // as it enters the cost
    float reported = 0;     // as the detector gave it
    int32_t class_id = 0;
    int32_t index = -1;  // in Detections::items
  };

  absl::Status CheckFrame(const Detections& detections) const;
  void EnterFrame(const FrameMeta& frame);
  int StepsTo(const FrameTime& time) const;
  void RescaleTracks(const FrameMeta& frame);
  void GiveUpOld();
  void SortDetections(const std::vector<Detection>& items);
  void PredictTracks(int steps);
  // Compares slots with candidates; matches are in assignment_.
  void Associate(const std::vector<int32_t>& slots, const std::vector<Candidate>& candidates,
                 double limit, bool weigh_confidence);
  void Match(int32_t slot, const Candidate& candidate);
  void AssociateSure();
  void AssociateUnsure();
  void AssociateTentative();
  void StartTracks(const FrameMeta& frame);
  void StartTrack(const Candidate& candidate, const FrameMeta& frame);
  void UpdateLists();
  void GiveUpByUpdates();
  void DropDuplicates();
  double Overlap(const BoxD& a, const BoxD& b) const;
  int32_t TakeSlot();
  void Release(int32_t slot);
  void ReleaseAll();
  void Report(const FrameMeta& frame, Tracks* tracks);
  TrackSummary SummaryOf(const Track& track) const;

  const TrackerOptions options_;
  const double edge_px_;  // 1 for pixel-inclusive boxes, 0 for continuous ones
  const float sure_threshold_;
  const float unsure_threshold_;
  const float new_threshold_;
  const uint64_t lost_updates_;  // reference
  const int64_t lost_us_;        // engine
  TrackerStats stats_;

  std::shared_ptr<const CameraInfo> camera_;
  bool started_ = false;
  FrameTime time_;        // of the previous frame
  int64_t clock_us_ = 0;  // stream time that passed, also over linked epochs
  int width_ = 0;
  int height_ = 0;
  int64_t next_id_ = 1;

  // Tracks live in slots; lists hold slot numbers in the reference's order.
  std::vector<Track> slots_;
  std::vector<int32_t> free_slots_;
  std::vector<int32_t> tracked_;
  std::vector<int32_t> lost_;

  // Of one frame; kept for their capacity.
  std::vector<Candidate> sure_;
  std::vector<Candidate> unsure_;
  std::vector<Candidate> left_over_;  // sure ones without a partner
  std::vector<int32_t> pool_;
  std::vector<int32_t> unmatched_;
  std::vector<int32_t> tentative_;
  std::vector<int32_t> new_lost_;
  std::vector<int32_t> new_tracked_;
  std::vector<int32_t> refound_;
  std::vector<uint8_t> drop_a_;
  std::vector<uint8_t> drop_b_;
  Assignment assignment_;
  std::vector<TrackSummary> finished_;
};

}  // namespace sightline
