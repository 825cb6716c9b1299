// The model NAME_pictures of the Open Inference Protocol: what NAME finds in pictures, by tensors.
//
//   image                BYTES [n, 1]     whole JPEG, PNG or WebP files; n is 1 to kMostPictures
//   num_detections       INT32 [n, 1]
//   detection_boxes      FP32  [n, m, 4]  x1, y1, x2, y2 in px of each picture; m is the most of any of them
//   detection_scores     FP32  [n, m]
//   detection_classes    INT32 [n, m]     -1 behind a picture's last
//   json                 BYTES [n, 1]     all that the model says, as the /v1 routes answer it
//
// Only the outputs that are asked for are made. A picture that fails fails the request. Threads: safe.
// Source: the names are those of TensorFlow's detection models and of TensorRT's EfficientNMS, whose element
// types these are.
#pragma once

#include <memory>

#include "serve/inference/inference_service.h"
#include "serve/pictures/picture_service.h"

namespace sightline::serve {

// Of a model that is served; `pictures` outlives it.
std::shared_ptr<ServedModel> MakePictureEnsemble(const ServedModel& base, PictureService& pictures);

// One for every model that `service` loads from now on, but those whose settings say pictures: off.
void AddPictureEnsembles(PictureService& pictures, InferenceService& service);

}  // namespace sightline::serve
