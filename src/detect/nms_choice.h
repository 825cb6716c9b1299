// What a user says about suppression: only what is set replaces a detector's own.
#pragma once

#include <optional>

#include "types/model_spec.h"

namespace sightline {

struct NmsChoice {
  std::optional<NmsSettings::Kind> kind;
  std::optional<float> iou;
  std::optional<float> sigma;
  std::optional<bool> class_aware;
  std::optional<int> max_detections;

  NmsSettings Over(NmsSettings own) const {
    own.kind = kind.value_or(own.kind);
    own.iou_threshold = iou.value_or(own.iou_threshold);
    own.sigma = sigma.value_or(own.sigma);
    own.class_aware = class_aware.value_or(own.class_aware);
    own.max_detections = max_detections.value_or(own.max_detections);
    return own;
  }
};

}  // namespace sightline
