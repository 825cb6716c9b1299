// People by histograms of oriented gradients and a linear SVM (Dalal and Triggs, CVPR 2005), with
// the weights that OpenCV brings along: no model file needed.
//
// Finds upright, whole people from about 50 px of height in a 768 px wide picture. Confidence is
// 1 / (1 + exp(-(a * d + b))) of the SVM's distance d, with a and b fitted so that it is about the
// share of right boxes (see people_detector.cc for the measurement).
// Cost: 100 ms and more a picture on one core: a stand-in until there is a neural model.
#pragma once

#include <optional>

#include "base/status.h"
#include "types/detector.h"
#include "types/model_spec.h"

namespace sightline {

// Thresholds that are not given are the detector's own. InvalidArgument for impossible ones.
absl::StatusOr<DetectorFactory> MakePeopleDetectorFactory(std::optional<float> confidence,
                                                          std::optional<NmsSettings> nms);

}  // namespace sightline
