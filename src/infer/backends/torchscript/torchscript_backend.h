// TorchScript files by libtorch, as an inference backend. Neither this program nor its default
// installation has libtorch: libsightline_torchscript.so, a small library of this project that is built
// where libtorch is there, stands between them with plain C functions (torchscript_abi.h). It is loaded
// when it is first asked for and never unloaded, with symbols of its own (RTLD_LOCAL).
//
// A TorchScript file is a program: whoever chooses this backend runs it. Files are checked as archives
// first (torchscript_file.h); pickles are never opened.
//
// Files do not say which shapes they take. A session whose SessionOptions name the picture's shape runs
// once on zeros when it is opened and then knows its outputs; any other declares its inputs and outputs
// without shapes and takes what it is given. Sessions of one file share one loaded model. Runs on the
// processor alone, with the session's own number of threads.
#pragma once

#include "base/status.h"
#include "infer/backend.h"

namespace sightline {

// The one backend of this process; it is never destroyed. Its only provider is "cpu".
//
// The library is looked for at $SIGHTLINE_TORCHSCRIPT_LIBRARY, next to the program (../lib, lib), and
// last where the system's loader looks. FailedPrecondition with the places and what to do when there is
// none, or libtorch is not there; a later call tries again. Threads: safe. Cost: about 0.6 s of CPU the
// first time.
absl::StatusOr<InferenceBackend*> TorchScriptBackend();

}  // namespace sightline
