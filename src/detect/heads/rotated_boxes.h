// Boxes turned about their centres: bounds, overlap and suppression.
#pragma once

#include <functional>
#include <vector>

#include "detect/nms.h"
#include "types/detections.h"
#include "types/geometry.h"
#include "types/model_spec.h"

namespace sightline {

// The smallest upright box around it.
Box BoundsOf(const RotatedBox& box);

// From the input tensor to the source picture. Each side is scaled as the axis that it has in the
// reference, x for the width and y for the height, which differ by rounding alone in a letterbox.
RotatedBox ToImage(const RotatedBox& box, const ImageToTensor& mapping);

// ProbIoU of Llerena et al. 2021 (arXiv 2106.06072), 0..1: the boxes as Gaussians, one minus their
// Hellinger distance. As in ultralytics, in float64.
double ProbIou(const RotatedBox& a, const RotatedBox& b);

// Fast NMS: by falling confidence a box stays when no better one (of its class, where
// settings.class_aware says so) overlaps it by settings.iou_threshold or more; at most
// settings.max_detections of them. Only the best kMaxSoftCandidates boxes are looked at, since each
// is compared with each. Every kind but `none` is this one.
void SuppressRotated(const NmsSettings& settings, float min_confidence,
                     NonMaxSuppressor* suppressor,
                     const std::function<RotatedBox(const Detection&)>& rotated,
                     std::vector<Detection>* boxes);

}  // namespace sightline
