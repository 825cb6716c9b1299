#include "pipeline/camera_setup.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/nearest_word.h"

namespace sightline {
namespace {

AnchorPoint AnchorOf(BoxAnchor anchor) {
  switch (anchor) {
    case BoxAnchor::kBottomCenter:
      return AnchorPoint::kBottomCenter;
    case BoxAnchor::kCenter:
      return AnchorPoint::kCenter;
    case BoxAnchor::kTopCenter:
      return AnchorPoint::kTopCenter;
    case BoxAnchor::kBottomLeft:
      return AnchorPoint::kBottomLeft;
    case BoxAnchor::kBottomRight:
      return AnchorPoint::kBottomRight;
    case BoxAnchor::kTopLeft:
      return AnchorPoint::kTopLeft;
    case BoxAnchor::kTopRight:
      return AnchorPoint::kTopRight;
  }
  return AnchorPoint::kBottomCenter;
}

constexpr int64_t kMostBufferFrames = 1'000'000;  // TrackerOptions' own bound

// Factors from the configuration's coordinates to pixels.
struct Scale {
  float x = 1;
  float y = 1;
  PointF operator()(const PointF& p) const { return {p.x * x, p.y * y}; }
};

// A zone or line that no point of the picture can meet.
absl::Status CheckInside(std::string_view what, const std::string& name,
                         const std::vector<PointF>& points_px, int width, int height) {
  float left = points_px[0].x, right = left, top = points_px[0].y, bottom = top;
  for (const PointF& p : points_px) {
    left = std::min(left, p.x);
    right = std::max(right, p.x);
    top = std::min(top, p.y);
    bottom = std::max(bottom, p.y);
  }
  if (right >= 0 && bottom >= 0 && left <= static_cast<float>(width) &&
      top <= static_cast<float>(height)) {
    return absl::OkStatus();
  }
  return InvalidArgument(
      "{} \"{}\" lies outside the picture: x {:g} to {:g} and y {:g} to {:g}, but the picture has "
      "{}x{} pixels; correct its points, or give them as fractions with `coordinates: fraction`",
      what, name, left, right, top, bottom, width, height);
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> ClassIdsOf(const std::vector<std::string>& names,
                                                const LabelSet& labels) {
  std::vector<int32_t> ids;
  const std::vector<std::string_view> known(labels.names.begin(), labels.names.end());
  for (const std::string& name : names) {
    const auto found = std::find(labels.names.begin(), labels.names.end(), name);
    if (found == labels.names.end()) {
      const std::string near = NearestWord(name, known);
      return InvalidArgument("the model has no class \"{}\"{}", name,
                             near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near));
    }
    ids.push_back(static_cast<int32_t>(found - labels.names.begin()));
  }
  return ids;
}

absl::StatusOr<CameraRules> RulesOf(const Config& config, const CameraConfig& camera, int width,
                                    int height, const LabelSet& labels) {
  CameraRules rules;
  if (camera.zones.empty() && camera.lines.empty()) return rules;
  const auto place = [&](const ConfigLocation& at) {
    return fmt::format("{}:{}:{}", config.file, at.line, at.column);
  };
  if (width <= 0 || height <= 0) {
    return InvalidArgument(
        "{}: the source does not say its picture size, which zones and lines need",
        place(camera.source_at));
  }
  rules.width = width;
  rules.height = height;
  Scale scale;
  if (camera.coordinates == Coordinates::kFraction) {
    scale = {static_cast<float>(width), static_cast<float>(height)};
  }
  const auto classes_of = [&](const auto& rule) -> absl::StatusOr<std::vector<int32_t>> {
    auto ids = ClassIdsOf(rule.classes, labels);
    if (!ids.ok()) return WithContext(ids.status(), place(rule.at));
    return ids;
  };
  const auto margin_of = [&](const std::optional<float>& margin) {
    return margin ? BoundaryMargin{.px = *margin * scale.y, .box_heights = 0} : BoundaryMargin{};
  };
  for (const ZoneConfig& zone : camera.zones) {
    ZoneSpec spec;
    spec.name = zone.name;
    for (const PointF& point : zone.polygon) spec.polygon_px.push_back(scale(point));
    spec.anchor = AnchorOf(zone.anchor);
    spec.margin = margin_of(zone.margin);
    spec.enter_frames = zone.enter_frames;
    spec.exit_frames = zone.exit_frames;
    SL_ASSIGN_OR_RETURN(spec.classes, classes_of(zone));
    SL_RETURN_IF_ERROR(WithContext(CheckInside("zone", zone.name, spec.polygon_px, width, height),
                                   place(zone.at)));
    rules.zones.push_back(std::move(spec));
  }
  for (const LineConfig& line : camera.lines) {
    LineSpec spec;
    spec.name = line.name;
    spec.a_px = scale(line.from);
    spec.b_px = scale(line.to);
    spec.anchor = AnchorOf(line.anchor);
    spec.forward_name = line.forward;
    spec.backward_name = line.backward;
    spec.margin = margin_of(line.margin);
    SL_ASSIGN_OR_RETURN(spec.classes, classes_of(line));
    SL_RETURN_IF_ERROR(WithContext(
        CheckInside("line", line.name, {spec.a_px, spec.b_px}, width, height), place(line.at)));
    rules.lines.push_back(std::move(spec));
  }
  return rules;
}

Analytics AnalyticsOf(const Config& config, const CameraConfig& camera, const SourceInfo& source,
                      CameraRules rules, const Hash128& detector) {
  const ConfigIdentity identity = IdentityOf(config, camera);
  // What the ids of each kind of record depend on; nothing else enters them, so that a change of
  // a zone leaves the ids of detections and tracks as they are.
  Analytics analytics;
  analytics.identity = FieldHasher()
                           .Add(camera.id)
                           .Add(source.fingerprint)
                           .Add(detector)
                           .Add(identity.selection)
                           .Add(identity.model)
                           .Finish();

  TrackerOptions& tracker = analytics.tracker;
  const TrackerConfig& wanted = camera.tracker;
  if (wanted.kind == TrackerType::kNone) tracker.kind = TrackerOptions::Kind::kNone;
  tracker.track_threshold = wanted.track_thresh;
  tracker.low_threshold = wanted.low_thresh;
  if (wanted.new_track_thresh) tracker.new_track_threshold = *wanted.new_track_thresh;
  tracker.match_threshold = wanted.match_thresh;
  tracker.track_buffer = wanted.track_buffer;
  tracker.max_lost_us = wanted.max_lost_us.value_or(0);
  if (wanted.max_lost_us) {  // the reference counts frames
    tracker.track_buffer = static_cast<int>(
        std::clamp<int64_t>(*wanted.max_lost_us * 30 / 1'000'000, 1, kMostBufferFrames));
  }
  tracker.reference_quirks = wanted.reference_quirks;
  tracker.frame_rate = source.fps / camera.selection.every_nth;
  if (camera.selection.target_fps > 0) {
    tracker.frame_rate = tracker.frame_rate > 0
                             ? std::min(tracker.frame_rate, camera.selection.target_fps)
                             : camera.selection.target_fps;
  }
  tracker.identity = FieldHasher().Add(analytics.identity).Add(identity.tracker).Finish();

  rules.identity = FieldHasher().Add(tracker.identity).Add(identity.rules).Finish();
  // Longer than the tracker keeps lost tracks, which is at least two frames of a slow camera.
  int64_t lost_us = wanted.max_lost_us.value_or(1'000'000LL * tracker.track_buffer / 30);
  if (tracker.frame_rate > 0) {
    lost_us = std::max(lost_us, static_cast<int64_t>(2e6 / tracker.frame_rate));
  }
  rules.forget_after_us = std::max(rules.forget_after_us, 2 * lost_us);
  analytics.rules = std::move(rules);
  return analytics;
}

absl::StatusOr<std::unique_ptr<MotionGate>> MotionGateOf(const CameraConfig& camera) {
  if (!camera.motion) return nullptr;
  MotionOptions motion;
  motion.changed_area = camera.motion->changed_area;
  motion.hold_us = camera.motion->hold_us;
  return MotionGate::Create(motion);
}

std::vector<std::pair<std::string, uint64_t>> RuleCountsOf(const EventEngine& events) {
  std::vector<std::pair<std::string, uint64_t>> counts;
  for (const ZoneCounts& zone : events.counts().zones) {
    counts.emplace_back("zone " + zone.name + " entered", zone.total.entered);
    counts.emplace_back("zone " + zone.name + " left", zone.total.exited);
  }
  for (const LineCounts& line : events.counts().lines) {
    counts.emplace_back("line " + line.name + " " + line.forward_name, line.total.forward);
    counts.emplace_back("line " + line.name + " " + line.backward_name, line.total.backward);
  }
  return counts;
}

}  // namespace sightline
