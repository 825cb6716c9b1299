// From what a user names to the files of a served model and its versions.
//
//   NAME             a package of the model store: version 1
//   FILE             an ONNX or TensorFlow Lite file: version 1, its name made a model's name
//   FOLDER           a package's folder, or one with a folder for each version, which has the file
//                    FOLDER/3/model.onnx (or model.tflite); the highest number is served
//   NEW=ONE OF THEM  the same under another name
// Threads: reentrant.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "infer/model_store.h"
#include "types/detections.h"

namespace sightline::serve {

struct ModelFiles {
  std::string name;
  std::map<int64_t, std::string> versions;  // model file by version; at least one
  std::shared_ptr<const LabelSet> labels;   // may be null
  bool is_described = false;                // by a model.yaml: somebody added or wrote it
};

// The name alone: nothing is opened. InvalidArgument when it cannot be a model's.
absl::StatusOr<std::string> ServedNameOf(const std::string& reference);

// The package of that name in the store. NotFound, or what the package says.
absl::StatusOr<ModelFiles> FindStoredModel(const std::string& name, const ModelStore& store);

// `all_versions`: also the lower ones of a folder of versions. NotFound, or what the package says.
absl::StatusOr<ModelFiles> FindModelFiles(const std::string& reference, bool all_versions,
                                          const ModelStore& store);

}  // namespace sightline::serve
