// The truth of simulated cameras as a detector: `--model truth`, or with made-up faults
// `--model 'truth?miss=0.1&noise=2px&false=0.05'`.
//
//   miss=0..1      the probability with which an object is not found in a frame (0)
//   noise=0..50px  how far each edge of a box is off, at most; small errors are likelier (0)
//   false=0..1     the probability of a box where nothing is, per frame (0)
//   visible=0..1   objects of which less is visible are not found (0: hidden ones are, too)
//
// Confidence: 0.7 + 0.3 * visible fraction; false boxes 0.3 to 0.8. Classes: person, bicycle, car,
// numbered as in COCO. Chance comes from the scene's seed, the scene's time and the object's id, so
// that the same frame has the same boxes in every run.
//
// A frame without truth (of anything but a simulated camera) is an error of that frame.
//
// Threads: as Detector. Cost: nanoseconds an object; nothing is allocated after warm-up.
#pragma once

#include <optional>
#include <string_view>

#include "types/detector.h"

namespace sightline::sim {

// "truth" or "truth?..."
bool IsTruthModel(std::string_view model);

// InvalidArgument for unknown keys (with the nearest) and impossible values. `confidence`: boxes
// below it are left out.
absl::StatusOr<DetectorFactory> MakeTruthDetectorFactory(std::string_view model,
                                                         std::optional<float> confidence);

}  // namespace sightline::sim
