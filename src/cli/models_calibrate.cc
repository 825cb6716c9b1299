// An INT8 model of a model, if it is good enough.
#include "cli/models_calibrate.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/json_text.h"
#include "base/whole_file.h"
#include "cli/calibrate/int8_report.h"
#include "cli/calibrate/int8_trial.h"
#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/composition.h"
#include "cli/eval_print.h"
#include "cli/model_trial.h"
#include "cli/standard_output.h"
#include "cli/stop_signal.h"
#include "detect/detector_factory.h"
#include "infer/model_store.h"
#include "pipeline/config/config.h"

namespace sightline::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kReportFile = "report.json";
constexpr size_t kLongestName = 50;

struct CalibrateOptions {
  std::string model;
  std::string backend = "onnxruntime";
  PictureWishes pictures;
  std::string name;
  std::string method = "auto";
  std::string judge_by = "estimate";
  std::string search_time = "15m";
  std::string python;
  std::string keep;
  double limit = 0.5;           // points of mAP
  double agreement_limit = 10;  // %
  int weight_bits = 8;
  int threads = 0;
  bool replace = false;
  bool json = false;
};

std::atomic<bool> stop{false};

// Steps and progress on standard error: a line a step, and on a terminal how far it is.
class Steps {
 public:
  ~Steps() { End(); }
  void Say(const std::string& words) {
    End();
    step_ = words;
    if (terminal_) {
      std::fprintf(stderr, "\r\033[K%s", words.c_str());
      std::fflush(stderr);
      open_ = true;
    } else {
      std::fprintf(stderr, "sightline: %s\n", words.c_str());
    }
  }
  void Progress(size_t done, size_t of) {
    if (!terminal_) return;
    std::fprintf(stderr, "\r\033[K%s: %zu of %zu", step_.c_str(), done, of);
    std::fflush(stderr);
    open_ = true;
  }
  void End() {
    if (std::exchange(open_, false)) std::fputs("\r\033[K", stderr);
  }

 private:
  const bool terminal_ = isatty(STDERR_FILENO) == 1;
  bool open_ = false;
  std::string step_;
};

absl::StatusOr<ModelPackage> FindModel(const std::string& model) {
  if (std::ranges::find(kBuiltInModels, model) != std::end(kBuiltInModels)) {
    return InvalidArgument("\"{}\" is built in and no neural model: there is nothing to quantise",
                           model);
  }
  std::error_code error;
  if (model.find('/') == std::string::npos && !model.ends_with(".onnx") &&
      !fs::exists(model, error)) {
    return ModelStore::Default().Find(model);
  }
  ModelPackage package;
  SL_ASSIGN_OR_RETURN(package.spec, SpecOfFile(model, "onnxruntime"));
  if (package.spec.name.empty()) package.spec.name = ModelNameFromFile(model);
  return package;
}

std::string NameFor(const CalibrateOptions& options, const ModelSpec& spec) {
  if (!options.name.empty()) return options.name;
  constexpr std::string_view kEnd = "_int8";
  return spec.name.substr(0, kLongestName - kEnd.size()) + std::string(kEnd);
}

// Before hours of work rather than after.
absl::Status CheckPlace(const CalibrateOptions& options, const std::string& name) {
  SL_RETURN_IF_ERROR(CheckModelName(name));
  if (std::ranges::find(kBuiltInModels, name) != std::end(kBuiltInModels)) {
    return InvalidArgument("\"{}\" is a built-in detector: give another --name", name);
  }
  const ModelStore store = ModelStore::Default();
  const std::string folder = store.FolderOf(name);
  std::error_code error;
  if (folder.empty()) return store.List().status();
  if (!options.replace && fs::exists(fs::path(folder) / kModelYaml, error)) {
    return FailedPrecondition(
        "there is already a model \"{}\" in {}: give another --name, or --replace it", name,
        store.root());
  }
  if (options.keep.empty()) return absl::OkStatus();
  for (const std::string_view there : {kModelFile, kModelYaml, kReportFile}) {
    if (!fs::exists(fs::symlink_status(fs::path(options.keep) / there, error))) continue;
    return FailedPrecondition("--keep {}: there is already a {}: name another folder", options.keep,
                              there);
  }
  return MakeFolder(options.keep);
}

