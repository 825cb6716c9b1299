// How well whole pictures were classified: top-1 and top-k, precision, recall and F1 of each class, and
// which classes are taken for which.
//
// A picture is right at k when its class is among the k surest labels given for it; of equal scores
// the one that was given first is the surer. Precision, recall and F1 are of the surest label, as
// scikit-learn's precision_recall_fscore_support; equality is tested (tests/golden/evaluate). Where a
// class was never said there is no precision, and where it has no picture no recall: those stay absent
// and out of the means, where scikit-learn counts 0.
// Threads: one at a time. Memory: that of the confusion, bounded by pictures.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "base/status.h"
#include "evaluate/detection_accuracy.h"

namespace sightline::evaluate {

struct ScoredLabel {
  int32_t class_id = 0;  // negative: a class that the truth lacks, always wrong
  double score = 0;      // any finite number; larger is surer
};

struct LabelClassAccuracy {
  int32_t class_id = 0;
  int64_t truth = 0;  // pictures of this class
  int64_t found = 0;  // pictures for which it is the surest label
  int64_t right = 0;
  Share precision;
  Share recall;
  Share f1;  // absent where neither a picture shows it nor a label says it
};

struct LabelReport {
  int64_t pictures = 0;
  int64_t without_label = 0;  // pictures for which nothing was said: wrong
  int k = 5;
  Share top_1 = {};
  Share top_k = {};
  Share mean_precision = {};  // over the classes that have one, each as much as the other
  Share mean_recall = {};     // "balanced accuracy"
  Share mean_f1 = {};
  std::vector<LabelClassAccuracy> classes =
      {};  // by rising class_id; those with pictures or labels
  // Pictures by (class, surest label); kNoLabel where nothing was said, kStrangeLabel for classes that
  // the truth lacks.
  std::map<std::pair<int32_t, int32_t>, int64_t> confusion = {};
};

class LabelAccuracy {
 public:
  static constexpr int32_t kNoLabel = -1;
  static constexpr int32_t kStrangeLabel = -2;

  explicit LabelAccuracy(int k = 5) : k_(k) {}

  // One picture. InvalidArgument for a score that is not finite.
  absl::Status AddPicture(int32_t class_id, std::span<const ScoredLabel> labels);
  LabelReport Report() const;

 private:
  const int k_;
  int64_t pictures_ = 0;
  int64_t right_at_k_ = 0;
  std::map<std::pair<int32_t, int32_t>, int64_t> confusion_;
  std::vector<ScoredLabel> sorted_;
};

}  // namespace sightline::evaluate
