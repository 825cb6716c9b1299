#include "evaluate/label_accuracy.h"

#include <algorithm>
#include <cmath>

namespace sightline::evaluate {
namespace {

Share Part(int64_t part, int64_t whole) {
  if (whole == 0) return std::nullopt;
  return static_cast<double>(part) / static_cast<double>(whole);
}

class ShareMean {
 public:
  void Add(const Share& value) {
    if (!value) return;
    sum_ += *value;
    ++count_;
  }
  Share Get() const { return count_ == 0 ? Share() : Share(sum_ / count_); }

 private:
  double sum_ = 0;
  int count_ = 0;
};

}  // namespace

absl::Status LabelAccuracy::AddPicture(int32_t class_id, std::span<const ScoredLabel> labels) {
  for (const ScoredLabel& label : labels) {
    if (!std::isfinite(label.score)) return InvalidArgument("a label has a score without value");
  }
  sorted_.assign(labels.begin(), labels.end());
  std::stable_sort(sorted_.begin(), sorted_.end(),
                   [](const ScoredLabel& a, const ScoredLabel& b) { return a.score > b.score; });
  ++pictures_;
  const size_t among = std::min(sorted_.size(), static_cast<size_t>(k_));
  right_at_k_ += std::any_of(sorted_.begin(), sorted_.begin() + static_cast<ptrdiff_t>(among),
                             [&](const ScoredLabel& one) { return one.class_id == class_id; })
                     ? 1
                     : 0;
  const int32_t said = sorted_.empty()           ? kNoLabel
                       : sorted_[0].class_id < 0 ? kStrangeLabel
                                                 : sorted_[0].class_id;
  ++confusion_[{class_id, said}];
  return absl::OkStatus();
}

LabelReport LabelAccuracy::Report() const {
  LabelReport report{.pictures = pictures_, .k = k_, .confusion = confusion_};
  std::map<int32_t, LabelClassAccuracy> classes;
  int64_t right = 0;
  for (const auto& [pair, count] : confusion_) {
    const auto [class_id, said] = pair;
    classes[class_id].truth += count;
    if (said >= 0) classes[said].found += count;
    if (said == kNoLabel) report.without_label += count;
    if (class_id != said) continue;
    classes[class_id].right += count;
    right += count;
  }
  ShareMean precision;
  ShareMean recall;
  ShareMean f1;
  for (auto& [class_id, one] : classes) {
    one.class_id = class_id;
    one.precision = Part(one.right, one.found);
    one.recall = Part(one.right, one.truth);
    one.f1 = Part(2 * one.right, one.truth + one.found);
    precision.Add(one.precision);
    recall.Add(one.recall);
    f1.Add(one.f1);
    report.classes.push_back(one);
  }
  report.top_1 = Part(right, pictures_);
  report.top_k = Part(right_at_k_, pictures_);
  report.mean_precision = precision.Get();
  report.mean_recall = recall.Get();
  report.mean_f1 = f1.Get();
  return report;
}

}  // namespace sightline::evaluate