absl::StatusOr<TrialOptions> OptionsOf(const CalibrateOptions& options, const ModelSpec& spec,
                                       Steps& steps) {
  TrialOptions trial;
  trial.spec = spec;
  trial.limits = {.map_loss = options.limit / 100,
                  .agreement_loss = options.agreement_limit / 100,
                  .by = options.judge_by == "upper" ? JudgeBy::kUpperEnd : JudgeBy::kEstimate,
                  .seed = options.pictures.seed};
  trial.methods = options.method == "auto"
                      ? std::vector<std::string>{"minmax", "percentile", "entropy"}
                      : std::vector<std::string>{options.method};
  trial.weight_bits = options.weight_bits;
  trial.threads = options.threads > 0
                      ? options.threads
                      : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  SL_ASSIGN_OR_RETURN(trial.search_time_us, ParseFor(options.search_time));
  trial.python = options.python;
  SL_ASSIGN_OR_RETURN(trial.tools, FindInt8Tools());
  trial.stop = [] { return stop.load(std::memory_order_relaxed); };
  trial.say = [&steps](const std::string& words) { steps.Say(words); };
  trial.progress = [&steps](size_t done, size_t of) { steps.Progress(done, of); };
  steps.Say("looking at the pictures");
  SL_ASSIGN_OR_RETURN(trial.pictures, GatherPictures(options.pictures, trial.stop, trial.progress));
  return trial;
}

void NotePictures(const CalibrationPictures& pictures) {
  if (!pictures.labelled) {
    Note("the pictures have no labels: what counts is how far INT8 agrees with fp32");
  }
  if (pictures.copies > 0) {
    Note(fmt::format("{} pictures are copies of others and left out", pictures.copies));
  }
  if (pictures.beyond > 0) {
    Note(fmt::format("{} pictures more than --most are left out", pictures.beyond));
  }
  if (pictures.unreadable > 0) {
    Note(fmt::format("{} pictures cannot be read and are left out, of which the first: {}",
                     pictures.unreadable, pictures.first_unreadable));
  }
}

ModelPackage Int8Package(const CalibrateOptions& options, const TrialOptions& trial,
                         const TrialResult& result, const ModelPackage& fp32,
                         const std::string& name) {
  ModelPackage package = fp32;
  package.spec.name = name;
  const size_t in_fp32 = result.search.choice.in_fp32.size();
  package.why.push_back(fmt::format(
      "INT8 of {} (sha256 {}), calibrated by {} on {} pictures; {} of {} layers are in fp32",
      fp32.spec.name, fp32.spec.sha256, result.search.choice.method,
      trial.pictures.work.pictures.size(), in_fp32, result.layers.size()));
  package.why.push_back(fmt::format("{}{}", result.verdict.reason,
                                    options.judge_by == "upper" ? " (by the upper end)" : ""));
  for (const SpeedGain& gain : result.speed) {
    package.why.push_back(fmt::format("{:.2f} ms of CPU where fp32 takes {:.2f}, with {} {} on {}",
                                      gain.int8_cpu_ms, gain.fp32_cpu_ms, gain.backend,
                                      gain.version, ProcessorWords()));
  }
  return package;
}

absl::Status Keep(const std::string& folder, const TrialResult& result, const std::string& report) {
  std::error_code error;
  const fs::path file = fs::path(folder) / kModelFile;
  fs::copy_file(result.model_file, file, error);
  if (error == std::errc::no_space_on_device) {
    return ResourceExhausted("{}: {}: free some space", file.string(), error.message());
  }
  if (error) return FailedPrecondition("{}: {}", file.string(), error.message());
  return WriteWholeFile((fs::path(folder) / kReportFile).string(), report);
}

