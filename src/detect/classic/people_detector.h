// People by histograms of oriented gradients and a linear SVM (Dalal and Triggs, CVPR 2005), with
// the weights that OpenCV brings along: no model file needed.
//
// Finds upright, whole people of at least about 1/12 of the picture's longer side (64 px of 768).
// Confidence is a logistic function of the SVM's distance, fitted so that it is about the share of
// right boxes (measured: see people_detector.cc).
// Cost: some 150 ms a picture of any size on one core: a stand-in until there is a neural model.
#pragma once

#include <optional>

#include "base/status.h"
#include "detect/nms_choice.h"
#include "types/detector.h"

namespace sightline {

// Thresholds that are not given are the detector's own. InvalidArgument for impossible ones.
absl::StatusOr<DetectorFactory> MakePeopleDetectorFactory(std::optional<float> confidence,
                                                          const NmsChoice& nms);

}  // namespace sightline
