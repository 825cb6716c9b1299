#include "events/event_engine.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>
#include <utility>

namespace sightline {
namespace {

absl::Status CheckNames(const CameraRules& rules) {
  std::vector<std::string_view> names;
  for (const ZoneSpec& zone : rules.zones) names.push_back(zone.name);
  for (const LineSpec& line : rules.lines) names.push_back(line.name);
  std::sort(names.begin(), names.end());
  if (!names.empty() && names.front().empty()) {
    return InvalidArgument("a zone or line has no name");
  }
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) {
    return InvalidArgument("two zones or lines are called {}; names must differ", *twice);
  }
  return absl::OkStatus();
}

bool IsFinite(const Box& box) {
  return std::isfinite(box.x1) && std::isfinite(box.y1) && std::isfinite(box.x2) &&
         std::isfinite(box.y2);
}

constexpr size_t kNew = SIZE_MAX;

// For each of the new rules, which of the old ones it is.
template <typename Rule>
std::vector<size_t> Kept(const std::vector<Rule>& before, const std::vector<Rule>& after,
                         bool any) {
  std::vector<size_t> kept(after.size(), kNew);
  for (size_t i = 0; any && i < after.size(); ++i) {
    const auto same = std::find_if(before.begin(), before.end(), [&](const Rule& rule) {
      return rule.spec() == after[i].spec();
    });
    if (same != before.end()) kept[i] = static_cast<size_t>(same - before.begin());
  }
  return kept;
}

// The states of every slot, rule by rule, in the order of the new rules.
template <typename State>
std::vector<State> Moved(const std::vector<State>& states, size_t rules_before,
                         const std::vector<size_t>& kept, size_t slots) {
  std::vector<State> moved(slots * kept.size());
  for (size_t slot = 0; slot < slots; ++slot) {
    for (size_t i = 0; i < kept.size(); ++i) {
      if (kept[i] != kNew) moved[slot * kept.size() + i] = states[slot * rules_before + kept[i]];
    }
  }
  return moved;
}

}  // namespace

absl::StatusOr<std::unique_ptr<EventEngine>> EventEngine::Create(const CameraRules& rules) {
  SL_RETURN_IF_ERROR(CheckNames(rules));
  if (rules.forget_after_us < 0) {
    return InvalidArgument("forget_after of {} us, must be 0 or more", rules.forget_after_us);
  }
  std::unique_ptr<EventEngine> engine(new EventEngine(rules));
  for (const ZoneSpec& spec : rules.zones) {
    SL_ASSIGN_OR_RETURN(ZoneRule zone, ZoneRule::Create(spec));
    engine->zones_.push_back(std::move(zone));
    engine->counts_.zones.push_back({spec.name, {}, {}});
  }
  for (const LineSpec& spec : rules.lines) {
    SL_ASSIGN_OR_RETURN(LineRule line, LineRule::Create(spec));
    engine->lines_.push_back(std::move(line));
    engine->counts_.lines.push_back({spec.name, spec.forward_name, spec.backward_name, {}, {}});
  }
  return engine;
}

EventEngine::EventEngine(const CameraRules& rules)
    : width_(rules.width),
      height_(rules.height),
      forget_after_us_(rules.forget_after_us),
      identity_(rules.identity) {}

absl::Status EventEngine::Update(const Tracks& tracks, std::vector<Event>* events,
                                 std::vector<int32_t>* occupancy,
                                 std::span<const TrackSummary> ended) {
  SL_RETURN_IF_ERROR(OrderSightings(tracks));
  const bool new_epoch = started_ && tracks.frame.time.epoch != frame_.time.epoch;
  frame_ = tracks.frame;
  started_ = true;
  SetScale(frame_);
  if (new_epoch) EndAll(events);
  for (const TrackSummary& track : ended) {
    const auto record =
        std::lower_bound(records_.begin(), records_.end(), track.track_id,
                         [](const Record& r, int64_t id) { return r.last.track_id < id; });
    if (record == records_.end() || record->last.track_id != track.track_id) continue;
    End(*record, events);
    records_.erase(record);
  }
  for (const TrackedObject* object : sightings_) {
    Record* record = RecordOf(*object);
    if (record == nullptr) continue;
    record->last = *object;
    record->last_pts_us = frame_.time.pts_us;
    WatchZones(*record, events);
    WatchLines(*record, events);
  }
  ForgetUnseen(events);
  SetOccupancy(occupancy);
  return absl::OkStatus();
}

