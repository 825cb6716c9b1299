// The Python program that makes INT8 models (tools/int8/quantize.py), as a child process.
//
// It is sent one picture at a time, as the engine prepares it for the model, and keeps ranges of
// values only: nothing of the pictures is written to the disk.
//
// Errors: Internal, with the program's words, for what it refuses, after which it can be asked
// again; Unavailable when it has ended; Cancelled; DeadlineExceeded.
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/calibrate/child_process.h"
#include "cli/calibrate/int8_search.h"
#include "types/tensor.h"

namespace sightline::cli {

struct OpenedForInt8 {
  std::vector<Int8Layer> layers;
  std::map<std::string, std::string> versions;  // of Python and its packages
};

class Int8Worker {
 public:
  static absl::StatusOr<std::unique_ptr<Int8Worker>> Start(const std::string& python,
                                                           const std::string& script,
                                                           std::function<bool()> stop);
  // `scratch`: a folder for files that do not outlive the call.
  absl::StatusOr<OpenedForInt8> Open(const std::string& model_file, const std::string& scratch);
  // One picture: all inputs of the model. `inputs` says names, types and shapes.
  absl::Status Observe(std::span<const TensorInfo> inputs,
                       std::span<const std::span<const uint8_t>> bytes);
  // Writes the model of that choice to `file`.
  absl::Status Make(const Int8Choice& choice, const std::string& file);

 private:
  explicit Int8Worker(std::unique_ptr<ChildProcess> child) : child_(std::move(child)) {}

  std::unique_ptr<ChildProcess> child_;
};

}  // namespace sightline::cli
