// Test-time augmentation: a picture is looked at several times, mirrored and smaller, and what is found
// is merged.
#pragma once

#include <string>
#include <vector>

#include "types/detections.h"
#include "types/frame.h"

namespace sightline::cli {

// One look. Smaller means that the picture is put into the corner of a larger grey one: models that
// scale their input to a fixed size see it smaller.
struct Look {
  bool mirrored = false;
  double scale = 1;  // up to 1
};

enum class MergeBy : uint8_t { kWeightedBoxes, kNms };

// The looks of --tta: "flip" adds the mirrored picture, "scale" looks at 0.83 and 0.67 of the size
// (those of YOLOv5's own augmentation), too. The first is the picture as it is.
std::vector<Look> LooksOf(const std::vector<std::string>& words);

// `picture` is packed BGR.
Frame SeeAs(const Look& look, const Frame& picture);

// What was found in the frame of SeeAs, in px of the picture (of that width and height), cut to it;
// boxes that lie in the grey are left out.
void ToPicture(const Look& look, int width, int height, std::vector<Detection>* found);

// By falling confidence. `iou`: above which boxes are the same object.
std::vector<Detection> MergeLooks(const std::vector<std::vector<Detection>>& found, MergeBy by,
                                  float iou);

}  // namespace sightline::cli
