// Frames through a model of the engine, as many at once as it takes, their results in the order of the frames.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "base/status.h"
#include "cli/started_model.h"
#include "types/detections.h"
#include "types/frame.h"

namespace sightline::cli {

// Puts `count` frames through the model. `read` is called on another thread, one call at a time; `take` on
// the caller's, with the number of the frame, the frame and what was found. An error of the model or of
// either ends the work and is given back. The frames' camera is called `camera`.
absl::Status RunInOrder(
    const StartedModel& model, size_t count, const std::string& camera,
    const std::function<absl::StatusOr<Frame>(size_t)>& read,
    const std::function<absl::Status(size_t, const Frame&, Detections&&)>& take);

}  // namespace sightline::cli
