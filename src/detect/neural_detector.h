// A detector around a neural model: picture to tensor, inference, head, suppression.
//
// In: pictures of any size in any PixelFormat. Out: boxes in pixels of the source picture, clipped
// to it, by falling confidence, each above spec.confidence_threshold (Soft-NMS: or at it); at most
// nms.max_detections.
// Suppression runs before clipping, as in the families' references.
//
// A picture that no tensor can be made of fails alone (kInvalidArgument); when the model fails, so
// do all pictures of that run, with the runtime's words.
// Cost: that of its parts; nothing of ours is allocated per frame once a picture size was
// seen, for families that give boxes alone.
// Threads: a factory may be called from any thread; each detector is used by one at a time.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "infer/backend.h"
#include "types/detector.h"
#include "types/model_spec.h"

namespace sightline {

struct NeuralOptions {
  int threads = 1;                     // of one inference
  int parallel_detectors = 1;          // of the factory's that will run at once: a hint
  int max_batch = 1;                   // for models that leave their batch open
  std::vector<std::string> providers;  // empty = cpu
  std::optional<float> confidence;     // instead of the spec's
  std::optional<NmsSettings> nms;      // instead of the spec's
};

// Further detectors of one model share what the backend shares. `backend` must live longer than
// every detector. InvalidArgument for thresholds outside 0..1, a max_detections below 1, a sigma
// that is not above 0, and for what the model's session or head refuses (when the factory is
// called).
absl::StatusOr<DetectorFactory> MakeNeuralDetectorFactory(ModelSpec spec, InferenceBackend& backend,
                                                          const NeuralOptions& options);

// The shape of one picture's tensor, with a batch of 1.
std::vector<int64_t> PictureShape(const TensorRecipe& recipe);

// Thresholds as above, for other detectors too.
absl::Status CheckThresholds(float confidence, const NmsSettings& nms);

// Clips the boxes to a picture of width x height and drops those with no area left.
void ClipToPicture(int width, int height, std::vector<Detection>* detections);

}  // namespace sightline