void EventEngine::Finish(std::vector<Event>* events, std::vector<int32_t>* occupancy) {
  EndAll(events);
  SetOccupancy(occupancy);
}

absl::Status EventEngine::ChangeRules(const CameraRules& rules, const FrameMeta& next,
                                      std::vector<Event>* events) {
  SL_ASSIGN_OR_RETURN(const std::unique_ptr<EventEngine> changed, Create(rules));
  // In a picture of another size the same pixels are another place.
  const bool same_picture = width_ == rules.width && height_ == rules.height;
  const std::vector<size_t> kept_zones = Kept(zones_, changed->zones_, same_picture);
  const std::vector<size_t> kept_lines = Kept(lines_, changed->lines_, same_picture);

  const FrameMeta last = std::exchange(frame_, next);  // it is known now
  for (const Record& record : records_) {
    for (size_t i = 0; i < zones_.size(); ++i) {
      const bool stays = std::find(kept_zones.begin(), kept_zones.end(), i) != kept_zones.end();
      if (!stays && zone_states_[record.slot * zones_.size() + i].inside) {
        Exit(record, i, record.last_pts_us, events);
      }
    }
  }
  frame_ = last;

  for (size_t i = 0; i < kept_zones.size(); ++i) {
    if (kept_zones[i] != kNew) changed->counts_.zones[i] = std::move(counts_.zones[kept_zones[i]]);
  }
  for (size_t i = 0; i < kept_lines.size(); ++i) {
    if (kept_lines[i] != kNew) changed->counts_.lines[i] = std::move(counts_.lines[kept_lines[i]]);
  }
  zone_states_ = Moved(zone_states_, zones_.size(), kept_zones, slots_);
  line_states_ = Moved(line_states_, lines_.size(), kept_lines, slots_);
  zones_ = std::move(changed->zones_);
  lines_ = std::move(changed->lines_);
  counts_ = std::move(changed->counts_);
  width_ = rules.width;
  height_ = rules.height;
  forget_after_us_ = rules.forget_after_us;
  identity_ = rules.identity;
  return absl::OkStatus();
}

// Checks the frame and lists its confirmed tracks by rising id.
absl::Status EventEngine::OrderSightings(const Tracks& tracks) {
  const FrameTime& time = tracks.frame.time;
  if (started_ && (time.epoch < frame_.time.epoch ||
                   (time.epoch == frame_.time.epoch && time.pts_us < frame_.time.pts_us))) {
    return InvalidArgument(
        "frame {} (epoch {}, {} us) lies before the previous one (epoch {}, {} us)",
        tracks.frame.ordinal, time.epoch, time.pts_us, frame_.time.epoch, frame_.time.pts_us);
  }
  sightings_.clear();
  for (const TrackedObject& object : tracks.items) {
    if (object.state == TrackState::kConfirmed && IsFinite(object.box_px)) {
      sightings_.push_back(&object);
    }
  }
  const auto by_id = [](const TrackedObject* a, const TrackedObject* b) {
    return a->track_id < b->track_id;
  };
  if (!std::is_sorted(sightings_.begin(), sightings_.end(), by_id)) {
    std::sort(sightings_.begin(), sightings_.end(), by_id);
  }
  for (size_t i = 1; i < sightings_.size(); ++i) {
    if (sightings_[i - 1]->track_id == sightings_[i]->track_id) {
      return InvalidArgument("frame {} holds track {} twice", tracks.frame.ordinal,
                             sightings_[i]->track_id);
    }
  }
  return absl::OkStatus();
}

