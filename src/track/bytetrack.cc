#include "track/bytetrack.h"

#include <algorithm>
#include <cmath>

#include "base/status.h"

namespace sightline {
namespace {

// Two tracks whose boxes differ by less than this cost follow one object. The reference's value.
constexpr double kDuplicateCost = 0.15;
// The reference counts its buffer in frames at this rate.
constexpr double kBufferFrameRate = 30.0;
// A gap is predicted over by at most so many frames; beyond, a straight way means nothing (chosen).
constexpr int kMaxSteps = 60;

bool Usable(const Detection& d) {
  const bool finite = std::isfinite(d.box_px.x1) && std::isfinite(d.box_px.y1) &&
                      std::isfinite(d.box_px.x2) && std::isfinite(d.box_px.y2) &&
                      std::isfinite(d.confidence);
  // Far beyond any picture, squares would still be exact enough.
  constexpr float kFarPx = 1e7f;
  return finite && d.box_px.width() > 0 && d.box_px.height() > 0 &&
         std::abs(d.box_px.x1) < kFarPx && std::abs(d.box_px.y1) < kFarPx &&
         std::abs(d.box_px.x2) < kFarPx && std::abs(d.box_px.y2) < kFarPx;
}

Box ToBox(const BoxD& box) {
  return {static_cast<float>(box.x1), static_cast<float>(box.y1), static_cast<float>(box.x2),
          static_cast<float>(box.y2)};
}

// The sum is rounded to a millionth, so that a threshold which once was a float (0.6f) gives 0.7
// too.
float NewTrackThreshold(const TrackerOptions& options) {
  if (options.new_track_threshold >= 0) return static_cast<float>(options.new_track_threshold);
  return static_cast<float>(std::round((options.track_threshold + 0.1) * 1e6) / 1e6);
}

int64_t LostUs(const TrackerOptions& options) {
  if (options.max_lost_us > 0) return options.max_lost_us;
  const double buffer_us = options.track_buffer / kBufferFrameRate * 1e6;
  // A slow camera's tracks live over at least one missing frame.
  const double two_frames_us = options.frame_rate > 0 ? 2e6 / options.frame_rate : 0;
  return static_cast<int64_t>(std::max(buffer_us, two_frames_us));
}

}  // namespace

ByteTracker::ByteTracker(const TrackerOptions& options)
    : options_(options),
      edge_px_(options.reference_quirks ? 1.0 : 0.0),
      sure_threshold_(static_cast<float>(options.track_threshold)),
      unsure_threshold_(static_cast<float>(options.low_threshold)),
      new_threshold_(NewTrackThreshold(options)),
      lost_updates_(
          static_cast<uint64_t>(options.frame_rate / kBufferFrameRate * options.track_buffer)),
      lost_us_(LostUs(options)) {}

absl::Status ByteTracker::Update(const Detections& detections, Tracks* tracks) {
  tracks->items.clear();
  tracks->frame = detections.frame;
  SL_RETURN_IF_ERROR(CheckFrame(detections));
  const FrameMeta& frame = detections.frame;
  ++stats_.updates;
  const int steps = StepsTo(frame.time);
  EnterFrame(frame);
  if (!options_.reference_quirks) GiveUpOld();
  SortDetections(detections.items);

  tentative_.clear();
  pool_.clear();
  for (const int32_t slot : tracked_) {
    (slots_[slot].confirmed ? pool_ : tentative_).push_back(slot);
  }
  pool_.insert(pool_.end(), lost_.begin(), lost_.end());
  PredictTracks(steps);

  new_lost_.clear();
  new_tracked_.clear();
  refound_.clear();
  AssociateSure();
  AssociateUnsure();
  AssociateTentative();
  StartTracks(frame);
  UpdateLists();
  DropDuplicates();
  Report(frame, tracks);
  stats_.live_tracks = static_cast<int>(tracked_.size() + lost_.size());
  return absl::OkStatus();
}

absl::Status ByteTracker::CheckFrame(const Detections& detections) const {
  const FrameMeta& frame = detections.frame;
  if (detections.items.size() > static_cast<size_t>(options_.max_detections)) {
    return InvalidArgument(
        "frame {} has {} detections, the tracker takes at most {}: raise the model's confidence "
        "threshold or its NMS",
        frame.ordinal, detections.items.size(), options_.max_detections);
  }
  if (started_ && frame.time.epoch == time_.epoch && frame.time.pts_us < time_.pts_us) {
    return InvalidArgument("frame {} lies at {} us, before the previous frame at {} us",
                           frame.ordinal, frame.time.pts_us, time_.pts_us);
  }
  if (started_ && frame.time.epoch < time_.epoch) {
    return InvalidArgument("frame {} belongs to epoch {}, which ended when epoch {} began",
                           frame.ordinal, frame.time.epoch, time_.epoch);
  }
  return absl::OkStatus();
}

// How many frames of the nominal rate lie between the previous frame and this one.
int ByteTracker::StepsTo(const FrameTime& time) const {
  const bool measurable = started_ && time.epoch == time_.epoch && options_.frame_rate > 0;
  if (options_.reference_quirks || !measurable) return 1;
  const double frames =
      static_cast<double>(time.pts_us - time_.pts_us) * 1e-6 * options_.frame_rate;
  return static_cast<int>(std::clamp(std::round(frames), 1.0, static_cast<double>(kMaxSteps)));
}

void ByteTracker::EnterFrame(const FrameMeta& frame) {
  if (!camera_) camera_ = frame.camera;
  const bool new_epoch = started_ && frame.time.epoch != time_.epoch;
  if (new_epoch && !options_.reference_quirks && !options_.link_epochs) ReleaseAll();
  if (started_ && !new_epoch) {
    clock_us_ += frame.time.pts_us - time_.pts_us;
  } else if (new_epoch && options_.frame_rate > 0) {
    clock_us_ += static_cast<int64_t>(1e6 / options_.frame_rate);
  }
  if (started_ && (frame.width != width_ || frame.height != height_)) RescaleTracks(frame);
  started_ = true;
  time_ = frame.time;
  width_ = frame.width;
  height_ = frame.height;
}

void ByteTracker::RescaleTracks(const FrameMeta& frame) {
  if (width_ <= 0 || height_ <= 0 || frame.width <= 0 || frame.height <= 0) return;
  const double by_x = static_cast<double>(frame.width) / width_;
  const double by_y = static_cast<double>(frame.height) / height_;
  for (const auto* list : {&tracked_, &lost_}) {
    for (const int32_t slot : *list) {
      slots_[slot].filter.Scale(by_x, by_y);
      slots_[slot].box = slots_[slot].filter.box();
    }
  }
}

void ByteTracker::GiveUpOld() {
  for (auto* list : {&tracked_, &lost_}) {
    std::erase_if(*list, [this](int32_t slot) {
      if (clock_us_ - slots_[slot].last_clock_us <= lost_us_) return false;
      Release(slot);
      return true;
    });
  }
}

void ByteTracker::SortDetections(const std::vector<Detection>& items) {
  sure_.clear();
  unsure_.clear();
  for (size_t i = 0; i < items.size(); ++i) {
    const Detection& d = items[i];
    if (!Usable(d)) {
      ++stats_.rejected_boxes;
      continue;
    }
    Candidate candidate;
    candidate.reported = d.confidence;
    candidate.confidence =
        options_.reference_quirks ? d.confidence : std::clamp(d.confidence, 0.0f, 1.0f);
    candidate.class_id = d.class_id;
    candidate.index = static_cast<int32_t>(i);
    candidate.box = {d.box_px.x1, d.box_px.y1, d.box_px.x2, d.box_px.y2};
    if (d.confidence > sure_threshold_) {
      sure_.push_back(candidate);
    } else if (d.confidence == sure_threshold_) {
      if (!options_.reference_quirks) sure_.push_back(candidate);
    } else if (options_.reference_quirks ? d.confidence > unsure_threshold_
                                         : d.confidence >= unsure_threshold_) {
      unsure_.push_back(candidate);
    }
  }
}

void ByteTracker::PredictTracks(int steps) {
  const auto predict = [&](int32_t slot) {
    Track& track = slots_[slot];
    for (int step = 0; step < steps; ++step) {
      if (track.phase != Phase::kTracked) track.filter.StopGrowth();
      track.filter.Predict();
    }
    track.box = track.filter.box();
  };
  for (const int32_t slot : pool_) predict(slot);
  if (options_.reference_quirks) return;
  for (const int32_t slot : tentative_) predict(slot);
}

double ByteTracker::Overlap(const BoxD& a, const BoxD& b) const {
  const double w = std::min(a.x2, b.x2) - std::max(a.x1, b.x1) + edge_px_;
  if (w <= 0) return 0;
  const double h = std::min(a.y2, b.y2) - std::max(a.y1, b.y1) + edge_px_;
  if (h <= 0) return 0;
  const double area_a = (a.x2 - a.x1 + edge_px_) * (a.y2 - a.y1 + edge_px_);
  const double area_b = (b.x2 - b.x1 + edge_px_) * (b.y2 - b.y1 + edge_px_);
  return w * h / (area_a + area_b - w * h);
}

void ByteTracker::Associate(const std::vector<int32_t>& slots,
                            const std::vector<Candidate>& candidates, double limit,
                            bool weigh_confidence) {
  assignment_.Begin(static_cast<int>(slots.size()), static_cast<int>(candidates.size()), limit);
  const bool by_class = options_.class_aware && !options_.reference_quirks;
  for (size_t row = 0; row < slots.size(); ++row) {
    const Track& track = slots_[slots[row]];
    for (size_t column = 0; column < candidates.size(); ++column) {
      const Candidate& candidate = candidates[column];
      if (by_class && candidate.class_id != track.class_id) continue;
      const double overlap = Overlap(track.box, candidate.box);
      if (overlap <= 0) continue;
      // Twice through 1 - x, so that rounding is the reference's.
      double cost = 1 - overlap;
      if (weigh_confidence) cost = 1 - (1 - cost) * candidate.confidence;
      assignment_.Add(static_cast<int>(row), static_cast<int>(column), cost);
    }
  }
  assignment_.Solve();
}

void ByteTracker::Match(int32_t slot, const Candidate& candidate) {
  Track& track = slots_[slot];
  track.filter.Correct(BoxState::Of(candidate.box));
  track.box = track.filter.box();
  track.phase = Phase::kTracked;
  track.confidence = candidate.reported;
  if (candidate.reported > track.max_confidence) {
    track.max_confidence = candidate.reported;
    track.class_id = candidate.class_id;  // differs only where classes may mix
  }
  track.detection = candidate.index;
  ++track.hits;
  track.last_update = stats_.updates;
  track.last_clock_us = clock_us_;
  if (options_.reference_quirks || track.hits >= options_.confirm_hits) track.confirmed = true;
}

void ByteTracker::AssociateSure() {
  Associate(pool_, sure_, options_.match_threshold, true);
  const std::vector<int32_t>& column_of_row = assignment_.column_of_row();
  unmatched_.clear();
  for (size_t row = 0; row < pool_.size(); ++row) {
    const int32_t slot = pool_[row];
    const bool was_tracked = slots_[slot].phase == Phase::kTracked;
    if (column_of_row[row] == Assignment::kNone) {
      if (was_tracked) unmatched_.push_back(slot);
      continue;
    }
    Match(slot, sure_[column_of_row[row]]);
    if (!was_tracked) refound_.push_back(slot);
  }
  left_over_.clear();
  for (size_t column = 0; column < sure_.size(); ++column) {
    if (assignment_.row_of_column()[column] == Assignment::kNone) {
      left_over_.push_back(sure_[column]);
    }
  }
}

void ByteTracker::AssociateUnsure() {
  Associate(unmatched_, unsure_, options_.low_match_threshold, false);
  const std::vector<int32_t>& column_of_row = assignment_.column_of_row();
  for (size_t row = 0; row < unmatched_.size(); ++row) {
    const int32_t slot = unmatched_[row];
    if (column_of_row[row] != Assignment::kNone) {
      Match(slot, unsure_[column_of_row[row]]);
    } else {
      slots_[slot].phase = Phase::kLost;
      new_lost_.push_back(slot);
    }
  }
}

void ByteTracker::AssociateTentative() {
  Associate(tentative_, left_over_, options_.tentative_match_threshold, true);
  for (size_t row = 0; row < tentative_.size(); ++row) {
    const int32_t column = assignment_.column_of_row()[row];
    if (column != Assignment::kNone) {
      Match(tentative_[row], left_over_[column]);
    } else {
      slots_[tentative_[row]].phase = Phase::kGivenUp;
    }
  }
}

void ByteTracker::StartTracks(const FrameMeta& frame) {
  for (size_t column = 0; column < left_over_.size(); ++column) {
    if (assignment_.row_of_column()[column] != Assignment::kNone) continue;
    if (left_over_[column].reported < new_threshold_) continue;
    StartTrack(left_over_[column], frame);
  }
}

void ByteTracker::StartTrack(const Candidate& candidate, const FrameMeta& frame) {
  if (slots_.size() - free_slots_.size() >= static_cast<size_t>(options_.max_tracks)) {
    ++stats_.refused_tracks;
    return;
  }
  const int32_t slot = TakeSlot();
  Track& track = slots_[slot];
  track = Track();
  track.id = next_id_++;
  track.confirmed = options_.reference_quirks ? stats_.updates == 1 : options_.confirm_hits <= 1;
  track.class_id = candidate.class_id;
  track.confidence = track.max_confidence = candidate.reported;
  track.detection = candidate.index;
  track.hits = 1;
  track.start_update = track.last_update = stats_.updates;
  track.last_clock_us = clock_us_;
  track.first = frame.time;
  track.first_ordinal = frame.ordinal;
  track.first_box_px = ToBox(candidate.box);
  track.filter.Start(BoxState::Of(candidate.box));
  track.box = track.filter.box();
  ++stats_.started_tracks;
  new_tracked_.push_back(slot);
}

void ByteTracker::UpdateLists() {
  std::erase_if(tracked_, [this](int32_t slot) {
    if (slots_[slot].phase == Phase::kGivenUp) Release(slot);
    return slots_[slot].phase != Phase::kTracked;
  });
  tracked_.insert(tracked_.end(), new_tracked_.begin(), new_tracked_.end());
  tracked_.insert(tracked_.end(), refound_.begin(), refound_.end());
  std::erase_if(lost_, [this](int32_t slot) { return slots_[slot].phase == Phase::kTracked; });
  lost_.insert(lost_.end(), new_lost_.begin(), new_lost_.end());
  if (options_.reference_quirks) GiveUpByUpdates();
}

// The reference takes the tracks that it gave up out of its list one frame late: until then they
// can be found again, and then end for good with their next loss.
void ByteTracker::GiveUpByUpdates() {
  std::erase_if(lost_, [this](int32_t slot) {
    if (!slots_[slot].given_up_before) return false;
    Release(slot);
    return true;
  });
  for (const int32_t slot : lost_) {
    Track& track = slots_[slot];
    if (stats_.updates - track.last_update <= lost_updates_) continue;
    track.phase = Phase::kGivenUp;
    track.given_up_before = true;
  }
}

void ByteTracker::DropDuplicates() {
  if (tracked_.empty() || lost_.empty()) return;
  const bool by_class = options_.class_aware && !options_.reference_quirks;
  drop_a_.assign(tracked_.size(), 0);
  drop_b_.assign(lost_.size(), 0);
  bool any = false;
  for (size_t i = 0; i < tracked_.size(); ++i) {
    const Track& a = slots_[tracked_[i]];
    for (size_t j = 0; j < lost_.size(); ++j) {
      const Track& b = slots_[lost_[j]];
      if (by_class && a.class_id != b.class_id) continue;
      if (!(1 - Overlap(a.box, b.box) < kDuplicateCost)) continue;
      any = true;
      // The one that was followed longer stays.
      const uint64_t age_a = a.last_update - a.start_update;
      const uint64_t age_b = b.last_update - b.start_update;
      (age_a > age_b ? drop_b_[j] : drop_a_[i]) = 1;
    }
  }
  if (!any) return;
  const auto drop = [this](std::vector<int32_t>& list, const std::vector<uint8_t>& marks) {
    size_t kept = 0;
    for (size_t i = 0; i < list.size(); ++i) {
      if (marks[i]) {
        Release(list[i]);
      } else {
        list[kept++] = list[i];
      }
    }
    list.resize(kept);
  };
  drop(tracked_, drop_a_);
  drop(lost_, drop_b_);
}

int32_t ByteTracker::TakeSlot() {
  if (!free_slots_.empty()) {
    const int32_t slot = free_slots_.back();
    free_slots_.pop_back();
    return slot;
  }
  slots_.emplace_back();
  free_slots_.reserve(slots_.capacity());
  return static_cast<int32_t>(slots_.size() - 1);
}

void ByteTracker::Release(int32_t slot) {
  if (slots_[slot].reported_hits > 0) finished_.push_back(SummaryOf(slots_[slot]));
  free_slots_.push_back(slot);
}

void ByteTracker::ReleaseAll() {
  for (auto* list : {&tracked_, &lost_}) {
    for (const int32_t slot : *list) Release(slot);
    list->clear();
  }
}

void ByteTracker::Finish() {
  ReleaseAll();
  stats_.live_tracks = 0;
}

void ByteTracker::TakeFinished(std::vector<TrackSummary>* finished) {
  finished->insert(finished->end(), finished_.begin(), finished_.end());
  finished_.clear();
}

void ByteTracker::Report(const FrameMeta& frame, Tracks* tracks) {
  for (const int32_t slot : tracked_) {
    Track& track = slots_[slot];
    if (!track.confirmed) continue;
    if (track.reported_hits == 0) ++stats_.confirmed_tracks;
    track.reported_hits = track.hits;
    track.last = frame.time;
    track.last_ordinal = frame.ordinal;
    track.last_box_px = ToBox(track.box);
    TrackedObject object;
    object.track_id = track.id;
    object.state = TrackState::kConfirmed;
    object.box_px = track.last_box_px;
    object.confidence = track.confidence;
    object.class_id = track.class_id;
    object.detection = track.detection;
    object.first_ordinal = track.first_ordinal;
    object.hits = track.hits;
    tracks->items.push_back(object);
  }
  std::sort(tracks->items.begin(), tracks->items.end(),
            [](const TrackedObject& a, const TrackedObject& b) { return a.track_id < b.track_id; });
}

TrackSummary ByteTracker::SummaryOf(const Track& track) const {
  TrackSummary summary;
  const Hash128 hash = FieldHasher()
                           .Add("track")
                           .Add(camera_ ? std::string_view(camera_->id) : std::string_view())
                           .Add(track.first.epoch)
                           .Add(track.first.capture_utc_us)
                           .Add(track.first_ordinal)
                           .Add(track.id)
                           .Add(options_.identity)
                           .Finish();
  summary.id = MakeTimeUuid(track.first.capture_utc_us, hash);
  summary.camera = camera_;
  summary.track_id = track.id;
  summary.class_id = track.class_id;
  summary.first = track.first;
  summary.last = track.last;
  summary.first_ordinal = track.first_ordinal;
  summary.last_ordinal = track.last_ordinal;
  summary.hits = track.reported_hits;
  summary.max_confidence = track.max_confidence;
  summary.first_box_px = track.first_box_px;
  summary.last_box_px = track.last_box_px;
  return summary;
}

}  // namespace sightline
