// Several models as one: what stands under a model's `ensemble`, `fallback` and `crops` in the
// configuration, as one detector.
//
// A frame's way: the model itself, or the fused boxes of an ensemble's members; then, while the best
// confidence lies within a fallback's range, that model's results instead; then each stage of crops
// for the objects of its classes. Every part is a model of the pool with its own batcher, so that crops
// and frames of all cameras share its batches; this detector waits for them. A graph has no cycles (the
// configuration is checked), so that waiting ends.
//
// When a part fails for a frame: a member of an ensemble fails the frame; a fallback leaves the results
// that there were; a stage leaves its object without its word, and kept. The last two are counted.
//
// Class ids are those of the graph's labels: the first part's, then what others add, by name.
//
// Threads: as any detector. Memory: one picture's worth of results for each crop that is on its way, at
// most `most` of a frame.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/status.h"
#include "pipeline/config/config.h"
#include "pipeline/graph/graph_metrics.h"
#include "types/detector.h"

namespace sightline {

struct Model;

// A model of the pool as part of a graph. `class_ids[i]`: the graph's id of its class i.
struct GraphPart {
  std::shared_ptr<Model> model;
  std::vector<int32_t> class_ids;
};

struct GraphFallback {
  GraphPart part;
  float from = 0;   // of the best confidence, inclusive
  float below = 0;  // exclusive
};

struct GraphCrops {
  std::shared_ptr<const std::string> name;
  std::shared_ptr<Model> model;    // its labels are its own
  std::vector<int32_t> class_ids;  // of the objects it looks at; empty: all
  float margin = 0;
  int min_side_px = 1;
  int most = 1;                              // of a frame
  std::optional<float> keep_above = {};      // of the best of keep_class_ids
  std::vector<int32_t> keep_class_ids = {};  // the stage's own ids; empty: any
};

// What a graph is made of. Immutable; shared by its detectors.
struct ModelGraph {
  DetectorInfo info;
  std::vector<GraphPart> ensemble;  // empty: the model itself comes first
  float fusion_iou = 0.55f;
  std::vector<GraphFallback> fallbacks;
  std::vector<GraphCrops> crops;
  std::shared_ptr<GraphMetrics> metrics;
};

// Whether the model has parts at all.
bool IsGraph(const ModelConfig& config);

// Opens the parts of `config` by `get`. `first`: of the model itself; null for an ensemble.
// InvalidArgument: a part that remembers one camera's pictures, classes that there are not.
absl::StatusOr<std::shared_ptr<const ModelGraph>> MakeModelGraph(
    const ModelConfig& config, const DetectorInfo* first,
    const std::function<absl::StatusOr<std::shared_ptr<Model>>(const ModelConfig&)>& get);

// `first` as above.
std::unique_ptr<Detector> MakeGraphDetector(std::shared_ptr<const ModelGraph> graph,
                                            std::unique_ptr<Detector> first);

}  // namespace sightline
