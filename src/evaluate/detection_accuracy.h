// How well boxes were found: average precision and recall as COCO defines them.
//
// The rules are those of pycocotools' COCOeval for boxes, to the last comparison: ten IoU
// thresholds from 0.5 to 0.95, precision read at 101 recalls, at most 100 boxes per picture and
// class in falling confidence, each of them matched to the truth with which it overlaps most (on a
// tie the later one), crowd regions that any number of boxes may lie in (overlap over the box's own
// area), and truth outside an area range ignored rather than missed.
// Source: Lin et al., "Microsoft COCO: Common Objects in Context", 2014; cocodataset.org's
// evaluation; equality with pycocotools 2.0.11 is tested (tests/golden/evaluate).
//
// Ignored truth (crowd or ignored) is never missed, and a box that finds it is neither right nor
// wrong.
// Threads: one at a time. Memory: 32 bytes per box that counts, bounded by max_boxes.
// Cost: per picture and class, boxes x truth x thresholds.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/status.h"
#include "evaluate/scored_box.h"

namespace sightline::evaluate {

struct TrueBox {
  PlacedBox box_px;
  int32_t class_id = 0;
  bool crowd = false;    // a region of many: any number of boxes may find it; ignored
  bool ignored = false;  // a single object that nobody needs to find
  // What the area ranges look at; negative: that of the box. (COCO: that of the outline.)
  double area_px2 = -1;
};

struct FoundBox {
  PlacedBox box_px;
  int32_t class_id = 0;
  double confidence = 0;  // any finite number; larger is surer
  // What the area ranges look at; negative: that of the box. (Masks: their own.)
  double area_px2 = -1;
};

// How much a found object is like a true one, in place of the overlap of their boxes: 0 to 1, by
// their positions in what is given to AddPicture.
using Similarity = std::function<double(size_t found, size_t truth)>;

// Absent where there was no truth to find.
using Share = std::optional<double>;

struct ClassAccuracy {
  int32_t class_id = 0;
  int64_t truth = 0;  // boxes to find, ignored ones left out
  int64_t found = 0;  // boxes that count: among the 100 best of their picture, not on ignored truth
  int64_t right = 0;  // of those, at IoU 0.5
  Share ap;           // mean over the IoU thresholds 0.5 to 0.95
  Share ap_50;
  Share ap_75;
  Share recall_50;  // of all boxes given
  // Where precision and recall at IoU 0.5 are in the best balance (greatest F1): at this confidence
  // and above.
  double best_f1 = 0;
  double best_f1_confidence = 0;
  // At IoU 0.5, read at the recalls 0, 0.01 ... 1; its mean is ap_50. Empty without truth.
  std::vector<double> precision_50;
};

struct DetectionReport {
  int64_t pictures = 0;
  // Means over the classes that have truth.
  Share map;  // IoU 0.5 to 0.95
  Share map_50;
  Share map_75;
  Share map_small;   // truth below 32 x 32 px
  Share map_medium;  // to 96 x 96 px
  Share map_large;   // beyond
  Share recall_1;    // mean recall with 1, 10 and 100 (or what counts at most) a picture and class
  Share recall_10;
  Share recall_100;
  Share recall_50;  // the last at IoU 0.5 and 0.75
  Share recall_75;
  Share recall_small;
  Share recall_medium;
  Share recall_large;
  std::vector<ClassAccuracy> classes;  // by rising class_id; those without truth and boxes left out
};

class DetectionAccuracy {
 public:
  static constexpr int kThresholds = 10;
  static constexpr int kAreaRanges = 4;  // all, small, medium, large
  static constexpr size_t kMostBoxesAPicture = 100;

  // `boxes_a_picture`: of one class, the surest; COCO takes 20 where objects are key points.
  explicit DetectionAccuracy(uint64_t max_boxes = 50'000'000,
                             size_t boxes_a_picture = kMostBoxesAPicture)
      : max_boxes_(max_boxes), boxes_a_picture_(boxes_a_picture) {}

  // One picture. Boxes of equal confidence count in the order in which they are added, pictures
  // included: pycocotools takes pictures by rising image id.
  // Errors: InvalidArgument for a number that is not finite; ResourceExhausted beyond max_boxes, and
  // beyond 10,000 true boxes of one class in a picture.
  absl::Status AddPicture(std::span<const TrueBox> truth, std::span<const FoundBox> found);
  // The same with another measure of likeness than the overlap of the boxes; of crowds, too.
  absl::Status AddPicture(std::span<const TrueBox> truth, std::span<const FoundBox> found,
                          const Similarity& similarity);

  // Of all pictures so far.
  DetectionReport Report() const;

 private:
  friend class ResampledMap;  // counts pictures several times
  // One found box: what became of it at each threshold, a bit each.
  struct Outcome {
    double confidence;
    std::array<uint16_t, kAreaRanges> matched;
    std::array<uint16_t, kAreaRanges> ignored;
    uint16_t rank;  // within its picture and class
    uint32_t picture;
  };
  struct PerClass {
    std::vector<Outcome> outcomes;
    std::array<int64_t, kAreaRanges> truth{};                      // to be found
    std::vector<std::pair<uint32_t, uint32_t>> truth_of_pictures;  // of all areas: picture, count
  };
  // Average precision and recall of one class, area range and threshold.
  struct Curve {
    double precision = 0;
    double recall = 0;
    std::vector<double> at_recalls;
  };

  // Fills overlap_; by `similarity` where there is one, of positions from those first elements on.
  void Compare(std::span<const TrueBox* const> truth, std::span<const FoundBox* const> found,
               const Similarity& similarity, const TrueBox* first_truth,
               const FoundBox* first_found);
  void Match(std::span<const TrueBox* const> truth, std::span<const FoundBox* const> found,
             PerClass* into);
  void MatchRange(std::span<const TrueBox* const> truth, std::span<const FoundBox* const> found,
                  int range, std::span<Outcome> outcomes, PerClass* into);
  static Curve CurveOf(const PerClass& of, std::span<const uint32_t> order, int range,
                       int threshold, size_t boxes_a_picture);
  static std::vector<uint32_t> ByConfidence(const PerClass& of);
  static void DescribeAtHalf(const PerClass& of, std::span<const uint32_t> order,
                             ClassAccuracy* into);

  const uint64_t max_boxes_;
  const size_t boxes_a_picture_;
  uint64_t boxes_ = 0;
  int64_t pictures_ = 0;
  std::map<int32_t, PerClass> classes_;
  std::vector<double> overlap_;  // found x truth of one picture and class
};

}  // namespace sightline::evaluate
