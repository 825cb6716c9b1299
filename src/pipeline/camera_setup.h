// From a camera's configuration to the parts that track it and watch its zones and lines.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "events/event_engine.h"
#include "pipeline/camera_pipeline.h"
#include "pipeline/config/config.h"

namespace sightline {

// The ids of these classes. InvalidArgument, with the nearest name, when one is none of the model's.
absl::StatusOr<std::vector<int32_t>> ClassIdsOf(const std::vector<std::string>& names,
                                                const LabelSet& labels);

// Zones and lines in pixels of the source picture, classes as ids. InvalidArgument, with the line of
// the configuration, when a class is none of the model's, when the picture's size is needed but
// unknown, or when a zone or line lies wholly outside the picture and would never count anything.
absl::StatusOr<CameraRules> RulesOf(const Config& config, const CameraConfig& camera, int width,
                                    int height, const LabelSet& labels);

// How a camera's tracks and events are made, with the identities that enter their ids.
struct Analytics {
  Hash128 identity;  // of camera, source and model: of the detections
  TrackerOptions tracker;
  CameraRules rules;
};
// `detector` is DetectorInfo::identity of the camera's model.
Analytics AnalyticsOf(const Config& config, const CameraConfig& camera, const SourceInfo& source,
                      CameraRules rules, const Hash128& detector);

// Null when the camera's frames are taken with or without motion.
absl::StatusOr<std::unique_ptr<MotionGate>> MotionGateOf(const CameraConfig& camera);

// ("line gate in", 12), ("zone hall entered", 7) ... in the order of the configuration.
std::vector<std::pair<std::string, uint64_t>> RuleCountsOf(const EventEngine& events);

}  // namespace sightline
