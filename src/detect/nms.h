// Non-maximum suppression: hard, soft with linear or Gaussian decay, or none but the best boxes.
//
// Hard (greedy): boxes are taken by falling confidence, equal ones in the order they came; a box is
// dropped when its IoU with an already kept box is strictly greater than iou_threshold
// (class-aware: a kept box of its own class). IoU is IntersectionOverUnion() of types/geometry.h,
// in float32 and continuous coordinates. Some references count pixels inclusively (width = x2 - x1
// + 1), which differs for pairs near the threshold only. Soft (Bodla et al., "Soft-NMS", ICCV 2017,
// arXiv 1704.04503): the best box is kept and takes the others' confidence down, by (1 - IoU) where
// IoU > iou_threshold (linear) or by exp(-IoU^2 / sigma) (Gaussian), until the best that is left is
// below `min_confidence`.
//
// Both forget boxes that cannot be results: a coordinate or confidence that is not finite, or no
// area. At most kMaxCandidates (hard) or kMaxSoftCandidates (soft) of the best boxes are looked at;
// settings.max_detections of the best results are given back.
//
// Cost: hard, 1,000 boxes of which 850 stay: see benchmarks/nms_bench.cc; O(n log n) where boxes
// are spread, O(n * kept / 8) where they all overlap. Soft: O(n * kept). The same results on every
// CPU (hard; soft linear). Threads: one at a time per instance. Nothing is allocated once the
// scratch has grown to the largest number of boxes seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "types/detections.h"
#include "types/model_spec.h"

namespace sightline {

class NonMaxSuppressor {
 public:
  static constexpr size_t kMaxCandidates = 30'000;     // bounds the time of a bad frame; chosen
  static constexpr size_t kMaxSoftCandidates = 3'000;  // the same, for the quadratic one; chosen

  // Reduces `detections` to what is kept, by falling confidence (after decay, for the soft ones).
  // min_confidence is where Soft-NMS stops; hard NMS has no use for it.
  void Run(const NmsSettings& settings, float min_confidence, std::vector<Detection>* detections);

  // Grows the scratch for that many boxes now instead of in Run().
  void Reserve(size_t boxes);

 private:
  void SortByConfidence(const std::vector<Detection>& detections);
  void RunHard(const NmsSettings& settings, std::vector<Detection>* detections);
  void KeepBest(const NmsSettings& settings, std::vector<Detection>* detections);
  void RunSoft(const NmsSettings& settings, float min_confidence,
               std::vector<Detection>* detections);
  void GrowScratch(size_t count);
  bool BuildGrid(size_t count, float iou_threshold);

  // Sort keys: falling confidence in the upper half, position in the lower.
  std::vector<uint64_t> keys_;
  std::vector<uint64_t> keys_spare_;
  std::vector<uint32_t> histogram_;
  // The boxes by falling confidence, one array per field.
  std::vector<float> fields_;
  std::vector<int32_t> classes_;
  // The kept boxes where the scan finds them, one array per field; free slots have x1 = +inf.
  std::vector<float> slots_;
  std::vector<int32_t> slot_classes_;
  // The grid over the boxes' centres: where each cell begins in the slots, each box's own slot, and
  // the ranges of slots that a box must be compared with.
  std::vector<uint32_t> cell_begin_;
  std::vector<uint32_t> slot_of_;
  std::vector<uint32_t> cell_of_;
  std::vector<uint16_t> window_;
  uint32_t columns_ = 0;
  std::vector<uint32_t> kept_;
  std::vector<Detection> result_;
};

}  // namespace sightline
