// TensorFlow Lite files: told apart by their identifier, described by a runtime that opens them.
//
// Format: a FlatBuffer of schema.fbs version 3, whose bytes 4 to 7 are "TFL3". Nothing but that is
// read here: the runtime checks the rest before it believes any of it. Threads: reentrant.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/status.h"
#include "infer/backend.h"
#include "infer/onnx_file.h"

namespace sightline {

bool LooksLikeTflite(std::span<const uint8_t> bytes);

// By the first bytes of the file; false when it cannot be read.
bool IsTfliteFile(const std::string& path);

// What a TensorFlow Lite file takes and gives, as `backend` sees it, in the form of an ONNX file's
// description (without weights and operators). InvalidArgument, with what to do, when that backend
// reads no such files; else what it says of the file. Cost: opening the model.
absl::StatusOr<OnnxFileInfo> InspectTflite(const std::string& path, InferenceBackend& backend);

}  // namespace sightline
