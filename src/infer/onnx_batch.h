// An ONNX file that was exported for one picture at a time, rewritten so that it takes any number.
//
// Most exporters write the batch of 1 into the shapes of inputs and outputs and into the constants of
// Reshape nodes, and nowhere else. OpenBatch() opens these: dimension 0 of inputs and outputs becomes
// a named one, the first entry of such a constant becomes 0 ("as in the input"), declared shapes in
// between are dropped. Every other byte is kept.
//
// Whether the result is right does not follow from the file: a graph may mix the batch with other
// dimensions (channel shuffles) or hold it where nobody looks (sizes of a Resize). So what comes out is
// a candidate, to be kept only when running it proves it (detect/prove_batch.h).
//
// Format: as onnx_file.h. Threads: reentrant. Nothing here runs the model or trusts the file: every
// length is checked. Cost: a few copies of the file in memory.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sightline {

struct OpenedBatch {
  std::string model;  // the bytes of the rewritten file
  int reshapes = 0;   // constants in which the batch stood
};

// FailedPrecondition with what stands in the way, as the rest of a sentence about the file ("its batch
// is open already"); else as InspectOnnxBytes() of `name`.
absl::StatusOr<OpenedBatch> OpenBatch(std::span<const uint8_t> model, std::string_view name);

// The same from file to file; how many constants were changed. `out` is replaced whole or not at all.
absl::StatusOr<int> OpenBatch(const std::string& in, const std::string& out);

}  // namespace sightline
