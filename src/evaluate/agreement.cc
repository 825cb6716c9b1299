#include "evaluate/agreement.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "types/geometry.h"

namespace sightline::evaluate {
namespace {

struct Pair {
  double iou;
  size_t reference;
  size_t other;
};

// Pairs of one class at that IoU or above, each box in one at most: the best first, so that the
// order in which boxes are given does not matter.
std::vector<Pair> PairUp(const std::vector<Detection>& reference,
                         const std::vector<Detection>& other, double least_iou) {
  std::vector<Pair> all;
  for (size_t r = 0; r < reference.size(); ++r) {
    for (size_t o = 0; o < other.size(); ++o) {
      if (reference[r].class_id != other[o].class_id) continue;
      const double iou = IntersectionOverUnion(reference[r].box_px, other[o].box_px);
      if (iou > 0 && iou >= least_iou) all.push_back({iou, r, o});
    }
  }
  std::ranges::stable_sort(all, [](const Pair& a, const Pair& b) { return a.iou > b.iou; });
  std::vector<char> reference_taken(reference.size());
  std::vector<char> other_taken(other.size());
  std::vector<Pair> pairs;
  for (const Pair& pair : all) {
    if (reference_taken[pair.reference] != 0 || other_taken[pair.other] != 0) continue;
    reference_taken[pair.reference] = other_taken[pair.other] = 1;
    pairs.push_back(pair);
  }
  return pairs;
}

double Cosine(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return 0;
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

double ShareOf(int64_t reference, int64_t other, int64_t shared) {
  const int64_t both = reference + other;
  return both == 0 ? 1 : 2 * static_cast<double>(shared) / static_cast<double>(both);
}

}  // namespace

PictureAgreement Compare(const PictureResults& reference, const PictureResults& other) {
  PictureAgreement agreement{
      .reference = static_cast<int64_t>(reference.boxes.size()),
      .other = static_cast<int64_t>(other.boxes.size()),
      .shared = static_cast<int64_t>(PairUp(reference.boxes, other.boxes, kSameBoxIou).size())};
  const auto add = [&agreement](bool in_reference, bool in_other, bool same) {
    agreement.reference += in_reference ? 1 : 0;
    agreement.other += in_other ? 1 : 0;
    agreement.shared += in_reference && in_other && same ? 1 : 0;
  };
  add(reference.surest_class.has_value(), other.surest_class.has_value(),
      reference.surest_class && other.surest_class &&
          reference.surest_class->class_id == other.surest_class->class_id);
  add(!reference.embedding.empty(), !other.embedding.empty(),
      Cosine(reference.embedding, other.embedding) >= kSameEmbeddingCosine);
  return agreement;
}

double Difference(const PictureResults& reference, const PictureResults& other) {
  double difference = static_cast<double>(reference.boxes.size());
  std::vector<char> paired(other.boxes.size());
  for (const Pair& pair : PairUp(reference.boxes, other.boxes, 0)) {
    paired[pair.other] = 1;
    const double apart =
        std::abs(reference.boxes[pair.reference].confidence - other.boxes[pair.other].confidence);
    difference -= pair.iou * std::max(0.0, 1 - apart);
  }
  for (size_t o = 0; o < other.boxes.size(); ++o) {
    if (paired[o] == 0) difference += other.boxes[o].confidence;
  }
  if (reference.surest_class) {
    const auto& mine = *reference.surest_class;
    const bool same = other.surest_class && other.surest_class->class_id == mine.class_id;
    difference += same ? std::abs(mine.confidence - other.surest_class->confidence) : 1;
  }
  if (!reference.embedding.empty()) {
    difference += std::max(0.0, 1 - Cosine(reference.embedding, other.embedding));
  }
  return difference;
}

Agreement Summarise(std::span<const PictureAgreement> pictures, const BootstrapOptions& options) {
  Agreement sum;
  sum.pictures = static_cast<int64_t>(pictures.size());
  for (const PictureAgreement& picture : pictures) {
    sum.reference += picture.reference;
    sum.other += picture.other;
    sum.shared += picture.shared;
  }
  sum.share = ShareOf(sum.reference, sum.other, sum.shared);
  if (sum.reference > 0) {
    sum.found = static_cast<double>(sum.shared) / static_cast<double>(sum.reference);
  }
  sum.interval = BootstrapInterval(
      pictures.size(),
      [&](std::span<const uint32_t> times) {
        int64_t reference = 0;
        int64_t other = 0;
        int64_t shared = 0;
        for (size_t i = 0; i < pictures.size(); ++i) {
          reference += times[i] * pictures[i].reference;
          other += times[i] * pictures[i].other;
          shared += times[i] * pictures[i].shared;
        }
        return std::optional<double>(ShareOf(reference, other, shared));
      },
      options);
  return sum;
}

}  // namespace sightline::evaluate
