// From what a user names to a detector: a built-in one, a package of the model store, a package
// folder, or an ONNX or TensorFlow Lite file that nobody has added.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "detect/promptable_segmenter.h"
#include "infer/backend.h"
#include "infer/model_store.h"
#include "types/detector.h"
#include "types/model_spec.h"

namespace sightline {

// Recognises a model file that was never added in a process of its own, and has what it found kept in
// the cache: what a made-up file does to a runtime that was not written for such files stays there.
// Unavailable when there can be no such process.
using ModelTrial = std::function<absl::Status(const std::string& file)>;

struct DetectorRequest {
  // "people", "motion" or "faces"; a name in the model store; a path of a package folder or of an
  // model file (with a slash, with the ending of a model file, or of something that exists).
  std::string model = {};
  // Over the model's own settings.
  std::optional<float> confidence = {};
  std::optional<NmsSettings::Kind> nms_kind = {};
  std::optional<float> nms_iou = {};
  std::optional<float> nms_sigma = {};
  std::optional<bool> nms_class_aware = {};
  std::optional<int> max_detections = {};
  std::vector<std::string> labels = {};  // class names by id; empty = the model's
  // What a promptable segmenter is asked of every picture; none for all other models.
  std::vector<Prompt> prompts = {};
  // For neural models.
  int max_batch = 1;
  int threads = 1;
  int parallel_detectors = 1;  // of this model that will run at once: a hint
  std::vector<std::string> providers = {};
  ModelTrial trial = {};  // empty: files are recognised here
};

// Gives the backend when a model needs it: built-in detectors work without one.
using BackendSource = std::function<absl::StatusOr<InferenceBackend*>()>;

// The factory's first call opens the model; the backend must outlive every detector.
//
// A model file that was never added is described by the model.yaml that lies beside it and names
// it, else recognised (see recognise.h). What was found is kept in the cache folder, with a mended
// copy when the file needs one (see MendOnnx()), under the hash of the file; without a place to
// write to it works too, slower. With a `trial` that is where it is recognised first; here only when
// nothing could be kept.
//
// NotFound with the nearest name and what there is; InvalidArgument for what cannot be recognised
// or is no model file, and for impossible settings; what the backend says.
absl::StatusOr<DetectorFactory> OpenDetector(const DetectorRequest& request,
                                             const BackendSource& backend,
                                             const ModelStore& store = ModelStore::Default());

// Opens a model as it would be run and shows it one blank picture: whether its description fits it.
// Of one that has yet to be fitted (see anomaly_fit.h) it is whether it can be. `spec.file` is the
// file to run. The errors are those of MakeNeuralDetectorFactory, its factory and its detectors.
// Cost: loading the model and one inference.
absl::Status TryModel(const ModelSpec& spec, InferenceBackend& backend);

// The spec of a stored package, of a package folder or of an ONNX file by the same way, for those who
// need no detector. InvalidArgument for a built-in detector, which has none.
absl::StatusOr<ModelSpec> FindModelSpec(const std::string& model, const BackendSource& backend,
                                        const ModelStore& store = ModelStore::Default(),
                                        const ModelTrial& trial = {});

// The spec of a model file by the same way, for those who need no detector.
absl::StatusOr<ModelSpec> DescribeModelFile(const std::string& path, const BackendSource& backend,
                                            const ModelTrial& trial = {});

}  // namespace sightline
