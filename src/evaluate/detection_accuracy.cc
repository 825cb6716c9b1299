#include "evaluate/detection_accuracy.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace sightline::evaluate {
namespace {

constexpr int kRecalls = 101;
constexpr size_t kMostTruthAPicture = 10'000;
constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

struct AreaRange {
  double least_px2;
  double most_px2;
  bool Holds(double area_px2) const { return area_px2 >= least_px2 && area_px2 <= most_px2; }
};
constexpr std::array<AreaRange, DetectionAccuracy::kAreaRanges> kRanges = {
    AreaRange{0, 1e10}, AreaRange{0, 32 * 32}, AreaRange{32 * 32, 96 * 96},
    AreaRange{96 * 96, 1e10}};

// NumPy's linspace, to the bit: pycocotools compares with these.
double Threshold(int i) {
  constexpr double kFirst = 0.5;
  constexpr double kLast = 0.95;
  if (i == DetectionAccuracy::kThresholds - 1) return kLast;
  return i * ((kLast - kFirst) / (DetectionAccuracy::kThresholds - 1)) + kFirst;
}

double RecallPoint(int i) { return i == kRecalls - 1 ? 1.0 : i * (1.0 / (kRecalls - 1)); }

bool IsFinite(const PlacedBox& box) {
  return std::isfinite(box.x) && std::isfinite(box.y) && std::isfinite(box.width) &&
         std::isfinite(box.height);
}

double AreaOf(const TrueBox& truth) {
  return truth.area_px2 < 0 ? truth.box_px.area() : truth.area_px2;
}

double AreaOf(const FoundBox& found) {
  return found.area_px2 < 0 ? found.box_px.area() : found.area_px2;
}

// Over the union; for a crowd over the found box alone.
double Overlap(const PlacedBox& found, const TrueBox& truth) {
  const double shared = SharedArea(found, truth.box_px);
  if (shared <= 0) return 0;
  const double whole = truth.crowd ? found.area() : found.area() + truth.box_px.area() - shared;
  return shared / whole;
}

class Mean {
 public:
  void Add(double value) {
    sum_ += value;
    ++count_;
  }
  Share Get() const { return count_ == 0 ? Share() : Share(sum_ / count_); }

 private:
  double sum_ = 0;
  int count_ = 0;
};

}  // namespace

absl::Status DetectionAccuracy::AddPicture(std::span<const TrueBox> truth,
                                           std::span<const FoundBox> found) {
  return AddPicture(truth, found, nullptr);
}

absl::Status DetectionAccuracy::AddPicture(std::span<const TrueBox> truth,
                                           std::span<const FoundBox> found,
                                           const Similarity& similarity) {
  for (const TrueBox& box : truth) {
    if (!IsFinite(box.box_px)) return InvalidArgument("a true box has a coordinate without value");
  }
  for (const FoundBox& box : found) {
    if (!IsFinite(box.box_px) || !std::isfinite(box.confidence)) {
      return InvalidArgument("a found box has a coordinate or confidence without value");
    }
  }
  std::map<int32_t, std::pair<std::vector<const TrueBox*>, std::vector<const FoundBox*>>> by_class;
  for (const TrueBox& box : truth) by_class[box.class_id].first.push_back(&box);
  for (const FoundBox& box : found) by_class[box.class_id].second.push_back(&box);
  for (auto& [class_id, boxes] : by_class) {
    auto& [class_truth, class_found] = boxes;
    if (class_truth.size() > kMostTruthAPicture) {
      return ResourceExhausted("{} true boxes of one class in a picture; at most {} are possible",
                               class_truth.size(), kMostTruthAPicture);
    }
    std::stable_sort(
        class_found.begin(), class_found.end(),
        [](const FoundBox* a, const FoundBox* b) { return a->confidence > b->confidence; });
    if (class_found.size() > boxes_a_picture_) class_found.resize(boxes_a_picture_);
    boxes_ += class_found.size();
    if (boxes_ > max_boxes_) {
      return ResourceExhausted("more than {} boxes; evaluate parts of the pictures", max_boxes_);
    }
    Compare(class_truth, class_found, similarity, truth.data(), found.data());
    Match(class_truth, class_found, &classes_[class_id]);
  }
  ++pictures_;
  return absl::OkStatus();
}

