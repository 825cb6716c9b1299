// How well every pixel was labelled: intersection over union of each class, their mean, and pixel
// accuracy.
//
// IoU of a class = pixels of it in both / pixels of it in either, over all pictures together (not a
// mean over pictures), pixels of the truth that carry the ignored value left out; a result that says
// the ignored value for a pixel that counts is wrong there. The mean is over the classes that truth or
// results show. Equality with scikit-learn's jaccard_score is tested (tests/golden/evaluate).
// Threads: one at a time. Memory: 8 MB. Cost: one look-up a pixel.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "evaluate/detection_accuracy.h"

namespace sightline::evaluate {

// The class of every pixel, row after row.
struct LabelMap {
  int width = 0;   // px
  int height = 0;  // px
  std::vector<uint16_t> classes;
};

struct SemanticClassAccuracy {
  int32_t class_id = 0;
  int64_t truth = 0;  // pixels that count
  int64_t found = 0;
  int64_t right = 0;
  Share iou;
  Share accuracy;  // right / truth
};

struct SemanticReport {
  int64_t pictures = 0;
  int64_t pixels = 0;   // that count
  int64_t ignored = 0;  // pixels
  Share mean_iou = {};
  Share pixel_accuracy = {};
  Share mean_accuracy = {};                         // over the classes that the truth shows
  std::vector<SemanticClassAccuracy> classes = {};  // by rising class_id; those that show up
};

class SemanticAccuracy {
 public:
  static constexpr int kMostClasses = 1024;  // chosen; ADE20K has 150, COCO-Stuff 182

  explicit SemanticAccuracy(int ignored_value = 255);
  // InvalidArgument for pictures of two sizes, and for a class from kMostClasses on.
  absl::Status AddPicture(const LabelMap& truth, const LabelMap& found);
  SemanticReport Report() const;
  // Pixels by class of the truth and class of the results.
  int64_t Confused(int truth, int found) const;

 private:
  const int ignored_value_;
  int64_t pictures_ = 0;
  int64_t ignored_ = 0;
  // (kMostClasses + 1) squared; the last column: the results said the ignored value.
  std::vector<int64_t> confusion_;
};

struct SemanticOutcome {
  SemanticReport report;
  std::map<int32_t, std::string> class_names;  // of classes.txt in the truth's folder; may be empty
};

using ReadLabels = std::function<absl::StatusOr<LabelMap>(const std::string& path)>;

// Folders of label maps, PNG; those of one name without extension belong together. A classes.txt in
// the truth's folder names the classes, one a line, class 0 first.
// Errors: those of `read`, with the path; NotFound for an empty folder and where a picture of either
// has no counterpart.
absl::StatusOr<SemanticOutcome> CompareLabelMaps(const std::string& truth_folder,
                                                 const std::string& result_folder,
                                                 int ignored_value, const ReadLabels& read);

}  // namespace sightline::evaluate