void EventEngine::SetScale(const FrameMeta& frame) {
  scale_x_ = width_ > 0 && frame.width > 0 ? static_cast<float>(width_) / frame.width : 1.0f;
  scale_y_ = height_ > 0 && frame.height > 0 ? static_cast<float>(height_) / frame.height : 1.0f;
}

// In the coordinates of the rules.
PointF EventEngine::AnchorOf(const Box& box_px, AnchorPoint anchor) const {
  const Box b = {box_px.x1 * scale_x_, box_px.y1 * scale_y_, box_px.x2 * scale_x_,
                 box_px.y2 * scale_y_};
  switch (anchor) {
    case AnchorPoint::kBottomCenter:
      return b.bottom_center();
    case AnchorPoint::kCenter:
      return b.center();
    case AnchorPoint::kTopCenter:
      return {b.center().x, b.y1};
    case AnchorPoint::kBottomLeft:
      return {b.x1, b.y2};
    case AnchorPoint::kBottomRight:
      return {b.x2, b.y2};
    case AnchorPoint::kTopLeft:
      return {b.x1, b.y1};
    case AnchorPoint::kTopRight:
      return {b.x2, b.y1};
  }
  return b.bottom_center();
}

// The record of a track, made at its first sighting; null when too many are watched.
EventEngine::Record* EventEngine::RecordOf(const TrackedObject& object) {
  const auto place =
      std::lower_bound(records_.begin(), records_.end(), object.track_id,
                       [](const Record& r, int64_t id) { return r.last.track_id < id; });
  if (place != records_.end() && place->last.track_id == object.track_id) return &*place;
  if (records_.size() >= kMaxWatched) {
    ++unwatched_sightings_;
    return nullptr;
  }
  Record record;
  record.last = object;
  record.first_pts_us = frame_.time.pts_us;
  if (free_slots_.empty()) {
    record.slot = slots_++;
    zone_states_.resize(slots_ * zones_.size());
    line_states_.resize(slots_ * lines_.size());
    free_slots_.reserve(slots_);
  } else {
    record.slot = free_slots_.back();
    free_slots_.pop_back();
    for (size_t i = 0; i < zones_.size(); ++i) zone_states_[record.slot * zones_.size() + i] = {};
    for (size_t i = 0; i < lines_.size(); ++i) line_states_[record.slot * lines_.size() + i] = {};
  }
  return &*records_.insert(place, record);
}

void EventEngine::WatchZones(const Record& record, std::vector<Event>* events) {
  const TrackedObject& object = record.last;
  const int64_t age_us = frame_.time.pts_us - record.first_pts_us;
  for (size_t i = 0; i < zones_.size(); ++i) {
    const ZoneRule& zone = zones_[i];
    ZoneRule::State& state = zone_states_[record.slot * zones_.size() + i];
    const bool admitted = age_us >= zone.spec().min_track_age_us && zone.Admits(object.class_id);
    const ZoneRule::Change change = zone.Watch(AnchorOf(object.box_px, zone.spec().anchor),
                                               object.box_px.height() * scale_y_, admitted, &state);
    if (change == ZoneRule::Change::kEntered) {
      state.class_id = object.class_id;
      state.entered_pts_us = frame_.time.pts_us;
      Enter(record, i, events);
    } else if (change == ZoneRule::Change::kExited) {
      Exit(record, i, frame_.time.pts_us, events);
    }
  }
}

