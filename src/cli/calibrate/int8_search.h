// Which layers of a model stay in fp32 so that the rest may be INT8: a search that looks at few
// models and knows nothing of how they are made or measured.
//
//   1. Each way of calibrating is tried with the usual suspects in fp32 (depthwise, first and
//      prediction layers); the one that changes the results least is taken.
//   2. All layers in INT8: when that is within the limit, the search ends.
//   3. Each layer alone in INT8, all others in fp32: how much that changes the results is how
//      sensitive it is. Layers that were not tried when the time was up stand behind, the usual
//      suspects first.
//   4. The fewest of the most sensitive layers in fp32 with which the loss is within the limit, by
//      bisection; where no number of them is, with which it is nearly so.
//
// Models made: methods + layers + 2 log2(layers) + 5 at most.
// Threads: reentrant. Source of step 3: ONNX Runtime's and Intel Neural Compressor's accuracy-aware
// tuning do the same.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace sightline::cli {

struct Int8Layer {
  std::string name;
  std::string op;    // "Conv"
  std::string kind;  // "first", "prediction", "depthwise", "plain"
  bool suspect() const { return kind != "plain"; }
};

struct Int8Choice {
  std::string method;  // "minmax", "entropy", "percentile"
  std::set<std::string> in_fp32;
  int weight_bits = 8;
};

// What was measured of a choice on all pictures of the search.
struct Int8Loss {
  double decisive = 0;  // what is held against the limit
  bool within = false;
  // Not within, but the best that can be hoped for where pictures are few.
  bool nearly = false;
};

struct Int8SearchInput {
  std::vector<Int8Layer> layers;     // at least one
  std::vector<std::string> methods;  // at least one
  int weight_bits = 8;
  // How much the results change, on few pictures; smaller is better. Internal and InvalidArgument
  // say that such a model cannot be made or run, which counts as the worst; other errors end the
  // search.
  std::function<absl::StatusOr<double>(const Int8Choice&)> rough;
  // The loss on all pictures of the search; errors as above.
  std::function<absl::StatusOr<Int8Loss>(const Int8Choice&)> judge;
  std::function<bool()> time_is_up;
  std::function<void(const std::string&)> say;           // a new step; may be empty
  std::function<void(size_t done, size_t of)> progress;  // of the step; may be empty
};

struct SensitiveLayer {
  Int8Layer layer;
  double change = 0;   // of the results with this layer alone in INT8
  bool tried = false;  // else the time was up before
};

struct Int8SearchResult {
  Int8Choice choice;
  Int8Loss loss;
  std::vector<SensitiveLayer> ranking;  // the most sensitive first; empty when none was needed
  std::vector<std::pair<std::string, double>> methods;  // and how much each changes the results
  int models_judged = 0;
  bool ended_by_time = false;
};

// The choice with the fewest layers in fp32 that is within the limit; where none is, the same that
// is nearly within, or else that with the least loss. FailedPrecondition when no model could be made at all, with the last reason.
absl::StatusOr<Int8SearchResult> FindInt8(const Int8SearchInput& input);

}  // namespace sightline::cli
