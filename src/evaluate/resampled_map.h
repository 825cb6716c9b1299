// Mean average precision over pictures that are counted several times or not at all, without
// matching boxes again: what a bootstrap over pictures asks a thousand times.
//
// MapOf() is DetectionReport::map of a DetectionAccuracy to which picture i was added times[i]
// times, wherever boxes of different pictures differ in confidence.
//
// Threads: reentrant. Memory: 8 bytes per box that counts.
// Cost: of MapOf() one pass over the boxes for each of the ten IoU thresholds.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "evaluate/detection_accuracy.h"

namespace sightline::evaluate {

class ResampledMap {
 public:
  // Of all pictures that `accuracy` has seen so far.
  explicit ResampledMap(const DetectionAccuracy& accuracy);

  size_t pictures() const { return pictures_; }
  // `times` is as long as there are pictures. Absent where none of them has truth.
  Share MapOf(std::span<const uint32_t> times) const;

 private:
  struct Box {
    uint32_t picture;
    uint16_t matched;  // a bit for each IoU threshold
    uint16_t ignored;
  };
  struct OneClass {
    std::vector<Box> boxes;  // by falling confidence
    std::vector<std::pair<uint32_t, uint32_t>> truth_of_pictures;
  };
  static double PrecisionOf(const OneClass& one, std::span<const uint32_t> times, int threshold,
                            double truth, std::vector<std::pair<double, double>>* curve);

  size_t pictures_ = 0;
  std::vector<OneClass> classes_;
};

}  // namespace sightline::evaluate
