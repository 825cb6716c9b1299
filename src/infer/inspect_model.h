// What a model file of any format takes and gives.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "infer/backend.h"
#include "infer/onnx_file.h"

namespace sightline {

// By the file's own format: ONNX files are read without a backend and are then not run; of others the
// one that `backend` gives is asked (see tflite_file.h, torchscript_file.h). `width`, `height`: of the
// pictures, for files that do not say them; 0 = not known. Threads: reentrant.
absl::StatusOr<OnnxFileInfo> InspectModel(
    const std::string& path, const std::function<absl::StatusOr<InferenceBackend*>()>& backend,
    int width = 0, int height = 0);

}  // namespace sightline
