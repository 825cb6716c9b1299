// Whatever moves, by background subtraction: MOG2 (Zivkovic, ICPR 2004; OpenCV's
// BackgroundSubtractorMOG2) on a small copy of the picture, cleaned by morphology, one box per
// connected blob. No model file needed; for fixed cameras.
//
// Stateful: one instance per camera, every processed frame in order. Nothing is reported while the
// background is learnt (the first kWarmUpFrames, and after a change of the picture's size), nor
// when more than half of the picture changed at once: that is a cut, a light switched on or a moved
// camera. Shadows are not told apart. Blobs of less than 1/2,000 of the picture are noise.
// Confidence = 0.5 + 0.5 * the share of the box's pixels that moved.
// Cost: about 1 ms a picture on one core.
#pragma once

#include <optional>

#include "base/status.h"
#include "detect/nms_choice.h"
#include "types/detector.h"

namespace sightline {

absl::StatusOr<DetectorFactory> MakeMotionDetectorFactory(std::optional<float> confidence,
                                                          const NmsChoice& nms);

}  // namespace sightline
