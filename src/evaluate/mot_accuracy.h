// How well objects were followed: CLEAR MOT, identity (IDF1) and HOTA.
//
// The rules are those of TrackEval on the 2D boxes of the MOTChallenge, its order of comparisons
// included; equality with TrackEval 1.3.0 is tested (tests/golden/evaluate). Where two matchings of
// a frame are equally good, which one is taken may differ from TrackEval's, and with it a count of
// id switches; real coordinates do not tie.
// Sources: Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR
// MOT Metrics", 2008; Ristani et al., "Performance Measures and a Data Set for Multi-Target,
// Multi-Camera Tracking", 2016; Luiten et al., "HOTA: A Higher Order Metric for Evaluating
// Multi-Object Tracking", 2021.
//
// Threads: one at a time. Memory: per box 24 bytes and per pair of boxes that overlap 16, bounded by
// max_pairs. Cost: per frame an assignment of its boxes, at the end one of all ids.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/assignment.h"
#include "base/status.h"
#include "evaluate/scored_box.h"

namespace sightline::evaluate {

enum class TruthRole : uint8_t {
  kCounts,     // to be found
  kExcuses,    // need not be found, and whoever finds it is not wrong (MOTChallenge: distractors)
  kLooksOnly,  // need not be found; a box there is wrong (MOTChallenge: other classes, marked 0)
};

struct TruthTrackBox {
  int64_t id = 0;
  PlacedBox box_px;
  TruthRole role = TruthRole::kCounts;
};

struct FoundTrackBox {
  int64_t id = 0;
  PlacedBox box_px;
};

// What one sequence, or several together, came to. Shares are 0 where there was nothing to divide.
struct MotReport {
  static constexpr int kAlphas = 19;  // of HOTA: IoU 0.05, 0.10 ... 0.95

  int64_t frames = 0;
  int64_t truth_boxes = 0;
  int64_t truth_ids = 0;
  int64_t found_boxes = 0;  // without the excused ones
  int64_t found_ids = 0;

  // CLEAR MOT, at IoU 0.5.
  int64_t matches = 0;
  int64_t misses = 0;
  int64_t false_boxes = 0;
  int64_t id_switches = 0;
  int64_t fragments = 0;
  int64_t mostly_tracked = 0;  // truth ids found in more than 80 % of their frames
  int64_t partly_tracked = 0;
  int64_t mostly_lost = 0;  // in less than 20 %
  double overlap_sum = 0;   // IoU of the matches
  double Mota() const;
  double Motp() const;  // mean IoU of the matches
  double Recall() const;
  double Precision() const;

  // Identity, at IoU 0.5.
  int64_t id_matches = 0;
  int64_t id_misses = 0;
  int64_t id_false = 0;
  double Idf1() const;
  double IdRecall() const;
  double IdPrecision() const;

  // HOTA, one value for each alpha; the association values are means over its matches.
  struct Hota {
    int64_t matches = 0;
    int64_t misses = 0;
    int64_t false_boxes = 0;
    double overlap_sum = 0;
    double association = 0;  // AssA
    double association_recall = 0;
    double association_precision = 0;
  };
  std::array<Hota, kAlphas> hota{};
  // Means over the alphas.
  double HotaMean() const;
  double DetA() const;
  double AssA() const;
  double LocA() const;
};

// All sequences as one, as TrackEval's COMBINED: sums of counts, association by matches.
MotReport Combine(std::span<const MotReport> sequences);

class MotAccuracy {
 public:
  static constexpr size_t kMostBoxesAFrame = 1000;

  explicit MotAccuracy(uint64_t max_pairs = 40'000'000) : max_pairs_(max_pairs) {}

  // One frame, in order. Frames without any box need not be added, but are not counted then.
  // Errors: InvalidArgument for an id that comes twice; ResourceExhausted beyond 1,000 boxes in the
  // frame or max_pairs. After an error the object is not to be used any more.
  absl::Status AddFrame(std::span<const TruthTrackBox> truth, std::span<const FoundTrackBox> found);

  // Of all frames so far.
  MotReport Report() const;

 private:
  struct Pair {     // of boxes of one frame that overlap
    int32_t truth;  // place in the frame
    int32_t found;
    double overlap;
  };
  struct Frame {  // first places in truth_ids_, found_ids_ and pairs_
    uint64_t truth_begin;
    uint64_t found_begin;
    uint64_t pairs_begin;
  };
  struct TruthState {
    int64_t boxes = 0;
    int64_t matched = 0;
    int64_t runs = 0;            // times it came to be tracked after a pause
    int32_t last_found = -1;     // that it was matched to last
    int32_t current_found = -1;  // in the frame before
  };

  absl::Status TakeExcused(std::span<const TruthTrackBox> truth,
                           std::span<const FoundTrackBox> found);
  void TakeFrame(std::span<const TruthTrackBox> truth, std::span<const FoundTrackBox> found);
  void ScoreClear(const Frame& frame);
  void ScoreIdentity(MotReport* report) const;
  void ScoreHota(MotReport* report) const;
  void ForEachFrame(
      const std::function<void(std::span<const int32_t> truth, std::span<const int32_t> found,
                               std::span<const Pair> pairs)>& take) const;

  const uint64_t max_pairs_;
  std::unordered_map<int64_t, int32_t> truth_index_;
  std::unordered_map<int64_t, int32_t> found_index_;
  std::vector<int64_t> found_count_;  // boxes of each found id
  std::vector<TruthState> truth_states_;
  std::vector<int32_t> tracked_before_;  // truth of the last frame that had boxes of both

  std::vector<Frame> frames_;
  std::vector<int32_t> truth_ids_;  // of every counted box, frame by frame
  std::vector<int32_t> found_ids_;
  std::vector<Pair> pairs_;

  Assignment assignment_;
  std::vector<char> excused_;  // of the frame's found boxes
  std::vector<int64_t> ids_;
  MotReport clear_;
};

}  // namespace sightline::evaluate
