// How well key points (of people, mostly) were found: average precision over object key point
// similarity, as COCO defines it.
//
//   OKS = mean over the labelled points of exp(-d^2 / (2 * area * (2 * sigma)^2))
//
// with d the distance in px and the area of the true object's outline. A true object without labelled
// points is ignored; how like a found one is to it, its box says. At most 20 a picture count. The area
// of a found object is that of the box around all its points. Source: cocodataset.org/#keypoints-eval
// and pycocotools' COCOeval with iouType "keypoints"; equality is tested (tests/golden/evaluate).
//
//   truth    as of coco_files.h, with "keypoints":[x1,y1,v1,...] and "num_keypoints"
//   results  [{"image_id","category_id","keypoints":[x1,y1,s1,...],"score"}]
//
// Sigmas are COCO's for its 17 points; for any other number n of points all are 1/n (as Ultralytics).
// Threads: reentrant. Memory: some ten times the files, which may have 512 MiB each.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "evaluate/detection_accuracy.h"

namespace sightline::evaluate {

struct KeyPoint {
  double x = 0;  // px
  double y = 0;
  bool labelled = false;  // of truth: there, hidden or not
};

// `truth` and `found` have as many points as there are sigmas; box_px is that of the truth.
double KeyPointSimilarity(const std::vector<KeyPoint>& found, const std::vector<KeyPoint>& truth,
                          const PlacedBox& box_px, double area_px2,
                          const std::vector<double>& sigmas);

std::vector<double> KeyPointSigmas(size_t points);

struct KeyPointOutcome {
  DetectionReport report;  // map_small, recall_1, recall_10 and recall_small are absent
  std::map<int32_t, std::string> class_names;
  size_t points = 0;  // of each object
};

// Errors: those of ReadWholeFile; InvalidArgument with the path and the element.
absl::StatusOr<KeyPointOutcome> CompareKeyPoints(const std::string& truth_path,
                                                 const std::string& result_path);
absl::StatusOr<KeyPointOutcome> CompareKeyPointsText(const std::string& truth,
                                                     const std::string& results,
                                                     const std::string& truth_name,
                                                     const std::string& result_name);

}  // namespace sightline::evaluate
