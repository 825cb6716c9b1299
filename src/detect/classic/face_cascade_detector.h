// Frontal faces by a cascade of boosted Haar features (Viola and Jones, CVPR 2001; Lienhart's
// haarcascade_frontalface_alt2.xml), which Debian's opencv-data package holds.
//
// Confidence = n / (n + 3), where n is how many windows agreed on the face (at least 3).
// Cost: some 20 ms a picture of 768x576 on one core.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"
#include "detect/nms_choice.h"
#include "types/detector.h"

namespace sightline {

// `cascade_file` empty = where Debian's and OpenCV's own installations put it. NotFound with the
// package's name when it is not there; DataLoss when it cannot be read.
absl::StatusOr<DetectorFactory> MakeFaceCascadeDetectorFactory(
    std::optional<float> confidence, const NmsChoice& nms, const std::string& cascade_file = "");

}  // namespace sightline
