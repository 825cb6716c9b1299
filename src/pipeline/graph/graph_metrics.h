// What the parts of a graph of models did (model_graph.h), for metrics.
#pragma once

#include <deque>
#include <string>

#include "base/metrics.h"

namespace sightline {

// Of one fallback (pictures) or one stage of crops (objects).
struct GraphStepMetrics {
  std::string step;  // as in the configuration
  Counter asked;     // given to the part's model
  Counter failed;    // of those, without an answer
  Counter not_kept;  // objects that the stage did not confirm
  Counter left_out;  // objects that were too small or beyond the most of a frame
};

// Counters stay where they are: one entry a step, made before the first frame.
struct GraphMetrics {
  std::deque<GraphStepMetrics> fallbacks;
  std::deque<GraphStepMetrics> crops;
};

}  // namespace sightline
