#include "pipeline/config/fields.h"

#include <algorithm>

#include "base/time.h"
#include "pipeline/config/binding.h"
#include "pipeline/config/sections.h"

namespace sightline::config {
namespace {

// The order of choices is the order of the enums' values.
constexpr std::string_view kNmsKinds[] = {"hard", "soft_linear", "soft_gaussian", "none"};
constexpr std::string_view kModelReferences[] = {"builtin", "package", "file", "ensemble",
                                                 "vision_language"};

using enum FieldType;

// --- models ----------------------------------------------------------------------------------

constexpr std::string_view kModelsOwn = "the model's own";

constexpr Field kNmsFields[] = {
    Key<&NmsConfig::kind>("kind", kChoice)
        .Says("How boxes of one object are thinned out: plain suppression, Soft-NMS with linear or "
              "Gaussian decay, or not at all, for models whose boxes are final.")
        .AffectsResults()
        .OneOf(kNmsKinds)
        .Unset(kModelsOwn)
        .Example("hard"),
    Key<&NmsConfig::iou>("iou", kNumber)
        .Says("Overlap (IoU) from which two boxes are one object.")
        .AffectsResults()
        .Range(0, 1)
        .Unset(kModelsOwn)
        .Example("0.45"),
    Key<&NmsConfig::sigma>("sigma", kNumber)
        .Says("Width of the Gaussian decay.")
        .AffectsResults()
        .Above(0, 10)
        .Unset(kModelsOwn)
        .Example("0.5"),
    Key<&NmsConfig::class_aware>("class_aware", kBool)
        .Says("Boxes of different classes never suppress each other.")
        .AffectsResults()
        .Unset(kModelsOwn)
        .Example("true"),
    Key<&NmsConfig::max_detections>("max_detections", kInteger)
        .Says("Most detections that a frame can have.")
        .AffectsResults()
        .Range(1, 1000)
        .Unset(kModelsOwn)
        .Example("300"),
};
constexpr Section kNms = {"models[].nms", "Non-maximum suppression.", kNmsFields};

constexpr Field kBatchFields[] = {
    Key<&ModelConfig::max_batch>("max", kInteger)
        .Says("Most frames that are run at once; of a file with a fixed batch, no more than that.")
        .Range(1, 1024)
        .Unset("`1`, or the file's fixed batch")
        .Example("4"),
    Key<&ModelConfig::preferred_batches>("preferred", kNumberList)
        .Says("Sizes that the device likes best. A batch has the largest of them that there are "
              "frames for; where there are too few for the smallest, all go.")
        .Range(1, 1024)
        .Items(1, 32)
        .Unset("any size")
        .Example("[4, 8]"),
    Key<&ModelConfig::max_batch_delay_us>("max_delay", kDuration)
        .Says("How long a frame may wait for others to fill the batch, at most.")
        .Range(0, 10 * kSecondUs),
    Key<&ModelConfig::adaptive_batch_delay>("adaptive", kBool)
        .Says(
            "Wait only as long as a larger batch is measured to gain more than the waiting costs, "
            "and not at all where frames come alone or batches gain nothing; else always until "
            "the batch is full or `max_delay` is over.")};
constexpr Section kBatch = {"models[].batch",
                            "How frames share a run of the model. A change of these keys alone is "
                            "taken over by a running model.",
                            kBatchFields};

constexpr std::string_view kOneIsNeeded =
    "one of `builtin`, `package`, `file`, `ensemble` and `vision_language` is needed";

// Three keys fill origin and reference; kModel demands exactly one of them or of the two others.
template <ModelOrigin kOrigin>
constexpr Row Reference(std::string_view key, FieldType type) {
  return Row(key, type)
      .SetBy([](void* target, Value&& value) {
        auto& model = *static_cast<ModelConfig*>(target);
        model.origin = kOrigin;
        model.reference = std::get<std::string>(std::move(value));
      })
      .GetBy([](const void* target) {
        const auto& model = *static_cast<const ModelConfig*>(target);
        const bool is_this = model.origin == kOrigin && !model.reference.empty();
        return is_this ? Value(model.reference) : Value();
      })
      .Unset(kOneIsNeeded);
}

// The same for `builtin`, whose value is a choice.
void SetBuiltin(void* target, Value&& value) {
  auto& model = *static_cast<ModelConfig*>(target);
  model.origin = ModelOrigin::kBuiltin;
  model.reference = kBuiltInModels[static_cast<size_t>(std::get<int64_t>(value))];
}
Value GetBuiltin(const void* target) {
  const auto& model = *static_cast<const ModelConfig*>(target);
  const auto* at = std::find(std::begin(kBuiltInModels), std::end(kBuiltInModels), model.reference);
  if (model.origin != ModelOrigin::kBuiltin || at == std::end(kBuiltInModels)) return Value();
  return Value(static_cast<int64_t>(at - std::begin(kBuiltInModels)));
}

// `backend`, a choice that is kept by its name.
void SetBackend(void* target, Value&& value) {
  static_cast<ModelConfig*>(target)->backend =
      kModelBackends[static_cast<size_t>(std::get<int64_t>(value))];
}
Value GetBackend(const void* target) {
  const auto& model = *static_cast<const ModelConfig*>(target);
  const auto* at = std::find(std::begin(kModelBackends), std::end(kModelBackends), model.backend);
  if (at == std::end(kModelBackends)) return Value();
  return Value(static_cast<int64_t>(at - std::begin(kModelBackends)));
}

constexpr Field kModelFields[] = {
    Key<&ModelConfig::name>("name", kId)
        .Says("What a camera's `model` calls it; unique.")
        .Required()
        .Example("fast_people"),
    Reference<ModelOrigin::kBuiltin>("builtin", kChoice)
        .Says("A detector that needs no model: people by HOG, motion by background subtraction, "
              "faces by a cascade; truth is what a simulated camera really shows.")
        .OneOf(kBuiltInModels)
        .SetBy(&SetBuiltin)
        .GetBy(&GetBuiltin)
        .Example("people"),
    Reference<ModelOrigin::kPackage>("package", kId)
        .Says("A package added by `sightline models add`.")
        .Example("yolox_nano"),
    Reference<ModelOrigin::kFile>("file", kPath)
        .Says("An ONNX, TensorFlow Lite or TorchScript file, or a package's folder.")
        .Example("yolox_nano.onnx"),
    Key<&ModelConfig::ensemble>("ensemble", kTextList)
        .Says("Models that all look at every frame; their boxes become one set by weighted boxes "
              "fusion. Masks, keypoints and classes of the picture are not fused.")
        .AffectsResults()
        .Items(2, 16)
        .SetBy([](void* target, Value&& value) {
          auto& model = *static_cast<ModelConfig*>(target);
          model.origin = ModelOrigin::kEnsemble;
          model.ensemble = std::get<std::vector<std::string>>(std::move(value));
        })
        .Unset(kOneIsNeeded)
        .Example("[fast, large]"),
    Key<&ModelConfig::fusion_iou>("fusion_iou", kNumber)
        .Says("Overlap (IoU) from which boxes of an ensemble are one object.")
        .AffectsResults()
        .Range(0, 1),
    Map<&ModelConfig::vision_language>("vision_language", kVisionLanguage)
        .Says("A vision-language model on another machine.")
        .Of(
            kVisionLanguage,
            [](void* target) -> void* {
              auto& model = *static_cast<ModelConfig*>(target);
              model.origin = ModelOrigin::kVisionLanguage;
              return &model.vision_language.emplace();
            },
            &Bind<&ModelConfig::vision_language>::Inner),
    Maps<&ModelConfig::fallback>("fallback", kFallback)
        .Says("Models that are asked where this one is not sure, in this order.")
        .Items(1, 8),
    Maps<&ModelConfig::crops>("crops", kCrops)
        .Says("Models that look at the objects that were found, in this order.")
        .Items(1, 16),
    Key<&ModelConfig::confidence>("confidence", kNumber)
        .Says("Detections below this confidence are left out.")
        .AffectsResults()
        .Range(0, 1)
        .Unset(kModelsOwn)
        .Example("0.3"),
    Map<&ModelConfig::nms>("nms", kNms).Says("Non-maximum suppression."),
    Key<&ModelConfig::labels>("labels", kTextList)
        .Says("Names of the classes, from class 0 on.")
        .AffectsResults()
        .Items(1, 10000)
        .Unset(kModelsOwn)
        .Example("[person, car]"),
    Map("batch", kBatch).Says("How frames share a run of the model."),
    Key<&ModelConfig::instances>("instances", kInteger)
        .Says("Copies that run side by side; 0 is one a core, or with `devices` one a device.")
        .Range(0, 256),
    Key<&ModelConfig::devices>("devices", kTextList)
        .Says("Where the instances run, in turn: an execution provider each, with its device's "
              "number where there are several. It comes before `providers`.")
        .Items(1, 64)
        .Unset("where `providers` puts them")
        .Example("[\"cuda:0\", \"cuda:1\"]"),
    Key<&ModelConfig::threads>("threads", kInteger)
        .Says("Threads of each instance.")
        .Range(1, 256)
        .Unset("`1`")
        .Example("2"),
    Row("backend", kChoice)
        .Says(
            "What runs the model. Where none of `backend`, `providers`, `instances`, `threads` and "
            "`batch.max` is given, what `sightline models tune` found for it holds. TorchScript "
            "files are "
            "programs: one that is not in the store runs only where `torchscript` is said.")
        .OneOf(kModelBackends)
        .SetBy(&SetBackend)
        .GetBy(&GetBackend)
        .Unset("`onnxruntime`; `openvino` for TensorFlow Lite files, `torchscript` for TorchScript "
               "files in the store")
        .Example("openvino"),
    Key<&ModelConfig::providers>("providers", kTextList)
        .Says("Execution providers of the inference runtime, in order of preference; `sightline "
              "doctor` lists them.")
        .Items(1, 8)
        .Unset("`[cpu]`")
        .Example("[cuda, cpu]"),
};
constexpr Section kModel = {"models[]",
                            "Models with settings of their own. One that needs none is named by "
                            "the camera directly.",
                            kModelFields, kModelReferences, &Bind<&ModelConfig::at>::Locate};

// --- outputs, limits, the file ---------------------------------------------------------------

constexpr Field kSqliteFields[] = {
    Key<&OutputConfig::Sqlite::enabled>("enabled", kBool).Says("Write the database."),
    Key<&OutputConfig::Sqlite::path>("path", kText).Says("The file; relative to `dir`."),
};
constexpr Section kSqlite = {"outputs.sqlite", "Detections, tracks and events as rows.",
                             kSqliteFields};

constexpr Field kJsonlFields[] = {
    Key<&OutputConfig::JsonLines::enabled>("enabled", kBool).Says("Write JSON lines."),
    Key<&OutputConfig::JsonLines::path>("path", kText).Says("The file; relative to `dir`."),
};
constexpr Section kJsonl = {"outputs.jsonl", "Detections, tracks and events as JSON lines.",
                            kJsonlFields};

constexpr Field kVideoFields[] = {
    Key<&OutputConfig::Video::enabled>("enabled", kBool)
        .Says("Write an annotated MP4 for every camera."),
    Key<&OutputConfig::Video::crf>("crf", kInteger)
        .Says("H.264 constant rate factor: lower looks better and takes more room.")
        .Range(0, 51),
};
constexpr Section kVideo = {"outputs.video", "Annotated video.", kVideoFields};

constexpr Field kReportFields[] = {
    Key<&OutputConfig::Report::enabled>("enabled", kBool)
        .Says("Draw a PNG report: counts over time, tracks, heat map."),
};
constexpr Section kReport = {"outputs.report", "Pictures of what was found.", kReportFields};

constexpr Field kOutputFields[] = {
    Key<&OutputConfig::dir>("dir", kPath)
        .Says("Folder of everything that is written; made when it is not there. Relative paths "
              "start at the configuration file."),
    Map<&OutputConfig::sqlite>("sqlite", kSqlite).Says("The database."),
    Map<&OutputConfig::jsonl>("jsonl", kJsonl).Says("JSON lines."),
    Map<&OutputConfig::video>("video", kVideo).Says("Annotated video."),
    Map<&OutputConfig::report>("report", kReport).Says("PNG report."),
    Key<&OutputConfig::trace>("trace", kBool)
        .Says(
            "Give every frame a W3C trace context (`traceparent`) in the JSON lines, and in those "
            "of the log that speak of it."),
};
constexpr Section kOutputs = {"outputs", "What is written, and where.", kOutputFields};

constexpr Field kLimitFields[] = {
    Key<&LimitsConfig::threads>("threads", kInteger)
        .Says("Inference threads over all models; 0 is one a core.")
        .Range(0, 1024),
    Key<&LimitsConfig::frames_in_flight>("frames_in_flight", kInteger)
        .Says("Frames of one camera between its source and its tracker; 0 is two more than twice "
              "the model's instances, for recordings four times.")
        .Range(0, 10000),
    Key<&LimitsConfig::max_frames>("max_frames", kInteger)
        .Says("Stop a camera after this many frames; 0 is never.")
        .Range(0, 1e15),
    Key<&LimitsConfig::duration_us>("duration", kDuration)
        .Says("Stop the run after this time on the wall clock.")
        .Above(0, static_cast<double>(kLongestDurationUs))
        .Unset("to the end of the sources")
        .Example("30s"),
};
constexpr Section kLimits = {"limits", "Bounds on what a run takes.", kLimitFields};

constexpr Field kMetricsFields[] = {
    Key<&MetricsConfig::listen>("listen", kText)
        .Says("Where `/metrics`, `/healthz` and `/readyz` are served: a port (this machine alone), "
              "`:PORT` (every address of this machine) or `ADDRESS:PORT`; port 0 is any that is "
              "free.")
        .GetBy([](const void* target) {
          const auto& metrics = *static_cast<const MetricsConfig*>(target);
          return metrics.listen.empty() ? Value() : Value(metrics.listen);
        })
        .Unset("nowhere")
        .Example("localhost:9100"),
    Key<&MetricsConfig::hang_after_us>("hang_after", kDuration)
        .Says("`/healthz` fails when a thread has been at one piece of work (a write, a batch, a "
              "frame) "
              "for so long.")
        .Range(kSecondUs, kDayUs),
};
constexpr Section kMetrics = {"metrics", "Metrics and health over HTTP; docs/metrics.md.",
                              kMetricsFields};

// Each camera starts with the file's tracker, so `tracker` stands before `cameras`: a section's
// fields are read in the table's order.
void* AppendCamera(void* target) {
  auto& config = *static_cast<Config*>(target);
  config.cameras.emplace_back().tracker = config.tracker;
  return &config.cameras.back();
}

constexpr Field kFileFields[] = {
    Key<&Config::version>("version", kInteger).Says("Version of this format.").Range(1, 1),
    Maps<&Config::models>("models", kModel)
        .Says("Models with settings of their own.")
        .Items(1, 1000),
    Map<&Config::tracker>("tracker", kTracker).Says("The tracker of every camera."),
    Maps<&Config::cameras>("cameras", kCamera)
        .Says("The cameras.")
        .Required()
        .Items(1, 5000)
        .Of(kCamera, &AppendCamera, &Bind<&Config::cameras>::Element),
    Map<&Config::outputs>("outputs", kOutputs).Says("What is written, and where."),
    Map<&Config::limits>("limits", kLimits).Says("Bounds on what a run takes."),
    Map<&Config::metrics>("metrics", kMetrics).Says("Metrics and health over HTTP."),
};
constexpr Section kFile = {"", "The file itself.", kFileFields};

void Collect(const Section& section, std::vector<const Section*>& into) {
  if (std::find(into.begin(), into.end(), &section) != into.end()) return;
  into.push_back(&section);
  for (const Field& field : section.fields) {
    if (field.section != nullptr) Collect(*field.section, into);
  }
}

struct Defaults {
  Config config;
  ModelConfig model;
  FallbackConfig fallback;
  CropsConfig crops;
  VisionLanguageConfig vision_language;
};

}  // namespace

const Section& FileSection() { return kFile; }

std::vector<const Section*> AllSections() {
  std::vector<const Section*> sections;
  Collect(kFile, sections);
  return sections;
}

const void* DefaultTarget(const Section& section) {
  static const Defaults defaults;
  const std::pair<const Section*, const void*> targets[] = {
      {&kFile, &defaults.config},
      {&kModel, &defaults.model},
      {&kNms, &defaults.model.nms},
      {&kBatch, &defaults.model},
      {&kFallback, &defaults.fallback},
      {&kCrops, &defaults.crops},
      {&kVisionLanguage, &defaults.vision_language},
      {&kOutputs, &defaults.config.outputs},
      {&kSqlite, &defaults.config.outputs.sqlite},
      {&kJsonl, &defaults.config.outputs.jsonl},
      {&kVideo, &defaults.config.outputs.video},
      {&kReport, &defaults.config.outputs.report},
      {&kLimits, &defaults.config.limits},
      {&kMetrics, &defaults.config.metrics},
  };
  for (const auto& [known, target] : targets) {
    if (known == &section) return target;
  }
  return CameraDefaults(section);
}

}  // namespace sightline::config
