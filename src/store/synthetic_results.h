// Results without a camera, a model or a tracker: for the tests and benchmarks of sinks. The same
// (camera, ordinal) always gives the same result.
#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "types/result_sink.h"

namespace sightline {

class SyntheticResults {
 public:
  // `stages`: further models speak of each object, too.
  explicit SyntheticResults(std::string camera_id = "door", int objects = 5, int classes = 3,
                            bool stages = false)
      : objects_(objects), classes_(classes), stages_(stages) {
    auto camera = std::make_shared<CameraInfo>();
    camera->id = std::move(camera_id);
    camera->source = "synthetic";
    camera_ = std::move(camera);
    auto labels = std::make_shared<LabelSet>();
    for (int i = 0; i < classes; ++i) labels->names.push_back("class_" + std::to_string(i));
    labels_ = std::move(labels);
  }

  // Objects walk on circles; every 10th frame one of them crosses the line "gate", every 25th one
  // leaves the zone "hall".
  FrameResult Frame(uint64_t ordinal) const {
    FrameResult result;
    Fill(ordinal, result);
    return result;
  }

  // As Frame, into memory that is already there.
  void Fill(uint64_t ordinal, FrameResult& result) const {
    FrameMeta meta;
    meta.camera = camera_;
    meta.ordinal = ordinal;
    meta.width = 768;
    meta.height = 576;
    meta.time.pts_us = static_cast<int64_t>(ordinal) * 40'000;
    meta.time.capture_utc_us = kStartUtcUs + meta.time.pts_us;
    meta.time.clock = ClockSource::kConfigured;
    result.frame.meta = meta;
    result.detections.frame = meta;
    result.detections.labels = labels_;
    result.detections.ClearResults();
    result.detection_ids.clear();
    result.tracks.frame = meta;
    result.tracks.items.clear();
    result.events.clear();
    for (int i = 0; i < objects_; ++i) AddObject(i, meta, result);
    if (objects_ > 0 && ordinal % 10 == 9) AddEvent(EventKind::kLineCross, "gate", meta, result);
    if (objects_ > 0 && ordinal % 25 == 24) AddEvent(EventKind::kZoneExit, "hall", meta, result);
  }

  TrackSummary Track(int object, uint64_t last_ordinal) const {
    TrackSummary track;
    track.id = Id("track", static_cast<uint64_t>(object), kStartUtcUs);
    track.camera = camera_;
    track.track_id = object + 1;
    track.class_id = object % classes_;
    track.first.capture_utc_us = kStartUtcUs;
    track.last.pts_us = static_cast<int64_t>(last_ordinal) * 40'000;
    track.last.capture_utc_us = kStartUtcUs + track.last.pts_us;
    track.last_ordinal = last_ordinal;
    track.hits = static_cast<int32_t>(last_ordinal) + 1;
    track.max_confidence = 0.9f;
    track.first_box_px = BoxOf(object, 0);
    track.last_box_px = BoxOf(object, last_ordinal);
    return track;
  }

  const std::shared_ptr<const CameraInfo>& camera() const { return camera_; }
  int objects() const { return objects_; }
  static constexpr int64_t kStartUtcUs = 1'767'225'600'000'000;  // 2026-01-01T00:00:00Z

 private:
  Uuid Id(std::string_view what, uint64_t number, int64_t utc_us) const {
    return MakeTimeUuid(utc_us, FieldHasher().Add(camera_->id).Add(what).Add(number).Finish());
  }

  static Box BoxOf(int object, uint64_t ordinal) {
    const float angle = static_cast<float>(ordinal % 628) * 0.01f + static_cast<float>(object);
    const float x = 350 + 200 * std::cos(angle);
    const float y = 250 + 150 * std::sin(angle);
    return {x, y, x + 40.5f, y + 90.25f};
  }

  // The last object is never tracked, so that both kinds of detection are there.
  void AddObject(int object, const FrameMeta& meta, FrameResult& result) const {
    Detection detection;
    detection.box_px = BoxOf(object, meta.ordinal);
    detection.confidence = 0.5f + 0.4f * static_cast<float>((meta.ordinal + object) % 97) / 97;
    detection.class_id = object % classes_;
    if (object + 1 < objects_) {
      TrackedObject track;
      track.track_id = object + 1;
      track.state = TrackState::kConfirmed;
      track.box_px = detection.box_px;
      track.confidence = detection.confidence;
      track.class_id = detection.class_id;
      track.detection = static_cast<int32_t>(result.detections.items.size());
      track.hits = static_cast<int32_t>(meta.ordinal) + 1;
      result.tracks.items.push_back(track);
    }
    result.detections.items.push_back(detection);
    result.detection_ids.push_back(
        Id("detection", meta.ordinal * 1000 + object, meta.time.capture_utc_us));
    if (stages_) AddStages(object, result);
  }

  // By turns: two classes, a face with two points, an embedding, and nothing found.
  void AddStages(int object, FrameResult& result) const {
    StageResult& said = result.detections.stages.emplace_back();
    said.item = static_cast<int32_t>(result.detections.items.size()) - 1;
    said.result.labels = colours_;
    const Box& box = result.detections.items.back().box_px;
    switch (object % 4) {
      case 0:
        said.stage = colour_;
        said.result.classes = {{1, 0.75f}, {0, 0.125f}};
        break;
      case 1: {
        said.stage = face_;
        Detection face;
        face.box_px = {box.x1 + 8, box.y1 + 4, box.x1 + 24, box.y1 + 24};
        face.confidence = 0.5f;
        face.detail = 0;
        said.result.items = {face};
        said.result.keypoints_per_item = 2;
        said.result.keypoints = {{{12.5f, 10}, 1}, {{20.25f, 10}, 0.5f}};
        break;
      }
      case 2:
        said.stage = print_;
        said.result.embedding = {0.6f, 0.8f};
        break;
      default:
        said.stage = face_;
    }
  }

  void AddEvent(EventKind kind, const char* rule, const FrameMeta& meta,
                FrameResult& result) const {
    Event& event = result.events.emplace_back();
    event.id = Id(rule, meta.ordinal, meta.time.capture_utc_us);
    event.kind = kind;
    event.frame = meta;
    event.rule = rule;
    event.track_id = 1;
    event.box_px = BoxOf(0, meta.ordinal);
    event.anchor_px = event.box_px.bottom_center();
    event.confidence = 0.8f;
    if (kind == EventKind::kLineCross) {
      event.direction =
          meta.ordinal % 20 == 9 ? CrossDirection::kForward : CrossDirection::kBackward;
      event.direction_name = event.direction == CrossDirection::kForward ? "in" : "out";
    } else {
      event.dwell_us = 2'500'000;
    }
  }

  int objects_;
  int classes_;
  bool stages_;
  const std::shared_ptr<const std::string> colour_ = std::make_shared<const std::string>("colour");
  const std::shared_ptr<const std::string> face_ = std::make_shared<const std::string>("face");
  const std::shared_ptr<const std::string> print_ = std::make_shared<const std::string>("print");
  const std::shared_ptr<const LabelSet> colours_ =
      std::make_shared<const LabelSet>(LabelSet{{"red", "blue"}});
  std::shared_ptr<const CameraInfo> camera_;
  std::shared_ptr<const LabelSet> labels_;
};

}  // namespace sightline
