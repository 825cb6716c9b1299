// The tables of keys that stand in files of their own (fields.cc puts them together).
#pragma once

#include "pipeline/config/fields.h"

namespace sightline::config {

extern const Section kCamera;          // fills a CameraConfig
extern const Section kTracker;         // fills a TrackerConfig
extern const Section kFallback;        // fills a FallbackConfig
extern const Section kCrops;           // fills a CropsConfig
extern const Section kVisionLanguage;  // fills a VisionLanguageConfig

// As DefaultTarget(), for the sections of camera_fields.cc; null for others.
const void* CameraDefaults(const Section& section);

}  // namespace sightline::config
