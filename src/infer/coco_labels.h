// The 80 class names of the COCO detection data set (Lin et al., "Microsoft COCO", ECCV 2014), in
// the order in which detectors number them: 0 person ... 79 toothbrush.
// Threads: safe.
#pragma once

#include <memory>

#include "types/detections.h"

namespace sightline {

std::shared_ptr<const LabelSet> CocoLabels();

}  // namespace sightline
