// A model over pictures, each on its own: what a trial of an INT8 model needs of the engine.
//
// The way of a picture is the engine's own: preprocess, inference, head, suppression.
// Threads: as many detectors as asked for, each on a thread; the caller waits.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "base/status.h"
#include "evaluate/agreement.h"
#include "infer/backend.h"
#include "types/frame.h"
#include "types/model_spec.h"

namespace sightline::cli {

struct PictureRun {
  // The frame of picture i; called from several threads.
  std::function<absl::StatusOr<Frame>(size_t)> read;
  size_t pictures = 0;
  float confidence = 0;
  int threads = 1;
  std::function<bool()> stop = {};
  // Called when a picture is done, with how many are; one call at a time, from any thread.
  std::function<void(size_t)> progress = {};
};

// What the model finds, picture by picture. Errors: those of the model (as MakeNeuralDetectorFactory
// and its detectors) and of `read`; Cancelled; Unimplemented for models that give a class for every
// pixel.
absl::StatusOr<std::vector<evaluate::PictureResults>> RunOver(const ModelSpec& spec,
                                                              InferenceBackend& backend,
                                                              const PictureRun& run);

// CPU time of one inference of each model file on this thread, medians over `rounds` in which they
// take turns, in milliseconds. Inputs are a ramp of finite values.
absl::StatusOr<std::vector<double>> InferenceCpuMs(InferenceBackend& backend,
                                                   const std::vector<ModelSpec>& models,
                                                   int rounds);

}  // namespace sightline::cli
