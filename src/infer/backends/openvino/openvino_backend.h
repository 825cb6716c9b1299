// OpenVINO as an inference backend, by its C interface. The library is loaded when it is first asked
// for and never unloaded, with symbols of its own (RTLD_LOCAL). Reads ONNX and TensorFlow Lite.
//
// Sessions of one file with equal options share one compiled model, which has a stream for each of
// them (SessionOptions::parallel_sessions): the hint is THROUGHPUT where there are several, LATENCY
// where one has all threads. Arithmetic is float32, whatever the processor would rather do, so that
// results are those of other backends within 1e-3. Threads are not pinned to cores: a program with
// decoders and other models has uses for those. No compiled model is kept on the disk: such a file
// is machine code that nothing vouches for.
#pragma once

#include "base/status.h"
#include "infer/backend.h"

namespace sightline {

// The one backend of this process; it is never destroyed. Provider names: "cpu", "gpu", "gpu:1",
// "npu", ..., OpenVINO's devices as the library that was found has them; one at a time.
//
// The library is looked for at $SIGHTLINE_OPENVINO_LIBRARY, next to the program (../lib,
// ../lib/openvino, lib), where ./dev setup put it when the program was built, and last where the
// system's loader looks. FailedPrecondition with the places and what to do when there is none or it
// is too old; a later call tries again. Threads: safe. Cost: about 50 ms of CPU the first time.
absl::StatusOr<InferenceBackend*> OpenVinoBackend();

}  // namespace sightline
