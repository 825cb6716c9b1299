#include "evaluate/resampled_map.h"

#include <algorithm>
#include <limits>

namespace sightline::evaluate {
namespace {

constexpr int kRecalls = 101;
constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

}  // namespace

ResampledMap::ResampledMap(const DetectionAccuracy& accuracy)
    : pictures_(static_cast<size_t>(accuracy.pictures_)) {
  for (const auto& [class_id, of] : accuracy.classes_) {
    if (of.truth_of_pictures.empty()) continue;
    OneClass one;
    one.truth_of_pictures = of.truth_of_pictures;
    one.boxes.reserve(of.outcomes.size());
    for (const uint32_t i : DetectionAccuracy::ByConfidence(of)) {
      const DetectionAccuracy::Outcome& outcome = of.outcomes[i];
      one.boxes.push_back({outcome.picture, outcome.matched[0], outcome.ignored[0]});
    }
    classes_.push_back(std::move(one));
  }
}

Share ResampledMap::MapOf(std::span<const uint32_t> times) const {
  double sum = 0;
  int count = 0;
  std::vector<std::pair<double, double>> curve;
  for (const OneClass& one : classes_) {
    double truth = 0;
    for (const auto& [picture, boxes] : one.truth_of_pictures) {
      truth += static_cast<double>(times[picture]) * boxes;
    }
    if (truth == 0) continue;
    for (int threshold = 0; threshold < DetectionAccuracy::kThresholds; ++threshold) {
      sum += PrecisionOf(one, times, threshold, truth, &curve);
      ++count;
    }
  }
  return count == 0 ? Share() : Share(sum / count);
}

// Precision changes for the better only where a right box comes, so those are all that is kept:
// recall and precision after each.
double ResampledMap::PrecisionOf(const OneClass& one, std::span<const uint32_t> times,
                                 int threshold, double truth,
                                 std::vector<std::pair<double, double>>* curve) {
  curve->clear();
  double right = 0;
  double wrong = 0;
  for (const Box& box : one.boxes) {
    const uint32_t weight = times[box.picture];
    if (weight == 0 || (box.ignored >> threshold & 1) != 0) continue;
    if ((box.matched >> threshold & 1) == 0) {
      wrong += weight;
      continue;
    }
    right += weight;
    curve->emplace_back(right / truth, right / (wrong + right + kEpsilon));
  }
  for (size_t i = curve->size(); i-- > 1;) {
    (*curve)[i - 1].second = std::max((*curve)[i - 1].second, (*curve)[i].second);
  }
  double sum = 0;
  size_t at = 0;
  for (int i = 0; i < kRecalls; ++i) {
    const double recall = i == kRecalls - 1 ? 1.0 : i * (1.0 / (kRecalls - 1));
    while (at < curve->size() && (*curve)[at].first < recall) ++at;
    if (at == curve->size()) break;
    sum += (*curve)[at].second;
  }
  return sum / kRecalls;
}

}  // namespace sightline::evaluate
