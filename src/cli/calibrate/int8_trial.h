// A trial of INT8: from a model and pictures to an INT8 model and a verdict on it.
//
//   work pictures:   fp32 results, ranges of values, the choice of layers
//   judge pictures:  looked at once, by the fp32 model and the chosen INT8 model
//
// Threads: one; inference on as many as asked for. Memory: the results of all pictures, 24 decoded
// pictures (256 MiB at most) and what the Python process needs (the model, and all its values for
// one picture). Disk: a few copies of the model in a scratch folder, gone at the end.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/scratch_folder.h"
#include "base/status.h"
#include "cli/calibrate/calibration_pictures.h"
#include "cli/calibrate/int8_search.h"
#include "cli/calibrate/int8_verdict.h"
#include "cli/calibrate/python_place.h"
#include "infer/backend.h"
#include "types/model_spec.h"

namespace sightline::cli {

struct TrialOptions {
  ModelSpec spec;  // of the fp32 model
  CalibrationPictures pictures;
  Int8Limits limits;
  std::vector<std::string> methods;
  int weight_bits = 8;
  int threads = 1;
  int64_t search_time_us = 0;  // of the layers' ranking; the rest takes what it takes
  std::string python;
  Int8Tools tools;
  std::function<bool()> stop;
  std::function<void(const std::string&)> say;  // a new step
  std::function<void(size_t done, size_t of)> progress;
};

struct SpeedGain {
  std::string backend;
  std::string version;
  double fp32_cpu_ms = 0;  // of one inference on one thread, median
  double int8_cpu_ms = 0;
};

struct TrialResult {
  std::unique_ptr<ScratchFolder> scratch;  // holds model_file
  std::string model_file;                  // the INT8 model
  std::vector<Int8Layer> layers;
  Int8SearchResult search;
  Int8Verdict verdict;
  std::string backend;  // that decided
  std::vector<SpeedGain> speed;
  std::map<std::string, std::string> versions;  // of Python and its packages
};

// `backend`: what decides; speed is measured on all of `backends`.
// Errors: those of the parts; Cancelled when `stop` says so.
absl::StatusOr<TrialResult> TryInt8(const TrialOptions& options, InferenceBackend& backend,
                                    const std::vector<InferenceBackend*>& backends);

}  // namespace sightline::cli
