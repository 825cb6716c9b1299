// How well outlines of objects were found: average precision over the overlap of masks, as pycocotools
// computes it with iouType "segm"; equality is tested (tests/golden/evaluate).
//
//   truth    as of coco_files.h, with "segmentation" (outlines, or runs) and the images' width and height
//   results  [{"image_id","category_id","segmentation":{"size":[h,w],"counts":"..."},"score"}]
//
// In results outlines are taken, too, where pycocotools wants runs.
// Threads: reentrant. Memory: some ten times the files, which may have 512 MiB each.
#pragma once

#include <map>
#include <string>

#include "base/status.h"
#include "evaluate/detection_accuracy.h"

namespace sightline::evaluate {

struct MaskOutcome {
  DetectionReport report;
  std::map<int32_t, std::string> class_names;
};

// Errors: those of ReadWholeFile; InvalidArgument with the path and the element.
absl::StatusOr<MaskOutcome> CompareMasks(const std::string& truth_path,
                                         const std::string& result_path);
absl::StatusOr<MaskOutcome> CompareMasksText(const std::string& truth, const std::string& results,
                                             const std::string& truth_name,
                                             const std::string& result_name);

}  // namespace sightline::evaluate
