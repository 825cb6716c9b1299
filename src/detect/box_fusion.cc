#include "detect/box_fusion.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <compare>
#include <cstdint>
#include <iterator>
#include <limits>
#include <utility>

#include "detect/fused_box_match.h"

namespace sightline {
namespace {

// The fused boxes of one class, as they are so far.
class Clusters {
 public:
  void Add(const Detection& one, float iou_threshold) {
    const size_t best =
        fusion_internal::BestMatch({x1_.data(), y1_.data(), x2_.data(), y2_.data(), area_.data()},
                                   sums_.size(), one.box_px, iou_threshold);
    if (best == sums_.size()) Grow();
    Sums& sums = sums_[best];
    const double weight = one.confidence;
    sums.x1 += weight * one.box_px.x1;
    sums.y1 += weight * one.box_px.y1;
    sums.x2 += weight * one.box_px.x2;
    sums.y2 += weight * one.box_px.y2;
    sums.confidence += weight;
    ++sums.members;
    if (sums.confidence > 0) {
      Place(best, {static_cast<float>(sums.x1 / sums.confidence),
                   static_cast<float>(sums.y1 / sums.confidence),
                   static_cast<float>(sums.x2 / sums.confidence),
                   static_cast<float>(sums.y2 / sums.confidence)});
    } else if (sums.members == 1) {
      // Without any confidence there is nothing to weigh by.
      Place(best, one.box_px);
    }
  }

  // Leaves none; room is kept.
  void MoveTo(int32_t class_id, double looks, std::vector<Detection>* fused) {
    for (size_t i = 0; i < sums_.size(); ++i) {
      const auto members = static_cast<double>(sums_[i].members);
      fused->push_back({.box_px = {x1_[i], y1_[i], x2_[i], y2_[i]},
                        .confidence = static_cast<float>(sums_[i].confidence / members *
                                                         std::min(members, looks) / looks),
                        .class_id = class_id});
    }
    std::fill_n(x1_.begin(), sums_.size(), std::numeric_limits<float>::infinity());
    sums_.clear();
  }

 private:
  // In double: the average must not depend on how many boxes came before.
  struct Sums {
    double x1 = 0;
    double y1 = 0;
    double x2 = 0;
    double y2 = 0;
    double confidence = 0;
    size_t members = 0;
  };

  void Grow() {
    sums_.emplace_back();
    if (sums_.size() + fusion_internal::kMatchPadding <= x1_.size()) return;
    const size_t room = 2 * (sums_.size() + fusion_internal::kMatchPadding);
    x1_.resize(room, std::numeric_limits<float>::infinity());
    for (std::vector<float>* field : {&y1_, &x2_, &y2_, &area_}) field->resize(room, 0);
  }
  void Place(size_t at, const Box& box) {
    x1_[at] = box.x1;
    y1_[at] = box.y1;
    x2_[at] = box.x2;
    y2_[at] = box.y2;
    area_[at] = box.area();
  }

  std::vector<Sums> sums_;
  // Field by field, longer than sums_ by the padding that BestMatch() wants.
  std::vector<float> x1_, y1_, x2_, y2_, area_;
};

bool CanBeResult(const Detection& one) {
  const Box& box = one.box_px;
  return std::isfinite(box.x1) && std::isfinite(box.y1) && std::isfinite(box.x2) &&
         std::isfinite(box.y2) && std::isfinite(one.confidence) && one.confidence >= 0 &&
         box.x2 > box.x1 && box.y2 > box.y1;
}

// Sorts by class, by falling confidence, by place: the first two as one number, since confidences
// that are not negative go in the order of their bits.
struct Key {
  uint64_t class_and_doubt = 0;
  uint32_t place = 0;
  auto operator<=>(const Key&) const = default;
};

Key KeyOf(const Detection& one, size_t place) {
  const uint32_t by_class = static_cast<uint32_t>(one.class_id) ^ 0x80000000u;
  const uint32_t doubt = ~std::bit_cast<uint32_t>(one.confidence + 0.0f);  // -0 is 0
  return {(uint64_t{by_class} << 32) | doubt, static_cast<uint32_t>(place)};
}
uint32_t DoubtOf(const Key& key) { return static_cast<uint32_t>(key.class_and_doubt); }

bool Surer(const Detection& a, const Detection& b) { return a.confidence > b.confidence; }

}  // namespace

std::vector<Detection> FuseBoxes(std::span<const std::vector<Detection>> looks,
                                 float iou_threshold) {
  std::vector<Detection> all;
  for (const std::vector<Detection>& look : looks) {
    std::copy_if(look.begin(), look.end(), std::back_inserter(all), CanBeResult);
  }
  std::vector<Key> keys;
  keys.reserve(all.size());
  for (size_t i = 0; i < all.size(); ++i) keys.push_back(KeyOf(all[i], i));
  if (keys.size() > kMaxFusedBoxes) {
    std::ranges::nth_element(keys, keys.begin() + kMaxFusedBoxes, {},
                             [](const Key& key) { return std::pair(DoubtOf(key), key.place); });
    keys.resize(kMaxFusedBoxes);
  }
  std::ranges::sort(keys);
  const auto looked = static_cast<double>(std::max<size_t>(1, looks.size()));
  std::vector<Detection> fused;
  Clusters clusters;
  for (size_t i = 0; i < keys.size(); ++i) {
    const Detection& one = all[keys[i].place];
    clusters.Add(one, iou_threshold);
    const bool last = i + 1 == keys.size() || all[keys[i + 1].place].class_id != one.class_id;
    if (last) clusters.MoveTo(one.class_id, looked, &fused);
  }
  std::ranges::stable_sort(fused, Surer);
  return fused;
}

}  // namespace sightline
