#include "detect/nms.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "detect/nms_greedy.h"

namespace sightline {
namespace {

using nms_internal::Fields;
using nms_internal::GreedyJob;
using nms_internal::kSlotPadding;

// Below this many boxes the grid costs more than it saves (measured).
constexpr size_t kGridFrom = 160;
// Below this many boxes a comparison sort is faster than counting (measured).
constexpr size_t kRadixFrom = 256;
// The counting sort's passes, and the buckets of each.
constexpr size_t kPasses = 3;
constexpr size_t kBuckets = 2048;
// The grid's limits; chosen so that its table stays in the first-level cache for usual sets.
constexpr uint32_t kMaxRows = 32;
constexpr uint32_t kMaxColumns = 512;

bool CanBeResult(const Detection& d) {
  const Box& b = d.box_px;
  // Each comparison is false for NaN; the differences are finite only for finite corners.
  return std::isfinite(d.confidence) && b.width() > 0 && b.height() > 0 &&
         b.width() < std::numeric_limits<float>::infinity() &&
         b.height() < std::numeric_limits<float>::infinity();
}

// Rising keys for falling confidence.
uint32_t FallingKey(float confidence) {
  const auto bits = std::bit_cast<uint32_t>(confidence + 0.0f);  // -0 becomes +0
  return (bits & 0x80000000u) ? bits : bits ^ 0x7fffffffu;
}

Fields Split(std::vector<float>& floats, std::vector<int32_t>& classes, size_t length) {
  float* f = floats.data();
  return {f, f + length, f + 2 * length, f + 3 * length, f + 4 * length, classes.data()};
}

void Grow(auto& vector, size_t size) {
  if (vector.size() < size) vector.resize(size);
}

}  // namespace

void NonMaxSuppressor::SortByConfidence(const std::vector<Detection>& detections) {
  keys_.clear();
  for (size_t i = 0; i < detections.size(); ++i) {
    if (!CanBeResult(detections[i])) continue;
    keys_.push_back(uint64_t{FallingKey(detections[i].confidence)} << 32 | i);
  }
  if (keys_.size() < kRadixFrom) {
    std::sort(keys_.begin(), keys_.end());
    return;
  }
  // By 11, 11 and 10 bits of the upper half; the lower half is in order already and counting sorts
  // are stable.
  constexpr std::array<int, kPasses> kShift = {32, 43, 54};
  histogram_.assign(kPasses * kBuckets, 0);
  for (const uint64_t key : keys_) {
    for (size_t pass = 0; pass < kPasses; ++pass) {
      ++histogram_[pass * kBuckets + (key >> kShift[pass] & (kBuckets - 1))];
    }
  }
  keys_spare_.resize(keys_.size());
  for (size_t pass = 0; pass < kPasses; ++pass) {
    uint32_t* begin = histogram_.data() + pass * kBuckets;
    const auto bucket_of = [&](uint64_t key) { return key >> kShift[pass] & (kBuckets - 1); };
    if (begin[bucket_of(keys_[0])] == keys_.size()) continue;  // all in one
    uint32_t sum = 0;
    for (size_t b = 0; b < kBuckets; ++b) {
      const uint32_t n = begin[b];
      begin[b] = sum;
      sum += n;
    }
    for (const uint64_t key : keys_) keys_spare_[begin[bucket_of(key)]++] = key;
    keys_.swap(keys_spare_);
  }
}

// Sorts the boxes' centres into cells, and works out for each box the window of cells that can hold
// a centre of a box with IoU > t. From IoU > t follows, in each direction, that the sides' own IoU
// is > t; so the longer side is less than (own side / t), and the centres are nearer than
// longer * (1 - t) / (1 + t). Rounding is covered by taking t a little lower and the window a
// little wider. False when the boxes are such (tiny, huge) that this would not hold in float32.
bool NonMaxSuppressor::BuildGrid(size_t count, float iou_threshold) {
  const Fields box = Split(fields_, classes_, count);
  float min_x = box.x1[0], max_x = box.x2[0], min_y = box.y1[0], max_y = box.y2[0];
  float widest = 0, highest = 0, narrowest = box.x2[0] - box.x1[0], lowest = box.y2[0] - box.y1[0];
  double sum_w = 0, sum_h = 0;
  for (size_t i = 0; i < count; ++i) {
    const float w = box.x2[i] - box.x1[i];
    const float h = box.y2[i] - box.y1[i];
    min_x = std::min(min_x, box.x1[i]);
    max_x = std::max(max_x, box.x2[i]);
    min_y = std::min(min_y, box.y1[i]);
    max_y = std::max(max_y, box.y2[i]);
    widest = std::max(widest, w);
    highest = std::max(highest, h);
    narrowest = std::min(narrowest, w);
    lowest = std::min(lowest, h);
    sum_w += w;
    sum_h += h;
  }
  const float reach = std::max({-min_x, max_x, -min_y, max_y});
  if (std::min(narrowest, lowest) < 1e-6f || reach > 1e9f) return false;
  const float slack = reach * 1e-6f;  // eight times the rounding of a centre
  const float t = std::clamp(iou_threshold - 1e-5f, 0.0f, 1.0f);
  const float side_growth = t > 1e-3f ? 1 / t : std::numeric_limits<float>::infinity();
  const float nearness = (1 - t) / (1 + t) * 1.0001f;

  // Cells about as high as a box and a quarter as wide: a window is few rows, each one range.
  const float mean_w = static_cast<float>(sum_w / count);
  const float mean_h = static_cast<float>(sum_h / count);
  const auto cells_along = [](float length, float cell, float most) {
    return static_cast<uint32_t>(std::clamp(length / cell, 1.0f, most));
  };
  const uint32_t rows = cells_along(max_y - min_y, mean_h, float{kMaxRows});
  columns_ =
      cells_along(max_x - min_x, mean_w * 0.25f, std::min(float{kMaxColumns}, 4.0f * count / rows));
  if (rows * columns_ < 8) return false;  // nothing to leave out
  const float per_x = columns_ / (max_x - min_x);
  const float per_y = rows / (max_y - min_y);
  const float last_column = static_cast<float>(columns_ - 1);
  const float last_row = static_cast<float>(rows - 1);
  // Both are monotonic in floats, so a centre within the window falls into a cell of the window.
  const auto column_of = [&](float x) {
    return static_cast<uint32_t>(std::min(std::max((x - min_x) * per_x, 0.0f), last_column));
  };
  const auto row_of = [&](float y) {
    return static_cast<uint32_t>(std::min(std::max((y - min_y) * per_y, 0.0f), last_row));
  };

  cell_begin_.assign(size_t{rows} * columns_ + 1, 0);
  const float most_x = widest * nearness;
  const float most_y = highest * nearness;
  for (size_t i = 0; i < count; ++i) {
    const float x = (box.x1[i] + box.x2[i]) * 0.5f;
    const float y = (box.y1[i] + box.y2[i]) * 0.5f;
    const float near_x = std::min((box.x2[i] - box.x1[i]) * side_growth * nearness, most_x) + slack;
    const float near_y = std::min((box.y2[i] - box.y1[i]) * side_growth * nearness, most_y) + slack;
    uint16_t* window = window_.data() + 4 * i;
    window[0] = static_cast<uint16_t>(column_of(x - near_x));
    window[1] = static_cast<uint16_t>(column_of(x + near_x));
    window[2] = static_cast<uint16_t>(row_of(y - near_y));
    window[3] = static_cast<uint16_t>(row_of(y + near_y));
    cell_of_[i] = row_of(y) * columns_ + column_of(x);
    ++cell_begin_[cell_of_[i]];
  }
  uint32_t sum = 0;
  for (uint32_t& begin : cell_begin_) {
    sum += begin;
    begin = sum;
  }
  // Filled from each cell's end, which leaves every entry at its cell's beginning.
  for (size_t i = count; i-- > 0;) slot_of_[i] = --cell_begin_[cell_of_[i]];
  return true;
}

void NonMaxSuppressor::GrowScratch(size_t count) {
  const size_t slot_length = count + kSlotPadding;
  Grow(fields_, 5 * count);
  Grow(classes_, count);
  Grow(slots_, 5 * slot_length);
  Grow(slot_classes_, slot_length);
  Grow(window_, 4 * count);
  Grow(cell_of_, count);
  Grow(slot_of_, count);
  Grow(kept_, count);
}

void NonMaxSuppressor::Reserve(size_t boxes) {
  const size_t count = std::min(boxes, kMaxCandidates);
  GrowScratch(count);
  keys_.reserve(boxes);
  keys_spare_.reserve(boxes);
  histogram_.reserve(kPasses * kBuckets);
  cell_begin_.reserve(kMaxRows * kMaxColumns + 1);
  result_.reserve(count);
}

void NonMaxSuppressor::RunHard(const NmsSettings& settings, std::vector<Detection>* detections) {
  const size_t count = std::min(keys_.size(), kMaxCandidates);
  const size_t slot_length = count + kSlotPadding;
  GrowScratch(count);
  GreedyJob job{};
  job.boxes = Split(fields_, classes_, count);
  job.count = count;
  job.slots = Split(slots_, slot_classes_, slot_length);
  job.class_aware = settings.class_aware;
  job.iou_threshold = std::max(0.0f, settings.iou_threshold);  // NaN becomes 0
  job.max_kept = static_cast<size_t>(std::max(settings.max_detections, 0));
  job.kept = kept_.data();
  for (size_t i = 0; i < count; ++i) {
    const Detection& d = (*detections)[static_cast<uint32_t>(keys_[i])];
    job.boxes.x1[i] = d.box_px.x1;
    job.boxes.y1[i] = d.box_px.y1;
    job.boxes.x2[i] = d.box_px.x2;
    job.boxes.y2[i] = d.box_px.y2;
    job.boxes.area[i] = d.box_px.area();
    job.boxes.class_id[i] = d.class_id;
  }
  std::fill_n(job.slots.x1, slot_length, std::numeric_limits<float>::infinity());
  if (count >= kGridFrom && BuildGrid(count, job.iou_threshold)) {
    job.slot_of = slot_of_.data();
    job.window = window_.data();
    job.cell_begin = cell_begin_.data();
    job.columns = columns_;
  }
  const size_t kept = nms_internal::SuppressGreedily(job);
  result_.clear();
  for (size_t k = 0; k < kept; ++k) {
    result_.push_back((*detections)[static_cast<uint32_t>(keys_[kept_[k]])]);
  }
  detections->assign(result_.begin(), result_.end());
}

void NonMaxSuppressor::KeepBest(const NmsSettings& settings, std::vector<Detection>* detections) {
  const size_t kept =
      std::min(keys_.size(), static_cast<size_t>(std::max(settings.max_detections, 0)));
  result_.clear();
  for (size_t k = 0; k < kept; ++k) {
    result_.push_back((*detections)[static_cast<uint32_t>(keys_[k])]);
  }
  detections->assign(result_.begin(), result_.end());
}

void NonMaxSuppressor::RunSoft(const NmsSettings& settings, float min_confidence,
                               std::vector<Detection>* detections) {
  result_.clear();
  for (size_t i = 0; i < std::min(keys_.size(), kMaxSoftCandidates); ++i) {
    result_.push_back((*detections)[static_cast<uint32_t>(keys_[i])]);
  }
  detections->clear();
  const bool gaussian = settings.kind == NmsSettings::Kind::kSoftGaussian;
  const float sigma = std::max(settings.sigma, 1e-6f);
  const auto most = static_cast<size_t>(std::max(settings.max_detections, 0));
  // result_ keeps the order of equals: it shrinks by moving everything behind a gap forward.
  while (!result_.empty() && detections->size() < most) {
    size_t best = 0;
    for (size_t i = 1; i < result_.size(); ++i) {
      if (result_[i].confidence > result_[best].confidence) best = i;
    }
    const Detection winner = result_[best];
    if (!(winner.confidence >= min_confidence)) break;
    detections->push_back(winner);
    size_t left = 0;
    for (size_t i = 0; i < result_.size(); ++i) {
      if (i == best) continue;
      Detection d = result_[i];
      if (!settings.class_aware || d.class_id == winner.class_id) {
        const float iou = IntersectionOverUnion(winner.box_px, d.box_px);
        if (gaussian && iou > 0) {
          d.confidence *= static_cast<float>(std::exp(-double{iou} * iou / sigma));
        } else if (!gaussian && iou > settings.iou_threshold) {
          d.confidence *= 1 - iou;
        }
      }
      if (d.confidence >= min_confidence) result_[left++] = d;
    }
    result_.resize(left);
  }
}

void NonMaxSuppressor::Run(const NmsSettings& settings, float min_confidence,
                           std::vector<Detection>* detections) {
  SortByConfidence(*detections);
  if (keys_.empty()) {
    detections->clear();
    return;
  }
  switch (settings.kind) {
    case NmsSettings::Kind::kHard:
      return RunHard(settings, detections);
    case NmsSettings::Kind::kSoftLinear:
    case NmsSettings::Kind::kSoftGaussian:
      return RunSoft(settings, min_confidence, detections);
    case NmsSettings::Kind::kNone:
      return KeepBest(settings, detections);
  }
}

}  // namespace sightline
