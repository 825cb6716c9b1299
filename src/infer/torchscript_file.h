// TorchScript files: told apart by what is in their archive, described by a runtime that opens them.
//
// Format: what torch.jit.save() of PyTorch 1.4 and newer writes, a ZIP archive NAME/... with the code of
// the model in code/, its weights in data/ and constants.pkl. Nothing is unpickled or unpacked here.
//
// A TorchScript file is a program. Its language reads and writes no files by intention, but nobody
// promises that it cannot (PyTorch's own SECURITY.md advises against files that are not trusted). So it
// runs only where somebody chose so, and is first tried in a child process.
//
// Threads: reentrant.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "infer/backend.h"
#include "infer/onnx_file.h"

namespace sightline {

// By the archive's directory; false when it cannot be read, and for PyTorch checkpoints.
bool IsTorchScriptFile(const std::string& path);

enum class TorchArchive : uint8_t { kNone, kCheckpoint, kTorchScript };
TorchArchive TorchArchiveOf(std::span<const uint8_t> bytes);

// What an exporter wrote beside the model; Ultralytics does, as JSON in extra/config.txt.
struct TorchScriptNotes {
  // Its members by name, those that are no strings as JSON: "names", "stride", "task".
  std::map<std::string, std::string> metadata;
  // Of the pictures that the model was exported for; 0 = not said.
  int64_t width = 0;
  int64_t height = 0;
};

// Checks the archive before a runtime sees it: InvalidArgument for what is no TorchScript file, with how
// to export a checkpoint; DataLoss for a damaged archive; ResourceExhausted for one that says to hold
// more than 2 GiB unpacked, or more than 64 MiB in compressed entries. `name` stands in errors.
absl::StatusOr<TorchScriptNotes> CheckTorchScript(std::span<const uint8_t> bytes,
                                                  std::string_view name);

// What the model takes and gives, in the form of an ONNX file's description. Shapes stand nowhere in
// such a file, so it is run: on pictures of `width` x `height`, where those are not 0, else of the size
// that the exporter noted, else of the usual sizes, the first that it takes. A batch, and sides where
// several sizes are taken, come out as -1. InvalidArgument, with what to do, when `backend` reads no such
// files or no size will do. Cost: opening the model and up to a dozen runs.
absl::StatusOr<OnnxFileInfo> InspectTorchScript(const std::string& path, InferenceBackend& backend,
                                                int width = 0, int height = 0);

}  // namespace sightline
