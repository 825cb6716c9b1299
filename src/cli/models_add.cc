#include "cli/models_add.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/child_call.h"
#include "base/log.h"
#include "base/scratch_folder.h"
#include "base/whole_file.h"
#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/composition.h"
#include "cli/models_print.h"
#include "cli/run_options.h"
#include "cli/standard_output.h"
#include "detect/anomaly_fit.h"
#include "detect/detector_factory.h"
#include "detect/model_probe.h"
#include "detect/promptable_models.h"
#include "detect/promptable_segmenter.h"
#include "detect/prove_batch.h"
#include "detect/recognise.h"
#include "infer/coco_labels.h"
#include "infer/inspect_model.h"
#include "infer/model_format.h"
#include "infer/model_store.h"
#include "infer/onnx_batch.h"
#include "infer/onnx_file.h"

namespace sightline::cli {
namespace {

constexpr uint64_t kMaxDescriptionBytes = 1 << 20;

struct AddOptions {
  std::string file;
  std::string decoder;  // of a promptable segmenter whose encoder is `file`
  std::string name;
  std::string labels;
  std::string description;
  std::string backend;
  double confidence = -1;
  bool keep_batch = false;
  bool replace = false;
  bool json = false;
  std::vector<std::string> sets;
};

// What the user says about the model, over what is in `package`.
absl::Status ApplyWishes(const AddOptions& options, ModelPackage& package) {
  if (!options.description.empty()) {
    SL_ASSIGN_OR_RETURN(const std::string yaml,
                        ReadWholeFile(options.description, kMaxDescriptionBytes));
    const std::string folder = std::filesystem::path(options.description).parent_path().string();
    SL_RETURN_IF_ERROR(ApplyModelYaml(yaml, options.description, folder, package));
  }
  for (const std::string& set : options.sets) {
    const size_t equals = set.find('=');
    if (equals == std::string::npos) {
      return InvalidArgument("--set {}: KEY=VALUE is expected, for example nms.iou=0.5", set);
    }
    SL_RETURN_IF_ERROR(SetInModelPackage(set.substr(0, equals), set.substr(equals + 1), package));
  }
  if (options.labels == "coco80") {
    package.spec.labels = CocoLabels();
  } else if (!options.labels.empty()) {
    SL_ASSIGN_OR_RETURN(package.spec.labels, ReadLabels(options.labels));
  }
  if (options.confidence >= 0) {
    package.spec.confidence_threshold = static_cast<float>(options.confidence);
  }
  if (!options.name.empty()) package.spec.name = options.name;
  return absl::OkStatus();
}

// A package for a file of which the user says the family: its defaults, and what the file shows.
absl::StatusOr<ModelPackage> DescribedByUser(const OnnxFileInfo& file, const ModelSpec& wished) {
  const TensorInfo* picture = nullptr;
  const TensorInfo* sizes = nullptr;
  for (const TensorInfo& input : file.inputs) {
    (IsSizeInput(input) && sizes == nullptr ? sizes : picture) = &input;
  }
  if (picture == nullptr || file.inputs.size() != (sizes == nullptr ? 1u : 2u) ||
      file.outputs.empty()) {
    return InvalidArgument(
        "{}: {}: one input for a picture (and perhaps one for its size) and at least one output "
        "are "
        "needed",
        file.path, Describe(file));
  }
  ModelPackage package;
  int width = wished.input.width, height = wished.input.height;
  TensorLayout layout = TensorLayout::kNchw;
  const std::vector<int64_t>& shape = picture->shape;
  if (shape.size() == 4 && shape[1] != 3 && shape[3] == 3) layout = TensorLayout::kNhwc;
  if (shape.size() == 4 || shape.size() == 3) {
    const size_t rows = shape.size() - (layout == TensorLayout::kNchw ? 2 : 3);
    if (height == 0 && shape[rows] > 0)
      height = static_cast<int>(std::min<int64_t>(shape[rows], 1 << 20));
    if (width == 0 && shape[rows + 1] > 0)
      width = static_cast<int>(std::min<int64_t>(shape[rows + 1], 1 << 20));
  }
  if (width == 0 || height == 0) {
    return InvalidArgument(
        "{}: {}: the input's size is not in the file: add --set input.width=W "
        "--set input.height=H",
        file.path, Describe(file));
  }
  SL_ASSIGN_OR_RETURN(package.spec, FamilyDefaults(wished.family, width, height));
  package.spec.input.layout = layout;
  package.spec.input.dtype = picture->dtype;
  package.spec.input_name = picture->name;
  if (sizes != nullptr) package.spec.size_input_name = sizes->name;
  package.spec.batch =
      shape.size() == 4 ? static_cast<int>(std::clamp<int64_t>(shape[0], 0, 4096)) : 1;
  for (const TensorInfo& output : file.outputs) package.spec.output_names.push_back(output.name);
  package.why.push_back("the family was given by whoever added the model");
  return package;
}

// A copy of a model without what makes it slow, and one of that with its batch open, gone with this.
class WorkCopy {
 public:
  static absl::StatusOr<std::shared_ptr<WorkCopy>> Make(const std::string& file) {
    SL_ASSIGN_OR_RETURN(std::unique_ptr<ScratchFolder> folder, ScratchFolder::Make());
    auto copy = std::make_shared<WorkCopy>(std::move(folder));
    SL_ASSIGN_OR_RETURN(copy->weights_mended_, MendOnnx(file, copy->file()));
    return copy;
  }
  explicit WorkCopy(std::unique_ptr<ScratchFolder> folder) : folder_(std::move(folder)) {}
  std::string file() const { return folder_->path() + "/model.onnx"; }
  std::string open_file() const { return folder_->path() + "/open.onnx"; }
  // Why the batch was not opened, or nothing; there once that was tried.
  std::string verdict_file() const { return folder_->path() + "/verdict.txt"; }
  int weights_mended() const { return weights_mended_; }

