#include "observe/report_data.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace sightline {
namespace {

// Many objects, and rather whole ones than such that the border cuts.
int64_t Score(const std::vector<TrackedObject>& objects, const FrameMeta& meta) {
  const float right = static_cast<float>(meta.width) - 1;
  const float bottom = static_cast<float>(meta.height) - 1;
  int64_t score = 0;
  for (const TrackedObject& object : objects) {
    const Box& box = object.box_px;
    score += box.x1 > 1 && box.y1 > 1 && box.x2 < right && box.y2 < bottom ? 3 : 2;
  }
  return score;
}

}  // namespace

void CountsOverTime::Add(int64_t time_us, const std::vector<uint32_t>& counts) {
  while (time_us / bucket_us_ >= static_cast<int64_t>(kMaxBuckets)) DoubleWidth();
  const auto bucket = static_cast<size_t>(time_us / bucket_us_);
  if (bucket >= frames_.size()) frames_.resize(bucket + 1);
  ++frames_[bucket];
  if (sums_.size() < counts.size()) sums_.resize(counts.size());
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    if (sums_[i].empty()) sums_[i].resize(kMaxBuckets);
    sums_[i][bucket] += counts[i];
  }
}

double CountsOverTime::Mean(size_t bucket, size_t class_index) const {
  if (class_index >= sums_.size() || sums_[class_index].empty() || frames_[bucket] == 0) return 0;
  return static_cast<double>(sums_[class_index][bucket]) / frames_[bucket];
}

void CountsOverTime::DoubleWidth() {
  const auto halve = [](auto& values) {
    for (size_t i = 0; i < values.size(); ++i) {
      const auto value = values[i];
      values[i] = 0;
      values[i / 2] += value;
    }
  };
  halve(frames_);
  frames_.resize((frames_.size() + 1) / 2);
  for (std::vector<uint64_t>& sums : sums_) halve(sums);
  bucket_us_ *= 2;
}

std::vector<RuleTally> CarriedOver(const std::vector<ReportRule>& before,
                                   const std::vector<RuleTally>& tallies,
                                   const std::vector<ReportRule>& after) {
  std::vector<RuleTally> carried(after.size());
  for (size_t i = 0; i < after.size(); ++i) {
    const auto same = std::find_if(before.begin(), before.end(), [&](const ReportRule& rule) {
      return rule.name == after[i].name && rule.points_px == after[i].points_px;
    });
    if (same != before.end()) carried[i] = tallies[static_cast<size_t>(same - before.begin())];
  }
  return carried;
}

ReportData::ReportData(std::vector<ReportRule> rules)
    : rules_(std::move(rules)), tallies_(rules_.size()) {}

void ReportData::SetRules(std::vector<ReportRule> rules) {
  tallies_ = CarriedOver(rules_, tallies_, rules);
  rules_ = std::move(rules);
}

size_t ReportData::ClassIndex(int32_t class_id) {
  for (size_t i = 0; i < class_ids_.size(); ++i) {
    if (class_ids_[i] == class_id) return i;
  }
  if (class_ids_.size() >= kMaxClasses) return kMaxClasses - 1;
  class_ids_.push_back(class_ids_.size() + 1 == kMaxClasses ? -1 : class_id);
  tracks_per_class_.push_back(0);
  counts_.push_back(0);
  return class_ids_.size() - 1;
}

std::string ReportData::ClassName(size_t class_index) const {
  const int32_t class_id = class_ids_[class_index];
  if (class_id < 0) return "others";
  return NameOf(class_id);
}

std::string ReportData::NameOf(int32_t class_id) const {
  return labels_ == nullptr ? LabelSet().NameOf(class_id) : labels_->NameOf(class_id);
}

void ReportData::Add(const FrameResult& result) {
  wants_picture_ = false;
  for (const Event& event : result.events) AddEvent(event);
  if (result.end_of_stream) return;
  const FrameMeta& meta = result.frame.meta;
  if (result.detections.labels != nullptr && labels_ != result.detections.labels) {
    labels_ = result.detections.labels;
  }
  if (frames_ == 0) {
    first_utc_us_ = meta.time.capture_utc_us;
    clock_ = meta.time.clock;
    width_ = std::max(1, meta.width);
    height_ = std::max(1, meta.height);
    const float scale =
        static_cast<float>(kGridCells) / static_cast<float>(std::max(width_, height_));
    grid_width_ = std::max(1, static_cast<int>(std::lround(static_cast<float>(width_) * scale)));
    grid_height_ = std::max(1, static_cast<int>(std::lround(static_cast<float>(height_) * scale)));
    grid_.assign(static_cast<size_t>(grid_width_) * static_cast<size_t>(grid_height_), 0);
  }
  ++frames_;
  detections_ += result.detections.items.size();
  const int64_t time_us = std::max<int64_t>(0, meta.time.capture_utc_us - first_utc_us_);
  last_time_us_ = std::max(last_time_us_, time_us);

  std::fill(counts_.begin(), counts_.end(), 0u);
  candidate_objects_.clear();
  for (const TrackedObject& object : result.tracks.items) {
    if (object.state != TrackState::kConfirmed) continue;
    ++counts_[ClassIndex(object.class_id)];
    AddSighting(object, meta);
    candidate_objects_.push_back(object);
  }
  over_time_.Add(time_us, counts_);
  for (size_t i = 0, zone = 0; i < rules_.size(); ++i) {
    if (rules_[i].is_line) continue;
    if (zone < result.zone_occupancy.size()) {
      tallies_[i].peak = std::max(tallies_[i].peak, result.zone_occupancy[zone]);
    }
    ++zone;
  }
  const auto objects = static_cast<uint32_t>(candidate_objects_.size());
  if (objects > peak_objects_) {
    peak_objects_ = objects;
    peak_time_us_ = time_us;
  }
  candidate_time_us_ = time_us;
  candidate_width_ = std::max(1, meta.width);
  candidate_height_ = std::max(1, meta.height);
  candidate_score_ = Score(candidate_objects_, meta);
  wants_picture_ = candidate_score_ > picture_score_;
}

