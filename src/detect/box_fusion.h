// Weighted boxes fusion: the boxes of several looks at one picture (models, or one model on changed
// pictures) become one set, in which boxes of one class that overlap are averaged by their confidence.
//
// Boxes go by falling confidence; each joins the fused box of its class that it overlaps most, when by
// more than iou_threshold, which then is the average of its members weighted by their confidence. The
// confidence of a fused box is the mean of its members', times the part of the looks that see it:
// min(members, looks) / looks.
// Source: Solovyev, Wang, Gabruseva, "Weighted boxes fusion: Ensembling boxes from different object
// detection models", Image and Vision Computing 2021 (arXiv 1910.13302), as the authors' package
// ensemble_boxes 1.0.9 with equal weights and conf_type "avg"; equality is tested (tests/golden/nms).
//
// Threads: reentrant. Cost: boxes x fused boxes of one class, a vector of them at a time: 3 looks of 100
// boxes take about 20 us, 5 of 1000 about 2 ms when all are of one class and 0.7 ms with 80 classes (a
// shared core of an AMD EPYC; benchmarks/fusion_bench measures, benchmarks/peers/fusion.py beside the
// package). At most kMaxFusedBoxes of the best boxes are looked at.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "types/detections.h"

namespace sightline {

inline constexpr size_t kMaxFusedBoxes = 30'000;  // bounds the time of a bad picture; chosen

// `looks`: what each found, in one coordinate frame. By falling confidence. Boxes that cannot be
// results (not finite, no area) are left out.
std::vector<Detection> FuseBoxes(std::span<const std::vector<Detection>> looks,
                                 float iou_threshold = 0.55f);

}  // namespace sightline