// That one first, then the others that read the INT8 model, which is an ONNX file.
std::vector<InferenceBackend*> BackendsToTime(InferenceBackend& first) {
  std::vector<InferenceBackend*> backends = {&first};
  for (InferenceBackend* other : BackendsThatRead(ModelFormat::kOnnx)) {
    if (other != &first) backends.push_back(other);
  }
  return backends;
}

// Whether a model was promoted.
absl::StatusOr<bool> Calibrate(const CalibrateOptions& options) {
  SL_ASSIGN_OR_RETURN(const ModelPackage package, FindModel(options.model));
  const std::string name = NameFor(options, package.spec);
  SL_RETURN_IF_ERROR(CheckPlace(options, name));
  SL_ASSIGN_OR_RETURN(InferenceBackend * backend, BackendNamed(options.backend));
  Steps steps;
  SL_ASSIGN_OR_RETURN(const TrialOptions trial, OptionsOf(options, package.spec, steps));
  steps.End();
  NotePictures(trial.pictures);
  SL_ASSIGN_OR_RETURN(const TrialResult result, TryInt8(trial, *backend, BackendsToTime(*backend)));
  steps.End();
  const bool promoted = result.verdict.promoted;
  const nlohmann::ordered_json json =
      TrialJson(trial, result, {options.model, promoted ? name : "", options.keep});
  const std::string report = JsonText(json, 2) + "\n";
  if (promoted) {
    SL_RETURN_IF_ERROR(ModelStore::Default()
                           .Add(Int8Package(options, trial, result, package, name),
                                result.model_file, options.replace, {{kReportFile, report}})
                           .status());
  }
  if (!options.keep.empty()) SL_RETURN_IF_ERROR(Keep(options.keep, result, report));
  if (options.json) {
    PrintOut("{}\n", JsonText(json));
  } else {
    Write(TrialText(trial, result));
    PrintOut("{}\n{}\n", result.verdict.reason,
             promoted ? fmt::format("added {}; try it: sightline detect --model {} PICTURE.jpg",
                                    name, name)
                      : "refused: nothing was added to the models");
    if (!options.keep.empty()) PrintOut("the INT8 file and its report are in {}\n", options.keep);
  }
  constexpr double kWorthIt = 0.95;  // chosen
  const auto in_vain = [](const SpeedGain& gain) {
    return gain.int8_cpu_ms > kWorthIt * gain.fp32_cpu_ms;
  };
  if (!result.speed.empty() && in_vain(result.speed.front())) {
    Note(
        "INT8 is hardly faster than fp32 here, or slower: this model, or this processor, gains "
        "little by it");
  }
  return promoted;
}

int RunCalibrate(const CalibrateOptions& options) {
  const StopSignal signal({.stop = [] { stop = true; }});
  const absl::StatusOr<bool> promoted = Calibrate(options);
  if (!promoted.ok()) return ReportFailure(promoted.status());
  return *promoted ? 0 : 1;
}

