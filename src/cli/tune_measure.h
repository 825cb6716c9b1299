// Measures ways of running one model against each other.
//
// What is measured is a detector on pictures of the model's own size: preparation, inference and head.
// Every way gets short slices in turns, so that whatever else the machine does meets all of them
// alike, and is judged by the medians of its slices.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "infer/backend.h"
#include "types/model_spec.h"

namespace sightline::cli {

struct TuneCandidate {
  InferenceBackend* backend = nullptr;
  int threads = 1;  // of one instance
  int instances = 1;
  int batch = 1;
};
std::string ToString(const TuneCandidate& candidate);  // "openvino, 2 x 1 threads, batch 4"

// Backends by threads, instances and batches that make sense on so many cores: threads in powers of
// two up to the cores, with one instance, half as many and as many as the cores then hold; batches of
// 1, 2, 4 and 8 where the model leaves that open.
std::vector<TuneCandidate> TuneCandidates(const ModelSpec& spec,
                                          const std::vector<InferenceBackend*>& backends,
                                          int cores);

struct TuneResult {
  TuneCandidate candidate;
  absl::Status status;           // why it could not be measured
  std::vector<double> cpu_ms;    // a slice: CPU time of the process a picture
  std::vector<double> per_s;     // a slice: pictures a second
  bool given_up = false;         // clearly behind after some slices
  double median_cpu_ms() const;  // of a result with slices
  double median_per_s() const;
};

struct TuneOptions {
  // For all of them, opening not counted. Each is measured once at least; those that may be the best
  // five times, for at most three times as long.
  double seconds = 20;
  bool exhaustive = false;          // give up none
  std::function<bool()> stop = {};  // asked between slices
};

// In the order of `candidates`. Cancelled when stopped. Threads: one at a time.
absl::StatusOr<std::vector<TuneResult>> MeasureCandidates(
    const ModelSpec& spec, const std::vector<TuneCandidate>& candidates,
    const TuneOptions& options);

// Of those that were measured to the end and whose CPU time a picture is at most 5 % above the least,
// the one with the most pictures a second. NotFound, with the first error, when none could be.
absl::StatusOr<size_t> ChooseCandidate(const std::vector<TuneResult>& results);

}  // namespace sightline::cli