 private:
  const std::unique_ptr<ScratchFolder> folder_;
  int weights_mended_ = 0;
};

struct Understood {
  ModelPackage package;
  std::vector<std::string> warnings;
  std::shared_ptr<WorkCopy> copy;  // null: the file as it is
  std::string file;                // of it, to be stored
  bool opened = false;             // its batch was
  OnnxFileInfo info;               // of the file as it was given
  std::string one_by_one;          // why its pictures run one after the other; empty: they need not
};

// Whether the batch of the work copy can be opened without a changed bit of its results; if so, its
// open_file() is there.
absl::Status TryOpenBatch(InferenceBackend& backend, const Understood& model) {
  const ModelSpec& spec = model.package.spec;
  const std::string open = model.copy->open_file();
  absl::Status opened = OpenBatch(model.file, open).status();
  if (opened.ok()) opened = ProveBatch(model.file, open, spec, backend);
  if (opened.ok()) {
    ModelSpec to_run = spec;
    to_run.file = open;
    to_run.batch = 0;
    opened = TryModel(to_run, backend);
  }
  return opened;
}

// Lets the model take several pictures at once where it may. The proof, 18 pictures long, is made once:
// the child process leaves its verdict with the work copy.
void OpenItsBatch(InferenceBackend& backend, Understood& model) {
  const std::string file = model.copy->verdict_file();
  absl::StatusOr<std::string> verdict = ReadWholeFile(file, kMaxDescriptionBytes);
  if (!verdict.ok()) {
    verdict = std::string(MessageOf(TryOpenBatch(backend, model)));
    const absl::Status kept = WriteWholeFile(file, *verdict);
    if (!kept.ok()) Log().debug("{}", MessageOf(kept));  // then it is made again
  }
  if (!verdict->empty()) {
    model.one_by_one = *std::move(verdict);
    return;
  }
  model.package.spec.batch = 0;
  model.file = model.copy->open_file();
  model.opened = true;
  model.package.why.push_back(
      "its file was for one picture at a time and takes any number now: four test pictures at once "
      "and alone give what the original gives, to the bit");
}

// What both ways to a description end with.
absl::StatusOr<Understood> Finish(const AddOptions& options, InferenceBackend& backend,
                                  Understood result) {
  for (const std::string& warning : result.warnings) {
    result.package.why.push_back("to be checked: " + warning);
  }
  result.package.spec.name = ModelNameFromFile(options.file);
  SL_RETURN_IF_ERROR(ApplyWishes(options, result.package));
  if (result.package.spec.labels == nullptr) {
    result.package.spec.labels = std::make_shared<LabelSet>();
  }
  // What cannot run is refused here and not when somebody wants to use it.
  ModelSpec to_run = result.package.spec;
  to_run.file = result.file;
  if (const absl::Status runs = TryModel(to_run, backend); !runs.ok()) {
    return CannotRun(runs, "nothing was stored; correct --set, --describe or --labels");
  }
  if (result.copy == nullptr || to_run.batch != 1) return result;
  if (options.keep_batch) {
    result.one_by_one = "--keep-batch was given";
  } else {
    OpenItsBatch(backend, result);
  }
  if (!result.one_by_one.empty()) {
    result.package.why.push_back("its pictures run one by one: " + result.one_by_one);
  }
  return result;
}

// An encoder with the decoder that --with names.
absl::StatusOr<Understood> UnderstandTwo(const AddOptions& options, const OnnxFileInfo& encoder,
                                         InferenceBackend& backend) {
  SL_ASSIGN_OR_RETURN(const OnnxFileInfo decoder, InspectOnnx(options.decoder));
  SL_RETURN_IF_ERROR(CheckSelfContained(decoder));
  Understood result;
  SL_ASSIGN_OR_RETURN(result.package.spec, DescribePromptable(encoder, decoder));
  result.package.why.push_back(
      fmt::format("{}; {}: encoder and decoder of a promptable segmenter by the names of their "
                  "inputs and outputs",
                  Describe(encoder), Describe(decoder)));
  result.file = options.file;
  return Finish(options, backend, std::move(result));
}

// `copy`: null for what is taken as it is: an encoder with its decoder, files that are not ONNX.
absl::StatusOr<Understood> UnderstandHere(const AddOptions& options, const OnnxFileInfo& file,
                                          const ModelPackage& wishes,
                                          std::shared_ptr<WorkCopy> copy,
                                          InferenceBackend* backend) {
  if (!options.decoder.empty()) return UnderstandTwo(options, file, *backend);
  Understood result;
  result.copy = std::move(copy);
  result.file = result.copy != nullptr ? result.copy->file() : options.file;
  const std::string runnable = result.file;
  const auto recognised = RecogniseModel(file, ProbeWith(*backend, runnable));
  const std::string& wished_family = wishes.spec.family;
  if (recognised.ok() && (wished_family.empty() || wished_family == recognised->spec.family)) {
    result.package.spec = recognised->spec;
    result.package.why.push_back(recognised->why);
    result.warnings = recognised->warnings;
  } else if (!wished_family.empty()) {
    SL_ASSIGN_OR_RETURN(result.package, DescribedByUser(file, wishes.spec));
    SL_RETURN_IF_ERROR(backend->Open({.model_file = runnable}).status());
    if (recognised.ok()) {
      result.warnings.push_back(
          fmt::format("the file looks like {}: {}", recognised->spec.family, recognised->why));
    }
  } else {
    return FailedPrecondition(
        "{}; to say what it is: --set family=F --set layout=L ..., or a file with keys of "
        "model.yaml "
        "for --describe",
        MessageOf(recognised.status()));
  }
  return Finish(options, *backend, std::move(result));
}

// What is wrong with a file and not with the command line.
absl::Status OfTheFile(const absl::Status& status) {
  return absl::IsInvalidArgument(status) ? FailedPrecondition("{}", MessageOf(status)) : status;
}

// Everything is done in a child process first: what a made-up file does to a runtime that was not
// written for such files stays there. What comes through is done once more, here, but for the proof of
// an open batch.
absl::StatusOr<Understood> Understand(const AddOptions& options) {
  ModelPackage wishes;
  const bool onnx = FormatOf(options.file) == ModelFormat::kOnnx;
  OnnxFileInfo read;
  if (onnx) {
    auto file = InspectOnnx(options.file);
    if (!file.ok()) return OfTheFile(file.status());
    read = *std::move(file);
  }
  SL_RETURN_IF_ERROR(ApplyWishes(options, wishes));  // mistakes in them first, before anything runs
  if (!wishes.spec.name.empty()) SL_RETURN_IF_ERROR(CheckModelName(wishes.spec.name));
  SL_RETURN_IF_ERROR(CheckSelfContained(read));
  std::shared_ptr<WorkCopy> copy;
  if (options.decoder.empty() && onnx) {
    SL_ASSIGN_OR_RETURN(copy, WorkCopy::Make(options.file));
  }
  const auto understand = [&]() -> absl::StatusOr<Understood> {
    SL_ASSIGN_OR_RETURN(InferenceBackend * backend, BackendFor(options.backend, options.file));
    OnnxFileInfo info = read;
    if (!onnx) {
      auto asked = InspectModel(
          options.file, [&] { return absl::StatusOr<InferenceBackend*>(backend); },
          wishes.spec.input.width, wishes.spec.input.height);
      if (!asked.ok()) return OfTheFile(asked.status());
      info = *std::move(asked);
    }
    SL_ASSIGN_OR_RETURN(Understood understood,
                        UnderstandHere(options, info, wishes, copy, backend));
    understood.info = std::move(info);
    return understood;
  };
  // The child loads the runtime itself: the threads of one that is loaded do not come along.
  const ChildAnswer alone = CallInChild([&] {
    Log().set_level(spdlog::level::off);
    return understand().status();
  });
  if (absl::IsCancelled(alone.status)) return Cancelled("{}: stopped", options.file);
  if (alone.died) {
    return DataLoss("{}: the runtime does not survive it: {}; nothing was stored", options.file,
                    MessageOf(alone.status));
  }
  SL_RETURN_IF_ERROR(alone.status);
  return understand();
}

std::string MendedWords(int weights) {
  return fmt::format(
      "{} weights were listed as graph inputs, which keeps ONNX Runtime from folding "
      "and fusing them; without that Ultra-Light 320 runs 2.4 times faster",
      weights);
}

int Add(const AddOptions& options) {
  auto understood = Understand(options);
  if (!understood.ok()) return Report(understood.status());
  const std::string name = understood->package.spec.name;
  if (std::ranges::find(kBuiltInModels, name) != std::end(kBuiltInModels)) {
    return Report(InvalidArgument("\"{}\" is a built-in detector: give another --name", name));
  }
  const auto added =
      ModelStore::Default().Add(std::move(understood->package), understood->file, options.replace);
  if (!added.ok()) return ReportFailure(added.status());
  const int weights_mended =
      understood->copy ? understood->copy->weights_mended() : added->weights_mended;
  if (options.json) {
    nlohmann::json line = ToJson(added->package);
    line["weights_mended"] = weights_mended;
    line["batch_opened"] = understood->opened;
    if (!understood->one_by_one.empty()) line["one_by_one"] = understood->one_by_one;
    line["warnings"] = understood->warnings;
    PrintJson(line);
    return 0;
  }
  PrintOut("added {} at {}\n", name,
           std::filesystem::path(added->package.spec.file).parent_path().string());
  PrintOut("  file      {}\n", Describe(understood->info));
  PrintPackage(added->package);
  if (weights_mended > 0) PrintOut("  mended    {}\n", MendedWords(weights_mended));
  if (NeedsFitting(added->package.spec)) {
    PrintOut("show it good pictures: sightline models fit {} --images FOLDER\n", name);
    return 0;
  }
  const bool prompted = added->package.spec.family == kPromptableFamily;
  PrintOut("try it: sightline detect --model {}{} PICTURE.jpg\n", name,
           prompted ? " --point X,Y" : "");
  return 0;
}

}  // namespace

void AddAddCommand(CLI::App& models, int& exit_code) {
  auto options = std::make_shared<AddOptions>();
  CLI::App* add = models.add_subcommand(
      "add", "Find out what a model file is, mend what makes it slow, keep a copy under a name");
  add->add_option("FILE", options->file, "the ONNX, TensorFlow Lite or TorchScript file")
      ->required();
  add->add_option("--with", options->decoder,
                  "the decoder, where FILE is the encoder of a promptable segmenter (SAM)")
      ->check(NotEmpty());
  add->add_option("--name", options->name, "to call it by; otherwise from the file's name")
      ->check(NotEmpty());
  add->add_option("--labels", options->labels, "file with one class name a line, or coco80")
      ->check(NotEmpty());
  add->add_option("--confidence", options->confidence, "threshold for its results")
      ->check(Between(0, 1));
  add->add_option("--describe", options->description,
                  "YAML file with keys of model.yaml that win over what was found")
      ->check(NotEmpty());
  add->add_option("--set", options->sets, "KEY=VALUE of model.yaml, such as input.resize=stretch")
      ->allow_extra_args(false);
  AddBackendOption(*add, options->backend);
  add->add_flag("--keep-batch", options->keep_batch,
                "leave a file for one picture at a time as it is");
  add->add_flag("--replace", options->replace, "take the place of a model of that name");
  add->add_flag("--json", options->json, "one JSON object");
  add->footer(
      "Examples:\n"
      "  sightline models add yolox_nano.onnx\n"
      "  sightline models add face.onnx --name face --confidence 0.6 --replace\n"
      "  sightline models add encoder.onnx --with decoder.onnx --name sam\n"
      "  sightline models add yolo11n.torchscript --backend torchscript\n"
      "  sightline models add odd.onnx --set family=yolox --set layout=decoded --labels names.txt");
  add->callback([options, &exit_code] { exit_code = Add(*options); });
}

}  // namespace sightline::cli