void DetectionAccuracy::Compare(std::span<const TrueBox* const> truth,
                                std::span<const FoundBox* const> found,
                                const Similarity& similarity, const TrueBox* first_truth,
                                const FoundBox* first_found) {
  overlap_.resize(truth.size() * found.size());
  for (size_t f = 0; f < found.size(); ++f) {
    for (size_t t = 0; t < truth.size(); ++t) {
      overlap_[f * truth.size() + t] = similarity
                                           ? similarity(static_cast<size_t>(found[f] - first_found),
                                                        static_cast<size_t>(truth[t] - first_truth))
                                           : Overlap(found[f]->box_px, *truth[t]);
    }
  }
}

void DetectionAccuracy::Match(std::span<const TrueBox* const> truth,
                              std::span<const FoundBox* const> found, PerClass* into) {
  const size_t first = into->outcomes.size();
  for (size_t f = 0; f < found.size(); ++f) {
    into->outcomes.push_back({.confidence = found[f]->confidence,
                              .matched = {},
                              .ignored = {},
                              .rank = static_cast<uint16_t>(f),
                              .picture = static_cast<uint32_t>(pictures_)});
  }
  for (int range = 0; range < kAreaRanges; ++range) {
    MatchRange(truth, found, range, std::span<Outcome>(into->outcomes).subspan(first), into);
  }
}

void DetectionAccuracy::MatchRange(std::span<const TrueBox* const> truth,
                                   std::span<const FoundBox* const> found, int range,
                                   std::span<Outcome> outcomes, PerClass* into) {
  const AreaRange& area = kRanges[static_cast<size_t>(range)];
  std::vector<uint32_t> order;  // truth that counts first, then the ignored
  std::vector<uint32_t> ignored;
  for (uint32_t t = 0; t < truth.size(); ++t) {
    const bool ignore = truth[t]->crowd || truth[t]->ignored || !area.Holds(AreaOf(*truth[t]));
    (ignore ? ignored : order).push_back(t);
  }
  const size_t counted = order.size();
  into->truth[static_cast<size_t>(range)] += static_cast<int64_t>(counted);
  if (range == 0 && counted > 0) {
    into->truth_of_pictures.emplace_back(static_cast<uint32_t>(pictures_),
                                         static_cast<uint32_t>(counted));
  }
  order.insert(order.end(), ignored.begin(), ignored.end());
  std::vector<char> taken;
  for (int threshold = 0; threshold < kThresholds; ++threshold) {
    const auto bit = static_cast<uint16_t>(1U << threshold);
    taken.assign(order.size(), 0);
    for (size_t f = 0; f < found.size(); ++f) {
      constexpr size_t kNone = std::numeric_limits<size_t>::max();
      double best = std::min(Threshold(threshold), 1 - 1e-10);
      size_t match = kNone;
      for (size_t i = 0; i < order.size(); ++i) {
        if (taken[i] != 0 && !truth[order[i]]->crowd) continue;
        // Whoever has found something that counts does not change to what is ignored.
        if (match != kNone && match < counted && i >= counted) break;
        const double overlap = overlap_[f * truth.size() + order[i]];
        if (!(overlap >= best)) continue;  // not a number, too
        best = overlap;
        match = i;
      }
      Outcome& outcome = outcomes[f];
      if (match == kNone) {
        if (!area.Holds(AreaOf(*found[f]))) outcome.ignored[static_cast<size_t>(range)] |= bit;
        continue;
      }
      taken[match] = 1;
      outcome.matched[static_cast<size_t>(range)] |= bit;
      if (match >= counted) outcome.ignored[static_cast<size_t>(range)] |= bit;
    }
  }
}

std::vector<uint32_t> DetectionAccuracy::ByConfidence(const PerClass& of) {
  std::vector<uint32_t> order(of.outcomes.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return of.outcomes[a].confidence > of.outcomes[b].confidence;
  });
  return order;
}

