// Boxes in COCO's JSON: truth ("instances") and results, and their comparison.
//
//   truth    {"images":[{"id","file_name","width","height"}], "categories":[{"id","name"}],
//             "annotations":[{"image_id","category_id","bbox":[x,y,w,h],"iscrowd","area"}]}
//   results  [{"image_id","category_id","bbox":[x,y,w,h],"score"}]
//
// In results "image_id" may be a text, too: the picture's name, without folder and extension; and
// "category_name" says the class in place of "category_id". Of the images only the id must be there.
// As pycocotools: only "iscrowd" makes truth ignored ("ignore" does not), and "area" is what the
// area ranges look at; without it, the box's. Unlike it, an annotation of id 0 counts as any other.
// Other keys are not looked at. Source: https://cocodataset.org/#format-data
// Threads: reentrant. Memory: about ten times the files, which may have 512 MiB each.
#pragma once

#include <map>
#include <string>

#include "base/status.h"
#include "evaluate/detection_accuracy.h"
#include "evaluate/labelled_pictures.h"

namespace sightline::evaluate {

struct CocoOutcome {
  DetectionReport report;
  std::map<int32_t, std::string> class_names;  // by class_id, COCO's category id
};

// Errors: those of ReadWholeFile; InvalidArgument with the path and the place for what is no such
// file, for two pictures of one id, and for results of a picture or category that the truth lacks.
absl::StatusOr<CocoOutcome> CompareCoco(const std::string& truth_path,
                                        const std::string& result_path);

// The two halves, from text; `name` stands in errors. LabelledPicture::path stays empty.
absl::StatusOr<LabelledPictures> ReadCocoTruth(const std::string& text, const std::string& name);
// For truth of any format.
absl::StatusOr<ReadBoxes> ReadCocoResults(const LabelledPictures& truth, const std::string& text,
                                          const std::string& name);

// The same from text; `truth_name` and `result_name` stand in errors.
absl::StatusOr<CocoOutcome> CompareCocoText(const std::string& truth, const std::string& results,
                                            const std::string& truth_name,
                                            const std::string& result_name);

}  // namespace sightline::evaluate
