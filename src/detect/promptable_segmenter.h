// Objects by what points at them: SAM (Kirillov et al. 2023, arXiv 2304.02643). A picture is looked
// at once, by an encoder; then each prompt, points or a box, gives masks, by a small decoder.
//
// Two ONNX files, spec.file and spec.companion_file, as two programs export them:
//   layout "transformers":      input_points [batch, 1, points, 2], input_labels, image_embeddings,
//                               image_positional_embeddings -> iou_scores, pred_masks
//                               (transformers, Optimum); points alone
//   layout "segment_anything":  image_embeddings, point_coords [1, points, 2], point_labels,
//                               mask_input, has_mask_input, orig_im_size -> iou_predictions,
//                               low_res_masks (Meta's SamOnnxModel); points and boxes
// Masks are enlarged as both references do it: bilinearly to the encoder's input, cut to the
// picture, bilinearly to the picture's size; object where the number is above 0.
//
// Threads: a segmenter is used by one at a time. Cost: that of the two models, and for each mask one
// pass over the pixels of the picture. Memory: a number for each pixel of the encoder's input.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "detect/neural_detector.h"
#include "infer/backend.h"
#include "types/detections.h"
#include "types/detector.h"
#include "types/frame.h"
#include "types/model_spec.h"

namespace sightline {

inline constexpr std::string_view kPromptableFamily = "sam";

struct PromptPoint {
  PointF at_px;        // in the source picture
  bool inside = true;  // whether the object is there, or must not be
};

// Of one object: at least one point, or a box.
struct Prompt {
  std::vector<PromptPoint> points;
  std::optional<Box> box_px;
};

// InvalidArgument for a prompt that says nothing, is no place, or has more than 1,000 points.
absl::Status CheckPrompt(const Prompt& prompt);

class PromptableSegmenter {
 public:
  // InvalidArgument for files whose inputs and outputs are not those of spec.layout, and what the
  // backend says.
  static absl::StatusOr<std::unique_ptr<PromptableSegmenter>> Open(const ModelSpec& spec,
                                                                   InferenceBackend& backend,
                                                                   const NeuralOptions& options);
  virtual ~PromptableSegmenter() = default;

  // Computes the picture's embedding, which Segment then uses. InvalidArgument for pictures that no
  // tensor can be made of.
  virtual absl::Status LookAt(const ImageView& picture) = 0;

  // Appends the best masks for the prompt to `found`, by falling score, at most spec.nms's
  // max_detections: boxes about them as items, the model's estimate of the mask's IoU (cut to 0..1)
  // as confidence, class 0. Masks without a pixel, and those not above the confidence, are left
  // out. InvalidArgument for a prompt that says nothing, lies outside of the picture, or is a box
  // where the model takes none; FailedPrecondition before LookAt; DataLoss for what is no mask.
  virtual absl::Status Segment(const Prompt& prompt, Detections* found) = 0;
};

// A detector that asks the same prompts of every picture, for programs that know detectors.
// InvalidArgument for no prompts, for prompts that say nothing, and as above.
absl::StatusOr<DetectorFactory> MakePromptedDetectorFactory(ModelSpec spec,
                                                            InferenceBackend& backend,
                                                            const NeuralOptions& options,
                                                            std::vector<Prompt> prompts);

// Opens the two files and asks for the middle of a blank picture: whether the description fits.
absl::Status TryPromptable(const ModelSpec& spec, InferenceBackend& backend);

}  // namespace sightline
