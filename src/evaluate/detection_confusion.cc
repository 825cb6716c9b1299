#include "evaluate/detection_confusion.h"

#include <algorithm>
#include <vector>

namespace sightline::evaluate {
namespace {

struct Pair {
  double overlap = 0;
  size_t truth = 0;
  size_t found = 0;
};

double OverlapOf(const PlacedBox& a, const PlacedBox& b) {
  const double shared = SharedArea(a, b);
  return shared <= 0 ? 0 : shared / (a.area() + b.area() - shared);
}

}  // namespace

void DetectionConfusion::AddPicture(std::span<const TrueBox> truth,
                                    std::span<const FoundBox> found) {
  std::vector<Pair> pairs;
  for (size_t t = 0; t < truth.size(); ++t) {
    for (size_t f = 0; f < found.size(); ++f) {
      if (found[f].confidence < least_confidence_) continue;
      const double overlap = OverlapOf(truth[t].box_px, found[f].box_px);
      if (overlap >= least_iou_) pairs.push_back({overlap, t, f});
    }
  }
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const Pair& a, const Pair& b) { return a.overlap > b.overlap; });
  std::vector<char> paired(truth.size());
  std::vector<char> taken(found.size());
  for (const Pair& pair : pairs) {
    const TrueBox& box = truth[pair.truth];
    const bool excused = box.ignored || box.crowd;
    if (taken[pair.found] != 0 || (paired[pair.truth] != 0 && !box.crowd)) continue;
    paired[pair.truth] = 1;
    taken[pair.found] = 1;
    if (!excused) ++counts_[{box.class_id, found[pair.found].class_id}];
  }
  for (size_t t = 0; t < truth.size(); ++t) {
    if (paired[t] == 0 && !truth[t].ignored && !truth[t].crowd) {
      ++counts_[{truth[t].class_id, kNothing}];
    }
  }
  for (size_t f = 0; f < found.size(); ++f) {
    if (taken[f] == 0 && found[f].confidence >= least_confidence_) {
      ++counts_[{kNothing, found[f].class_id}];
    }
  }
}

}  // namespace sightline::evaluate
