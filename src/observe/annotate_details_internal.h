// Draws what models say beside boxes into a picture: masks, keypoints, turned boxes, maps of
// classes, the classes of the whole picture. For annotate.cc; coordinates are px of the picture.
#pragma once

#include <opencv2/core.hpp>

#include "observe/canvas.h"
#include "types/detections.h"

namespace sightline {

// Tints the object's pixels and draws its turned box and keypoints. True when its upright box need
// not be drawn too.
bool DrawDetails(const Detections& detections, const Detection& detection, Color color,
                 int width_px, cv::Mat& picture);

// Tints every place by its class; class 0, the background in most models, stays as it is.
void DrawClassMap(const ClassMap& map, cv::Mat& picture);

// Tints every place from nothing to red by how anomalous it is, from the map's least to its largest
// value: the picture's own scale, so a good one has red places too.
void DrawAnomaly(const AnomalyMap& map, cv::Mat& picture);

}  // namespace sightline
