// ONNX Runtime as an inference backend. The library is loaded when it is first asked for and never
// unloaded, with symbols of its own (RTLD_LOCAL): whatever build the user has, 1.21 or newer, with
// GPU providers or without, serves. Its usage reports to its maker are switched off.
//
// Sessions of one file that run on one thread each share one loaded model: measured with YOLOX-nano
// on two cores, the same speed as one model each, 10 MB and 47 ms of start-up less for the second.
#pragma once

#include "base/status.h"
#include "infer/backend.h"

namespace sightline {

// The one backend of this process; it is never destroyed. Provider names: "cpu", "cuda",
// "tensorrt", "openvino", ... as the loaded library has them, in order of preference; "cuda:1" asks
// for the second device.
//
// The library is looked for at $SIGHTLINE_ORT_LIBRARY, next to the program (../lib, lib), where
// ./dev setup put it when the program was built, and last where the system's loader looks.
// FailedPrecondition with the places and what to do when there is none or it is too old; a later
// call tries again. Threads: safe. Cost: about 30 ms of CPU the first time.
absl::StatusOr<InferenceBackend*> OnnxRuntimeBackend();

}  // namespace sightline