void EventEngine::WatchLines(const Record& record, std::vector<Event>* events) {
  const TrackedObject& object = record.last;
  const int64_t age_us = frame_.time.pts_us - record.first_pts_us;
  for (size_t i = 0; i < lines_.size(); ++i) {
    const LineRule& line = lines_[i];
    const LineSpec& spec = line.spec();
    if (age_us < spec.min_track_age_us) continue;
    LineRule::State& state = line_states_[record.slot * lines_.size() + i];
    const CrossDirection way =
        line.Watch(AnchorOf(object.box_px, spec.anchor), object.box_px.height() * scale_y_, &state);
    if (way == CrossDirection::kNone || !line.Admits(object.class_id)) continue;
    const bool forward = way == CrossDirection::kForward;
    LineCounts& counts = counts_.lines[i];
    for (LineFlow* flow : {&counts.total, &counts.by_class[object.class_id]}) {
      ++(forward ? flow->forward : flow->backward);
    }
    Event event = MakeEvent(record, EventKind::kLineCross, spec.name, spec.anchor, way);
    event.direction_name = forward ? spec.forward_name : spec.backward_name;
    events->push_back(std::move(event));
  }
}

void EventEngine::Enter(const Record& record, size_t zone, std::vector<Event>* events) {
  const ZoneSpec& spec = zones_[zone].spec();
  ++counts_.zones[zone].total.entered;
  ++counts_.zones[zone].by_class[record.last.class_id].entered;
  events->push_back(
      MakeEvent(record, EventKind::kZoneEnter, spec.name, spec.anchor, CrossDirection::kNone));
}

void EventEngine::Exit(const Record& record, size_t zone, int64_t until_pts_us,
                       std::vector<Event>* events) {
  const ZoneSpec& spec = zones_[zone].spec();
  const ZoneRule::State& state = zone_states_[record.slot * zones_.size() + zone];
  ++counts_.zones[zone].total.exited;
  ++counts_.zones[zone].by_class[state.class_id].exited;
  Event event =
      MakeEvent(record, EventKind::kZoneExit, spec.name, spec.anchor, CrossDirection::kNone);
  event.class_id = state.class_id;  // as it entered, so that the sums by class agree
  event.dwell_us = until_pts_us - state.entered_pts_us;
  events->push_back(std::move(event));
}

// The track is over: it leaves where it was. The caller takes the record away.
void EventEngine::End(const Record& record, std::vector<Event>* events) {
  for (size_t i = 0; i < zones_.size(); ++i) {
    ZoneRule::State& state = zone_states_[record.slot * zones_.size() + i];
    if (!state.inside) continue;
    Exit(record, i, record.last_pts_us, events);
    state.inside = false;
  }
  free_slots_.push_back(record.slot);
}

void EventEngine::EndAll(std::vector<Event>* events) {
  for (const Record& record : records_) End(record, events);
  records_.clear();
}

void EventEngine::ForgetUnseen(std::vector<Event>* events) {
  std::erase_if(records_, [&](const Record& record) {
    const int64_t unseen_us = frame_.time.pts_us - record.last_pts_us;
    if (unseen_us <= forget_after_us_) return false;
    End(record, events);
    return true;
  });
}

void EventEngine::SetOccupancy(std::vector<int32_t>* occupancy) const {
  occupancy->clear();
  for (const ZoneCounts& zone : counts_.zones) occupancy->push_back(zone.total.occupancy());
}

Event EventEngine::MakeEvent(const Record& record, EventKind kind, const std::string& rule,
                             AnchorPoint anchor, CrossDirection direction) const {
  const TrackedObject& object = record.last;
  Event event;
  event.kind = kind;
  event.frame = frame_;
  event.rule = rule;
  event.track_id = object.track_id;
  event.class_id = object.class_id;
  event.confidence = object.confidence;
  event.box_px = object.box_px;
  const PointF scaled = AnchorOf(object.box_px, anchor);
  event.anchor_px = {scaled.x / scale_x_, scaled.y / scale_y_};
  event.direction = direction;
  event.id = MakeTimeUuid(
      frame_.time.capture_utc_us,
      FieldHasher()
          .Add("event")
          .Add(identity_)
          .Add(frame_.camera ? std::string_view(frame_.camera->id) : std::string_view())
          .Add(frame_.time.epoch)
          .Add(frame_.time.capture_utc_us)
          .Add(frame_.ordinal)
          .Add(rule)
          .Add(object.track_id)
          .Add(kind)
          .Add(direction)
          .Finish());
  return event;
}

}  // namespace sightline
