#include "detect/detector_factory.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "base/log.h"
#include "base/nearest_word.h"
#include "base/uuid.h"
#include "detect/anomaly_fit.h"
#include "detect/classic/face_cascade_detector.h"
#include "detect/classic/motion_detector.h"
#include "detect/classic/people_detector.h"
#include "detect/model_probe.h"
#include "detect/neural_detector.h"
#include "detect/nms_choice.h"
#include "detect/recognise.h"
#include "detect/recognised_cache.h"
#include "infer/inspect_model.h"
#include "infer/model_format.h"
#include "infer/model_package.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 3> kBuiltIn = {"people", "motion", "faces"};

NmsChoice ChoiceOf(const DetectorRequest& request) {
  return {request.nms_kind, request.nms_iou, request.nms_sigma, request.nms_class_aware,
          request.max_detections};
}

absl::Status TakesNoPrompts(const std::string& model) {
  return InvalidArgument(
      "model {} finds what it was made for and takes no --point, --outside or --box: those are for "
      "promptable segmenters (SAM)",
      model);
}

absl::StatusOr<DetectorFactory> OpenBuiltIn(const DetectorRequest& request) {
  if (!request.prompts.empty()) return TakesNoPrompts(request.model);
  if (!request.labels.empty()) {
    return InvalidArgument("{} is built in and has its own single class: no labels can be given",
                           request.model);
  }
  const NmsChoice nms = ChoiceOf(request);
  if (request.model == "people") return MakePeopleDetectorFactory(request.confidence, nms);
  if (request.model == "motion") return MakeMotionDetectorFactory(request.confidence, nms);
  return MakeFaceCascadeDetectorFactory(request.confidence, nms);
}

bool LooksLikePath(const std::string& model) {
  std::error_code ignored;
  return model.find('/') != std::string::npos || HasModelEnding(model) ||
         fs::exists(model, ignored);
}

absl::Status NoSuchFile(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  const fs::path folder = fs::path(path).parent_path();
  fs::directory_iterator entries(folder.empty() ? "." : folder, error);
  for (; !error && entries != fs::directory_iterator() && names.size() < 1000;
       entries.increment(error)) {
    std::string name = entries->path().filename().string();
    if (HasModelEnding(name)) names.push_back(std::move(name));
  }
  const std::vector<std::string_view> known(names.begin(), names.end());
  const std::string nearest = NearestWord(fs::path(path).filename().string(), known);
  return NotFound(
      "there is no file {}{}", path,
      nearest.empty() ? "" : fmt::format(", did you mean {}?", (folder / nearest).string()));
}

absl::Status NoSuchModel(const std::string& name, const ModelStore& store) {
  std::vector<std::string> names(kBuiltIn.begin(), kBuiltIn.end());
  const auto stored = store.List();
  if (stored.ok()) {
    for (const StoredModel& model : *stored) names.push_back(model.name);
  }
  const std::vector<std::string_view> known(names.begin(), names.end());
  const std::string nearest = NearestWord(name, known);
  return NotFound("no model \"{}\"{} There are {}. Add one with: sightline models add FILE.onnx",
                  name, nearest.empty() ? "." : fmt::format(", did you mean \"{}\"?", nearest),
                  fmt::join(names, ", "));
}

// The package in `folder` when its model file is `path`; NotFound when there is none.
absl::StatusOr<ModelSpec> PackageBeside(const fs::path& path) {
  SL_RETURN_IF_ERROR(PeekPackageBeside(path.string()).status());
  std::error_code error;
  SL_ASSIGN_OR_RETURN(ModelPackage package,
                      LoadModelPackage(fs::absolute(path, error).parent_path().string()));
  return std::move(package.spec);
}

absl::StatusOr<ModelSpec> RecogniseFile(const std::string& path, const BackendSource& backend,
                                        const ModelTrial& trial) {
  const bool onnx = FormatOf(path) == ModelFormat::kOnnx;
  OnnxFileInfo info;
  if (onnx) {
    SL_ASSIGN_OR_RETURN(info, InspectOnnx(path));
  }
  const std::string sha256 = FileSha256(path);
  const RecognisedCache cache = RecognisedCache::Default();
  if (auto known = cache.Find(path, sha256); known.ok()) return *std::move(known);
  if (trial) {
    const absl::Status survived = trial(path);
    if (!survived.ok() && !absl::IsUnavailable(survived)) return survived;
    if (auto known = cache.Find(path, sha256); known.ok()) return *std::move(known);
  }
  SL_ASSIGN_OR_RETURN(InferenceBackend * runtime, backend());
  if (!onnx) {
    SL_ASSIGN_OR_RETURN(info, InspectModel(path, backend));
  }
  const std::string to_run = cache.Mended(info, sha256);
  auto found = RecogniseModel(info, ProbeWith(*runtime, to_run));
  if (!found.ok()) {
    return absl::Status(
        found.status().code(),
        fmt::format("{}. To say what it is: sightline models add {} --set family=F --set "
                    "layout=L",
                    MessageOf(found.status()), path));
  }
  Log().info("{}: {}", path, found->why);
  for (const std::string& warning : found->warnings) Log().warn("{}: {}", path, warning);
  found->spec.file = to_run;
  if (to_run != path) found->spec.sha256 = FileSha256(to_run);
  const absl::Status kept = cache.Keep(sha256, found->spec);
  if (!kept.ok()) Log().debug("{}", MessageOf(kept));
  return std::move(found->spec);
}

