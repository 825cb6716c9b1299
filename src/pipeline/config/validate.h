// What the table of keys cannot say: uniqueness, geometry, references between parts, files.
// Private to pipeline/config.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pipeline/config/parse.h"

namespace sightline::config {

using LocationMap = ConfigLocations;

struct Findings {
  std::vector<ConfigError> errors;
  std::vector<ConfigError> warnings;
};

// Looks at what the file said, errors of the table aside: values that are missing because of them
// (empty texts, lists that are too short) are passed over, so that nothing is complained about
// twice.
void Validate(const Config& config, const LocationMap& locations, const ParseOptions& options,
              Findings& findings);

// Sets CameraConfig::model_index, adding entries for direct references; `folder` is where relative
// paths start. Errors for names that are none.
void ResolveModels(Config& config, const std::string& folder, const ParseOptions& options,
                   Findings& findings);

// Why the points are no simple polygon, with the index of the point to blame; nullopt when they are
// one. At least 3 points. Cost: O(n^2).
struct PolygonFault {
  size_t point = 0;
  std::string message;
};
std::optional<PolygonFault> FindPolygonFault(const std::vector<PointF>& polygon);

}  // namespace sightline::config