DetectionAccuracy::Curve DetectionAccuracy::CurveOf(const PerClass& of,
                                                    std::span<const uint32_t> order, int range,
                                                    int threshold, size_t boxes_a_picture) {
  const auto r = static_cast<size_t>(range);
  const auto truth = static_cast<double>(of.truth[r]);
  std::vector<double> precision;
  std::vector<double> recall;
  double right = 0;
  double wrong = 0;
  for (const uint32_t i : order) {
    const Outcome& outcome = of.outcomes[i];
    if (outcome.rank >= boxes_a_picture) continue;
    if ((outcome.ignored[r] >> threshold & 1) == 0) {
      ++((outcome.matched[r] >> threshold & 1) != 0 ? right : wrong);
    }
    precision.push_back(right / (wrong + right + kEpsilon));
    recall.push_back(right / truth);
  }
  for (size_t i = precision.size(); i-- > 1;) {
    precision[i - 1] = std::max(precision[i - 1], precision[i]);
  }
  double sum = 0;
  std::vector<double> at_recalls(kRecalls);
  for (int i = 0; i < kRecalls; ++i) {
    const auto at = std::lower_bound(recall.begin(), recall.end(), RecallPoint(i));
    if (at == recall.end()) break;
    at_recalls[static_cast<size_t>(i)] = precision[static_cast<size_t>(at - recall.begin())];
    sum += at_recalls[static_cast<size_t>(i)];
  }
  return {.precision = sum / kRecalls,
          .recall = recall.empty() ? 0 : recall.back(),
          .at_recalls = std::move(at_recalls)};
}

void DetectionAccuracy::DescribeAtHalf(const PerClass& of, std::span<const uint32_t> order,
                                       ClassAccuracy* into) {
  into->truth = of.truth[0];
  for (size_t n = 0; n < order.size(); ++n) {
    const Outcome& outcome = of.outcomes[order[n]];
    if ((outcome.ignored[0] & 1) != 0) continue;
    ++into->found;
    if ((outcome.matched[0] & 1) != 0) ++into->right;
    // A threshold lies between two confidences, never between two equal ones.
    const bool more =
        n + 1 < order.size() && of.outcomes[order[n + 1]].confidence == outcome.confidence;
    const double f1 = 2 * static_cast<double>(into->right) /
                      std::max<double>(1, static_cast<double>(into->truth + into->found));
    if (!more && f1 > into->best_f1) {
      into->best_f1 = f1;
      into->best_f1_confidence = outcome.confidence;
    }
  }
}

DetectionReport DetectionAccuracy::Report() const {
  DetectionReport report;
  report.pictures = pictures_;
  std::array<Mean, kAreaRanges> precision;
  std::array<Mean, kAreaRanges> recall;
  Mean at_50;
  Mean at_75;
  Mean recall_1;
  Mean recall_10;
  Mean recall_50;
  Mean recall_75;
  for (const auto& [class_id, of] : classes_) {
    const std::vector<uint32_t> order = ByConfidence(of);
    ClassAccuracy accuracy;
    accuracy.class_id = class_id;
    DescribeAtHalf(of, order, &accuracy);
    Mean class_precision;
    for (int range = 0; range < kAreaRanges; ++range) {
      if (of.truth[static_cast<size_t>(range)] == 0) continue;
      for (int threshold = 0; threshold < kThresholds; ++threshold) {
        const Curve curve = CurveOf(of, order, range, threshold, boxes_a_picture_);
        precision[static_cast<size_t>(range)].Add(curve.precision);
        recall[static_cast<size_t>(range)].Add(curve.recall);
        if (range != 0) continue;
        class_precision.Add(curve.precision);
        recall_1.Add(CurveOf(of, order, 0, threshold, 1).recall);
        recall_10.Add(CurveOf(of, order, 0, threshold, 10).recall);
        if (threshold == 0) {
          at_50.Add(curve.precision);
          recall_50.Add(curve.recall);
          accuracy.ap_50 = curve.precision;
          accuracy.recall_50 = curve.recall;
          accuracy.precision_50 = curve.at_recalls;
        }
        if (threshold == 5) {
          at_75.Add(curve.precision);
          recall_75.Add(curve.recall);
          accuracy.ap_75 = curve.precision;
        }
      }
    }
    accuracy.ap = class_precision.Get();
    if (accuracy.truth > 0 || accuracy.found > 0) report.classes.push_back(accuracy);
  }
  report.map = precision[0].Get();
  report.map_50 = at_50.Get();
  report.map_75 = at_75.Get();
  report.map_small = precision[1].Get();
  report.map_medium = precision[2].Get();
  report.map_large = precision[3].Get();
  report.recall_1 = recall_1.Get();
  report.recall_10 = recall_10.Get();
  report.recall_100 = recall[0].Get();
  report.recall_50 = recall_50.Get();
  report.recall_75 = recall_75.Get();
  report.recall_small = recall[1].Get();
  report.recall_medium = recall[2].Get();
  report.recall_large = recall[3].Get();
  return report;
}

}  // namespace sightline::evaluate