absl::StatusOr<ModelSpec> SpecOf(const std::string& model, const BackendSource& backend,
                                 const ModelStore& store, const ModelTrial& trial) {
  if (LooksLikePath(model)) return DescribeModelFile(model, backend, trial);
  if (!CheckModelName(model).ok()) return NoSuchModel(model, store);
  auto package = store.Find(model);
  if (package.ok()) return std::move(package->spec);
  if (package.status().code() != absl::StatusCode::kNotFound) {
    return WithContext(package.status(), fmt::format("model {}", model));
  }
  return NoSuchModel(model, store);
}

}  // namespace

absl::StatusOr<ModelSpec> FindModelSpec(const std::string& model, const BackendSource& backend,
                                        const ModelStore& store, const ModelTrial& trial) {
  if (std::ranges::find(kBuiltIn, model) != kBuiltIn.end()) {
    return InvalidArgument("{} is built in and has no package", model);
  }
  if (model.empty()) return NoSuchModel(model, store);
  return SpecOf(model, backend, store, trial);
}

absl::StatusOr<ModelSpec> DescribeModelFile(const std::string& path, const BackendSource& backend,
                                            const ModelTrial& trial) {
  std::error_code error;
  if (!fs::exists(path, error)) return NoSuchFile(path);
  if (fs::is_directory(path, error)) {
    if (!fs::exists(fs::path(path) / kModelYaml, error)) {
      return NotFound(
          "the folder {} holds no {}: give a model file, or the folder of a package that "
          "`sightline models add` made",
          path, kModelYaml);
    }
    SL_ASSIGN_OR_RETURN(ModelPackage package, LoadModelPackage(path));
    return std::move(package.spec);
  }
  auto beside = PackageBeside(path);
  if (beside.ok()) return *std::move(beside);
  if (beside.status().code() != absl::StatusCode::kNotFound) return beside.status();
  SL_ASSIGN_OR_RETURN(ModelSpec spec, RecogniseFile(path, backend, trial));
  spec.name = ModelNameFromFile(path);
  return spec;
}

absl::Status TryModel(const ModelSpec& spec, InferenceBackend& backend) {
  if (spec.family == kPromptableFamily) return TryPromptable(spec, backend);
  NeuralOptions options;
  options.nms = spec.nms;
  SL_ASSIGN_OR_RETURN(const DetectorFactory factory,
                      MakeNeuralDetectorFactory(spec, backend, options));
  SL_ASSIGN_OR_RETURN(const std::unique_ptr<Detector> detector, factory());
  constexpr int kSide = 64;
  const std::vector<uint8_t> grey(size_t{3} * kSide * kSide, 128);
  Frame blank;
  blank.image = {.format = PixelFormat::kBgr24,
                 .width = kSide,
                 .height = kSide,
                 .planes = {grey.data()},
                 .strides = {3 * kSide}};
  Detections found;
  DetectJob job{.frame = &blank, .result = &found, .status = {}};
  detector->Detect({&job, 1});
  if (NeedsFitting(spec) && absl::IsFailedPrecondition(job.status)) return absl::OkStatus();
  return job.status;
}

absl::StatusOr<DetectorFactory> OpenDetector(const DetectorRequest& request,
                                             const BackendSource& backend,
                                             const ModelStore& store) {
  if (std::ranges::find(kBuiltIn, request.model) != kBuiltIn.end()) return OpenBuiltIn(request);
  if (request.model.empty()) return NoSuchModel(request.model, store);
  SL_ASSIGN_OR_RETURN(ModelSpec spec, SpecOf(request.model, backend, store, request.trial));
  if (!request.labels.empty()) {
    spec.labels = std::make_shared<LabelSet>(LabelSet{request.labels});
  }
  NeuralOptions options;
  options.threads = std::max(request.threads, 1);
  options.parallel_detectors = std::max(request.parallel_detectors, 1);
  options.max_batch = std::max(request.max_batch, 1);
  options.providers = request.providers;
  options.confidence = request.confidence;
  options.nms = ChoiceOf(request).Over(spec.nms);
  SL_ASSIGN_OR_RETURN(InferenceBackend * runtime, backend());
  if (spec.family == kPromptableFamily) {
    return MakePromptedDetectorFactory(std::move(spec), *runtime, options, request.prompts);
  }
  if (!request.prompts.empty()) return TakesNoPrompts(spec.name);
  return MakeNeuralDetectorFactory(std::move(spec), *runtime, options);
}

}  // namespace sightline