void ReportData::KeepPicture(std::vector<uint8_t> bgr, int width, int height) {
  picture_.bgr = std::move(bgr);
  picture_.width = width;
  picture_.height = height;
  picture_.time_us = candidate_time_us_;
  picture_.frame_width = candidate_width_;
  picture_.frame_height = candidate_height_;
  picture_.objects = candidate_objects_;
  picture_score_ = candidate_score_;
  wants_picture_ = false;
}

void ReportData::AddSighting(const TrackedObject& object, const FrameMeta& meta) {
  // A camera that changed its resolution: everything is shown on the first one's picture.
  const PointF anchor = object.box_px.bottom_center();
  const PointF at = {
      anchor.x * static_cast<float>(width_) / static_cast<float>(std::max(1, meta.width)),
      anchor.y * static_cast<float>(height_) / static_cast<float>(std::max(1, meta.height))};
  if (!std::isfinite(at.x) || !std::isfinite(at.y)) return;
  const float cell_x = at.x / static_cast<float>(width_) * static_cast<float>(grid_width_);
  const float cell_y = at.y / static_cast<float>(height_) * static_cast<float>(grid_height_);
  const int column =
      static_cast<int>(std::clamp(cell_x, 0.0f, static_cast<float>(grid_width_ - 1)));
  const int row = static_cast<int>(std::clamp(cell_y, 0.0f, static_cast<float>(grid_height_ - 1)));
  ++grid_[static_cast<size_t>(row) * static_cast<size_t>(grid_width_) +
          static_cast<size_t>(column)];

  Trail* trail = TrailOf(object);
  if (trail == nullptr) return;
  if (trail->sightings > 0) {
    trail->length_px += std::hypot(at.x - trail->last_px.x, at.y - trail->last_px.y);
  }
  trail->last_px = at;
  if (trail->sightings++ % trail->stride != 0) return;
  if (trail->points_px.size() == kMaxTrailPoints) {
    for (size_t i = 0; i < kMaxTrailPoints / 2; ++i) trail->points_px[i] = trail->points_px[2 * i];
    trail->points_px.resize(kMaxTrailPoints / 2);
    trail->stride *= 2;
    if ((trail->sightings - 1) % trail->stride != 0) return;
  }
  trail->points_px.push_back(at);
}

// When there are too many, the shortest gives its place to the newcomer: what is kept are the long
// ways, which show where people go.
Trail* ReportData::TrailOf(const TrackedObject& object) {
  if (const auto found = trail_of_track_.find(object.track_id); found != trail_of_track_.end()) {
    return &trails_[found->second];
  }
  size_t place = trails_.size();
  if (place == kMaxTrails) {
    const auto shortest =
        std::min_element(trails_.begin(), trails_.end(),
                         [](const Trail& a, const Trail& b) { return a.length_px < b.length_px; });
    place = static_cast<size_t>(shortest - trails_.begin());
    trail_of_track_.erase(trails_[place].track_id);
  } else {
    trails_.emplace_back().points_px.reserve(kMaxTrailPoints);
  }
  Trail& trail = trails_[place];
  trail.track_id = object.track_id;
  trail.class_id = object.class_id;
  trail.length_px = 0;
  trail.points_px.clear();
  trail.stride = 1;
  trail.sightings = 0;
  trail_of_track_[object.track_id] = place;
  return &trail;
}

void ReportData::AddEvent(const Event& event) {
  ++events_;
  for (size_t i = 0; i < rules_.size(); ++i) {
    if (rules_[i].name != event.rule) continue;
    RuleTally& tally = tallies_[i];
    switch (event.kind) {
      case EventKind::kZoneEnter:
        ++tally.entered;
        break;
      case EventKind::kZoneExit:
        ++tally.exited;
        tally.dwell_us += event.dwell_us;
        break;
      case EventKind::kLineCross:
        ++(event.direction == CrossDirection::kForward ? tally.forward : tally.backward);
        break;
    }
    return;
  }
}

void ReportData::AddTrack(const TrackSummary& track) {
  ++tracks_;
  ++tracks_per_class_[ClassIndex(track.class_id)];
}

void ReportData::SetLedger(const FrameCounts& counts) {
  ledger_ = counts;
  has_ledger_ = true;
}

std::vector<const Trail*> ReportData::LongestTrails(size_t limit) const {
  std::vector<const Trail*> longest;
  for (const Trail& trail : trails_) {
    if (trail.points_px.size() >= 2) longest.push_back(&trail);
  }
  std::sort(longest.begin(), longest.end(), [](const Trail* a, const Trail* b) {
    return a->length_px != b->length_px ? a->length_px > b->length_px : a->track_id < b->track_id;
  });
  if (longest.size() > limit) longest.resize(limit);
  return longest;
}

}  // namespace sightline
