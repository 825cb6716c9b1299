#include "detect/box_fusion.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>

namespace sightline {
namespace {

// Sums in double: the average must not depend on how many boxes came before.
struct Cluster {
  Box box_px;
  double x1 = 0;
  double y1 = 0;
  double x2 = 0;
  double y2 = 0;
  double confidence = 0;
  size_t members = 0;

  void Add(const Detection& one) {
    const double weight = one.confidence;
    x1 += weight * one.box_px.x1;
    y1 += weight * one.box_px.y1;
    x2 += weight * one.box_px.x2;
    y2 += weight * one.box_px.y2;
    confidence += weight;
    ++members;
    // Without any confidence there is nothing to weigh by.
    if (confidence <= 0) {
      if (members == 1) box_px = one.box_px;
      return;
    }
    box_px = {static_cast<float>(x1 / confidence), static_cast<float>(y1 / confidence),
              static_cast<float>(x2 / confidence), static_cast<float>(y2 / confidence)};
  }
};

bool CanBeResult(const Detection& one) {
  const Box& box = one.box_px;
  return std::isfinite(box.x1) && std::isfinite(box.y1) && std::isfinite(box.x2) &&
         std::isfinite(box.y2) && std::isfinite(one.confidence) && one.confidence >= 0 &&
         box.x2 > box.x1 && box.y2 > box.y1;
}

bool Surer(const Detection& a, const Detection& b) { return a.confidence > b.confidence; }

}  // namespace

std::vector<Detection> FuseBoxes(std::span<const std::vector<Detection>> looks,
                                 float iou_threshold) {
  std::vector<Detection> all;
  for (const std::vector<Detection>& look : looks) {
    std::copy_if(look.begin(), look.end(), std::back_inserter(all), CanBeResult);
  }
  std::stable_sort(all.begin(), all.end(), Surer);
  if (all.size() > kMaxFusedBoxes) all.resize(kMaxFusedBoxes);
  std::map<int32_t, std::vector<Cluster>> classes;
  for (const Detection& one : all) {
    std::vector<Cluster>& clusters = classes[one.class_id];
    Cluster* best = nullptr;
    float best_iou = iou_threshold;
    for (Cluster& cluster : clusters) {
      const float iou = IntersectionOverUnion(cluster.box_px, one.box_px);
      if (!(iou > best_iou)) continue;
      best_iou = iou;
      best = &cluster;
    }
    if (best == nullptr) best = &clusters.emplace_back();
    best->Add(one);
  }
  const auto looked = static_cast<double>(std::max<size_t>(1, looks.size()));
  std::vector<Detection> fused;
  for (const auto& [class_id, clusters] : classes) {
    for (const Cluster& cluster : clusters) {
      const auto members = static_cast<double>(cluster.members);
      fused.push_back({.box_px = cluster.box_px,
                       .confidence = static_cast<float>(cluster.confidence / members *
                                                        std::min(members, looked) / looked),
                       .class_id = class_id});
    }
  }
  std::stable_sort(fused.begin(), fused.end(), Surer);
  return fused;
}

}  // namespace sightline
