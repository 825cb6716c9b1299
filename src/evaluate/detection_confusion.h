// Which classes a detector takes for which: found boxes against true ones of any class.
//
// Boxes below the least confidence are left out; the others are paired with truth by falling overlap,
// whatever their classes, from the least IoU on, each once. What is not paired was found where nothing
// is, or missed. Ignored truth and crowds take up boxes without counting.
// Threads: one at a time. Cost: per picture, boxes x truth.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <utility>

#include "evaluate/detection_accuracy.h"

namespace sightline::evaluate {

class DetectionConfusion {
 public:
  static constexpr int32_t kNothing = -1;

  // Both chosen as people look at such matrices (Ultralytics draws its own at 0.25 and 0.45).
  explicit DetectionConfusion(double least_confidence = 0.25, double least_iou = 0.5)
      : least_confidence_(least_confidence), least_iou_(least_iou) {}

  void AddPicture(std::span<const TrueBox> truth, std::span<const FoundBox> found);

  // By (class of the truth, class found); kNothing: found where nothing is, or missed.
  const std::map<std::pair<int32_t, int32_t>, int64_t>& counts() const { return counts_; }
  double least_confidence() const { return least_confidence_; }

 private:
  const double least_confidence_;
  const double least_iou_;
  std::map<std::pair<int32_t, int32_t>, int64_t> counts_;
};

}  // namespace sightline::evaluate