void AddPictureOptions(CLI::App& command, CalibrateOptions& options) {
  PictureWishes& pictures = options.pictures;
  command
      .add_option("--images", pictures.images,
                  "500 to 1,000 pictures of what the cameras see, with labels (YOLO, Pascal VOC or "
                  "COCO, as `sightline eval --images`) or without")
      ->required()
      ->check(NotEmpty());
  command
      .add_option("--calibration-images", pictures.calibration_images,
                  "a folder with other pictures to calibrate with, as of the cameras, whose labels "
                  "do not matter; then all of --images judge")
      ->check(NotEmpty());
  command.add_option("--format", pictures.format, "of the labels, where a folder could be several")
      ->check(CLI::IsMember({"auto", "coco", "yolo", "voc"}))
      ->capture_default_str();
  command.add_option("--split", pictures.split, "which of the labelled pictures, as of eval");
  command.add_option("--classes", pictures.classes, "judge only these (person,car)")
      ->delimiter(',');
  command.add_flag("--unlabelled", pictures.unlabelled,
                   "leave the labels alone: judge by agreement with fp32");
  command.add_option("--most", pictures.most, "pictures to take of a folder with more")
      ->check(WholeBetween(kLeastPictures, 100'000))
      ->capture_default_str();
  command
      .add_option("--calibration-share", pictures.calibration_share,
                  "part of the pictures to calibrate with; the others judge")
      ->excludes("--calibration-images")
      ->check(Between(0.1, 0.9))
      ->capture_default_str();
  command.add_option("--seed", pictures.seed, "of the parting and of the interval")
      ->check(WholeBetween(0, 1'000'000'000'000))
      ->capture_default_str();
}

}  // namespace

void AddCalibrateCommand(CLI::App& models, int& exit_code) {
  auto options = std::make_shared<CalibrateOptions>();
  CLI::App* const command = models.add_subcommand(
      "calibrate", "Make an INT8 model of a model, and add it if it loses little enough");
  command->add_option("NAME", options->model, "a model of the store, or an ONNX file")
      ->required()
      ->check(NotEmpty());
  AddPictureOptions(*command, *options);
  command
      ->add_option("--backend", options->backend,
                   "what runs both models for the judgement; speed is measured on all")
      ->check(CLI::IsMember({"onnxruntime", "openvino"}))
      ->capture_default_str();
  command->add_option("--name", options->name, "to call it by; otherwise NAME_int8")
      ->check(NotEmpty());
  command->add_flag("--replace", options->replace, "take the place of a model of that name");
  command->add_option("--limit", options->limit, "points of mAP50-95 that it may lose")
      ->check(Between(0, 100))
      ->capture_default_str();
  command
      ->add_option("--agreement-limit", options->agreement_limit,
                   "% of the results that may differ from those in fp32, with labels or without")
      ->check(Between(0, 100))
      ->capture_default_str();
  command
      ->add_option(
          "--judge-by", options->judge_by,
          "what is held against the limits: the losses as they were measured, or the upper "
          "ends of their 95 % intervals, which takes thousands of pictures")
      ->check(CLI::IsMember({"estimate", "upper"}))
      ->capture_default_str();
  command
      ->add_option("--method", options->method,
                   "how ranges are found; auto takes what changes the results least")
      ->check(CLI::IsMember({"auto", "minmax", "entropy", "percentile"}))
      ->capture_default_str();
  command
      ->add_option("--weight-bits", options->weight_bits,
                   "7 for x86 processors without VNNI, whose sums of 8 bits overflow")
      ->check(CLI::IsMember({7, 8}))
      ->capture_default_str();
  command
      ->add_option("--search-time", options->search_time,
                   "for finding out which layers are sensitive, such as 30m")
      ->check(NotEmpty())
      ->capture_default_str();
  command->add_option("--threads", options->threads, "inference threads (default: one a core)")
      ->check(CLI::Range(1, 1024));
  command
      ->add_option("--python", options->python,
                   "an interpreter with onnx, onnxruntime and numpy, instead of one that is "
                   "installed into the cache folder")
      ->check(NotEmpty());
  command
      ->add_option("--keep", options->keep,
                   "folder for the INT8 file and report.json, also when it is refused")
      ->check(NotEmpty());
  command->add_flag("--json", options->json, "the report as one JSON object");
  command->footer(
      "Half of the pictures calibrate: which values the layers see, and which layers must stay in\n"
      "fp32. The other half judges, once: by mAP where boxes are given, and by agreement with "
      "fp32.\n"
      "Added is only what stays within the limit; a refusal ends with exit code 1.\n"
      "Examples:\n"
      "  sightline models calibrate yolox_nano --images dataset/\n"
      "  sightline models calibrate face --images pictures/ --agreement-limit 3\n"
      "  sightline models calibrate yolox_nano --images dataset/ --limit 1 --keep trial/\n"
      "  sightline models calibrate yolox_nano --images dataset/ --calibration-images frames/\n"
      "More: docs/quantization.md");
  command->callback([options, &exit_code] { exit_code = RunCalibrate(*options); });
}

}  // namespace sightline::cli
