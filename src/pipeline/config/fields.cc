#include "pipeline/config/fields.h"

#include <algorithm>

#include "base/time.h"
#include "pipeline/config/binding.h"

namespace sightline::config {
namespace {

constexpr double kSecondUs = 1e6;
constexpr double kDayUs = 24 * 3600e6;
constexpr double kYear10kUs = 253402300800e6;

// The order of choices is the order of the enums' values.
constexpr std::string_view kCoordinates[] = {"fraction", "pixels"};
constexpr std::string_view kAnchors[] = {"bottom_center", "center",   "top_center", "bottom_left",
                                         "bottom_right",  "top_left", "top_right"};
constexpr std::string_view kTrackers[] = {"bytetrack", "none"};
constexpr std::string_view kNmsKinds[] = {"hard", "soft_linear", "soft_gaussian"};
constexpr std::string_view kModelReferences[] = {"builtin", "package", "file"};

template <auto... Path>
constexpr Field Scalar(std::string_view key, FieldType type, std::string_view description) {
  Field field;
  field.key = key;
  field.type = type;
  field.description = description;
  field.set = &Bind<Path...>::Set;
  field.get = &Bind<Path...>::Get;
  return field;
}
template <auto... Path>
constexpr Field Inner(std::string_view key, const Section& section, std::string_view description) {
  Field field;
  field.key = key;
  field.type = FieldType::kSection;
  field.description = description;
  field.section = &section;
  if constexpr (sizeof...(Path) == 0) {
    field.enter = &SameTarget;
    field.element = &SameTargetConst;
  } else {
    field.enter = &Bind<Path...>::Enter;
    field.element = &Bind<Path...>::Inner;
  }
  return field;
}
template <auto... Path>
constexpr Field List(std::string_view key, const Section& section, std::string_view description) {
  Field field;
  field.key = key;
  field.type = FieldType::kSectionList;
  field.description = description;
  field.section = &section;
  field.enter = &Bind<Path...>::Append;
  field.element = &Bind<Path...>::Element;
  return field;
}

// One setting of a field each, so that a row reads as a sentence.
constexpr Field Required(Field f) {
  f.required = true;
  return f;
}
constexpr Field Affects(Field f) {
  f.affects_results = true;
  return f;
}
constexpr Field Needs(std::string_view key, Field f) {
  f.needs = key;
  return f;
}
constexpr Field Unset(std::string_view means, Field f) {
  f.unset_means = means;
  return f;
}
constexpr Field Example(std::string_view example, Field f) {
  f.example = example;
  return f;
}
constexpr Field Range(double min, double max, Field f) {
  f.min = min;
  f.max = max;
  return f;
}
constexpr Field Above(double min, double max, Field f) {
  f.min_excluded = true;
  return Range(min, max, f);
}
constexpr Field Items(size_t min, size_t max, Field f) {
  f.min_items = min;
  f.max_items = max;
  return f;
}
constexpr Field Choices(std::span<const std::string_view> choices, Field f) {
  f.choices = choices;
  return f;
}
template <auto Member>
constexpr Field At(Field f) {
  f.locate = &Bind<Member>::Locate;
  return f;
}

// --- cameras ---------------------------------------------------------------------------------

constexpr std::string_view kAnchorWords =
    "The point of an object's box that is looked at; `bottom_center` is where it stands.";
constexpr std::string_view kClassesWords = "Only objects of these classes, by the model's labels.";

constexpr Field kZoneFields[] = {
    Required(Affects(Example(
        "shop floor",
        Scalar<&ZoneConfig::name>("name", FieldType::kLabel,
                                  "Name in events and counts; unique within the camera.")))),
    Required(Affects(Items(
        3, 1000,
        Example("[[0.1, 0.2], [0.9, 0.2], [0.9, 0.9]]",
                Scalar<&ZoneConfig::polygon>("polygon", FieldType::kPoints,
                                             "Corners in order, in the camera's `coordinates`; "
                                             "edges must not cross, and the last corner "
                                             "is joined to the first."))))),
    Affects(
        Choices(kAnchors, Scalar<&ZoneConfig::anchor>("anchor", FieldType::kChoice, kAnchorWords))),
    Affects(Items(1, 1000,
                  Unset("all classes",
                        Example("[person]", Scalar<&ZoneConfig::classes>(
                                                "classes", FieldType::kTextList, kClassesWords))))),
    Affects(Range(
        0, 32768,
        Scalar<&ZoneConfig::margin>(
            "margin", FieldType::kNumber,
            "Hysteresis in space: how far outside the polygon the anchor of an object that is in "
            "the "
            "zone must be to count as outside; a fraction of the picture's height, or pixels."))),
    Affects(Range(1, 10000,
                  Scalar<&ZoneConfig::enter_frames>("enter_frames", FieldType::kInteger,
                                                    "Hysteresis in time: processed frames in a row "
                                                    "inside before the object has entered."))),
    Affects(Range(1, 10000,
                  Scalar<&ZoneConfig::exit_frames>(
                      "exit_frames", FieldType::kInteger,
                      "Processed frames in a row outside before the object has left."))),
};
constexpr Section kZone = {"cameras[].zones[]",
                           "Areas: objects that enter and leave, how many are inside.",
                           kZoneFields,
                           {},
                           &Bind<&ZoneConfig::at>::Locate};

constexpr Field kDirectionFields[] = {
    Affects(Scalar<&LineConfig::forward>(
        "forward", FieldType::kLabel,
        "Name of crossing from the left to the right of someone who looks from `from` to `to`.")),
    Affects(Scalar<&LineConfig::backward>("backward", FieldType::kLabel,
                                          "Name of crossing from the right to the left.")),
};
constexpr Section kDirections = {"cameras[].lines[].directions",
                                 "Names of the two ways across a line.", kDirectionFields};

constexpr Field kLineFields[] = {
    Required(Affects(Example("door", Scalar<&LineConfig::name>(
                                         "name", FieldType::kLabel,
                                         "Name in events and counts; unique within the camera.")))),
    Required(
        Affects(Example("[0.2, 0.5]", Scalar<&LineConfig::from>(
                                          "from", FieldType::kPoint,
                                          "First end `[x, y]`, in the camera's `coordinates`.")))),
    Required(Affects(Example(
        "[0.8, 0.5]", Scalar<&LineConfig::to>("to", FieldType::kPoint, "Second end `[x, y]`.")))),
    Inner("directions", kDirections, "Names of the two ways across."),
    Affects(
        Choices(kAnchors, Scalar<&LineConfig::anchor>("anchor", FieldType::kChoice, kAnchorWords))),
    Affects(Items(1, 1000,
                  Unset("all classes",
                        Example("[person]", Scalar<&LineConfig::classes>(
                                                "classes", FieldType::kTextList, kClassesWords))))),
    Affects(Range(0, 32768,
                  Scalar<&LineConfig::margin>("margin", FieldType::kNumber,
                                              "Hysteresis: how far beyond the line the anchor must "
                                              "be for a crossing to count; a fraction "
                                              "of the picture's height, or pixels."))),
};
constexpr Section kLine = {"cameras[].lines[]",
                           "Tripwires: crossings counted by direction.",
                           kLineFields,
                           {},
                           &Bind<&LineConfig::at>::Locate};

constexpr Field kMotionFields[] = {
    Affects(Above(0, 1,
                  Scalar<&MotionTrigger::changed_area>(
                      "changed_area", FieldType::kNumber,
                      "Share of the picture that must have changed for a frame to be processed."))),
    Affects(Range(0, kDayUs,
                  Scalar<&MotionTrigger::hold_us>(
                      "hold", FieldType::kDuration,
                      "How long frames are still processed after the last change."))),
};
constexpr Section kMotion = {
    "cameras[].select.motion",
    "Only frames in which something moves; `motion: {}` takes the defaults.", kMotionFields};

constexpr Field kSelectFields[] = {
    Affects(Range(1, 1000000,
                  Scalar<&CameraConfig::selection, &FrameSelection::every_nth>(
                      "every_nth", FieldType::kInteger,
                      "Process frames 0, n, 2n, ...; where the codec allows, the others are "
                      "not even decoded."))),
    Affects(Range(0, 1000,
                  Scalar<&CameraConfig::selection, &FrameSelection::target_fps>(
                      "target_fps", FieldType::kNumber,
                      "Process at most this many frames a second of stream time; 0 is all."))),
    Unset("every frame",
          Inner<&CameraConfig::motion>("motion", kMotion, "Process only while something moves.")),
};
constexpr Section kSelect = {"cameras[].select",
                             "Which frames are worth processing; a frame is processed when every "
                             "condition keeps it. The others are counted as skipped, by reason.",
                             kSelectFields};

// --- tracker ---------------------------------------------------------------------------------

constexpr Field kTrackerFields[] = {
    Affects(
        Choices(kTrackers,
                Scalar<&TrackerConfig::kind>(
                    "type", FieldType::kChoice,
                    "The tracker; with `none` there are detections but no tracks and no events."))),
    Affects(Range(0, 1,
                  Scalar<&TrackerConfig::track_thresh>(
                      "track_thresh", FieldType::kNumber,
                      "Detections with at least this confidence are matched first."))),
    Affects(Range(
        0, 1,
        Scalar<&TrackerConfig::low_thresh>("low_thresh", FieldType::kNumber,
                                           "Detections between this confidence and `track_thresh` "
                                           "are matched second, to keep tracks "
                                           "alive through occlusion; below it they are ignored."))),
    Affects(Range(
        0, 1,
        Unset("`track_thresh` + 0.1", Example("0.6", Scalar<&TrackerConfig::new_track_thresh>(
                                                         "new_track_thresh", FieldType::kNumber,
                                                         "Confidence that starts a track."))))),
    Affects(
        Above(0, 1,
              Scalar<&TrackerConfig::match_thresh>(
                  "match_thresh", FieldType::kNumber,
                  "Largest cost (1 - IoU, weighted by the score) of a match in the first round."))),
    Affects(Range(1, 100000,
                  Scalar<&TrackerConfig::track_buffer>(
                      "track_buffer", FieldType::kInteger,
                      "How long a track lives unseen, in frames of a 30 fps stream; at other "
                      "rates it is the same time."))),
    Affects(Above(0, kDayUs,
                  Unset("`track_buffer`",
                        Example("1s", Scalar<&TrackerConfig::max_lost_us>(
                                          "max_lost", FieldType::kDuration,
                                          "The same as a duration; wins over `track_buffer`."))))),
    Affects(Scalar<&TrackerConfig::reference_quirks>(
        "reference_quirks", FieldType::kBool,
        "Do exactly what the paper's code does (boxes with inclusive pixels, strict comparisons); "
        "for comparing with published results.")),
};
constexpr Section kTracker = {"tracker",
                              "ByteTrack (Zhang et al., ECCV 2022), under the names of the paper's "
                              "code.",
                              kTrackerFields};

constexpr Field kCameraFields[] = {
    Required(
        Example("door", Scalar<&CameraConfig::id>("id", FieldType::kId,
                                                  "Name in every row, file and message; unique."))),
    At<&CameraConfig::source_at>(Required(Example(
        "door.mp4", Scalar<&CameraConfig::source>("source", FieldType::kSource,
                                                  "File, folder, glob (in quotes) or URL. Relative "
                                                  "paths start at the configuration file. "
                                                  "`${env:NAME}` and `${file:PATH}` are replaced "
                                                  "by a variable or a file's content and never "
                                                  "printed.")))),
    At<&CameraConfig::model_at>(Required(Example(
        "people", Scalar<&CameraConfig::model>("model", FieldType::kText,
                                               "A name under `models`, a built-in detector "
                                               "(`people`, `motion`, `faces`), a package added "
                                               "by `sightline models add`, or an ONNX file.")))),
    Affects(Range(0, kYear10kUs,
                  Unset("what the recording says",
                        Example("2026-01-31T12:00:00Z",
                                Scalar<&CameraConfig::start_utc_us>(
                                    "start_time", FieldType::kTime,
                                    "When the recording's first frame was taken (RFC 3339)."))))),
    Inner("select", kSelect, "Which frames are processed."),
    Unset("must be said with `zones` or `lines`",
          Example("fraction",
                  [] {
                    Field field = Affects(
                        Choices(kCoordinates, Scalar<&CameraConfig::coordinates>(
                                                  "coordinates", FieldType::kChoice,
                                                  "What the numbers of `zones` and `lines` are: "
                                                  "fractions of width and height, or pixels of "
                                                  "the source picture.")));
                    field.set = &Bind<&CameraConfig::coordinates>::SetFromSecond;
                    field.get = &Bind<&CameraConfig::coordinates>::GetFromSecond;
                    return field;
                  }())),
    Items(1, 100,
          Needs("coordinates", List<&CameraConfig::zones>("zones", kZone, "Areas to watch."))),
    Items(1, 100, Needs("coordinates", List<&CameraConfig::lines>("lines", kLine, "Tripwires."))),
    Unset("the file's `tracker`",
          Inner<&CameraConfig::tracker>("tracker", kTracker,
                                        "Keys of `tracker` that differ for this camera.")),
    Range(
        1, 64,
        Scalar<&CameraConfig::decode_threads>("decode_threads", FieldType::kInteger,
                                              "Threads of the decoder; does not change results.")),
};
constexpr Section kCamera = {"cameras[]",
                             "Where frames come from, and what is looked for in them.",
                             kCameraFields,
                             {},
                             &Bind<&CameraConfig::at>::Locate};

// --- models ----------------------------------------------------------------------------------

constexpr Field kNmsFields[] = {
    Affects(
        Unset("the model's own",
              Choices(kNmsKinds, Scalar<&NmsConfig::kind>(
                                     "kind", FieldType::kChoice,
                                     "How boxes of one object are thinned out: non-maximum "
                                     "suppression, or Soft-NMS with linear or Gaussian decay.")))),
    Affects(
        Unset("the model's own",
              Example("0.45", Range(0, 1,
                                    Scalar<&NmsConfig::iou>(
                                        "iou", FieldType::kNumber,
                                        "Overlap (IoU) from which two boxes are one object."))))),
    Affects(Unset("the model's own", Example("0.5", Above(0, 10,
                                                          Scalar<&NmsConfig::sigma>(
                                                              "sigma", FieldType::kNumber,
                                                              "Width of the Gaussian decay."))))),
    Affects(Unset("the model's own",
                  Example("true", Scalar<&NmsConfig::class_aware>(
                                      "class_aware", FieldType::kBool,
                                      "Boxes of different classes never suppress each other.")))),
    Affects(Unset("the model's own",
                  Example("300", Range(1, 10000,
                                       Scalar<&NmsConfig::max_detections>(
                                           "max_detections", FieldType::kInteger,
                                           "Most detections that a frame can have."))))),
};
constexpr Section kNms = {"models[].nms", "Non-maximum suppression.", kNmsFields};

constexpr Field kBatchFields[] = {
    Unset("the model's own", Example("4", Range(1, 1024,
                                                Scalar<&ModelConfig::max_batch>(
                                                    "max", FieldType::kInteger,
                                                    "Most frames that are run at once.")))),
    Range(0, 10 * kSecondUs,
          Scalar<&ModelConfig::max_batch_delay_us>(
              "max_delay", FieldType::kDuration,
              "How long a frame may wait for others to fill the batch.")),
};
constexpr Section kBatch = {"models[].batch", "How frames share a run of the model.", kBatchFields};

// Three keys fill origin and reference; kModel demands exactly one of them.
template <ModelOrigin kOrigin>
constexpr Field Reference(std::string_view key, FieldType type, std::string_view description) {
  Field field;
  field.key = key;
  field.type = type;
  field.description = description;
  field.set = [](void* target, Value&& value) {
    auto& model = *static_cast<ModelConfig*>(target);
    model.origin = kOrigin;
    model.reference = std::get<std::string>(std::move(value));
  };
  field.get = [](const void* target) {
    const auto& model = *static_cast<const ModelConfig*>(target);
    return model.origin == kOrigin && !model.reference.empty() ? Value(model.reference) : Value();
  };
  field.unset_means = "one of `builtin`, `package` and `file` is needed";
  return field;
}

constexpr Field BuiltinReference() {
  Field field = Reference<ModelOrigin::kBuiltin>(
      "builtin", FieldType::kChoice,
      "A detector that needs no model: people by HOG, motion by background subtraction, faces by a "
      "cascade.");
  field.choices = kBuiltinModels;
  field.set = [](void* target, Value&& value) {
    auto& model = *static_cast<ModelConfig*>(target);
    model.origin = ModelOrigin::kBuiltin;
    model.reference = kBuiltinModels[std::get<int64_t>(value)];
  };
  field.get = [](const void* target) {
    const auto& model = *static_cast<const ModelConfig*>(target);
    const auto* at =
        std::find(std::begin(kBuiltinModels), std::end(kBuiltinModels), model.reference);
    if (model.origin != ModelOrigin::kBuiltin || at == std::end(kBuiltinModels)) return Value();
    return Value(static_cast<int64_t>(at - std::begin(kBuiltinModels)));
  };
  return field;
}

constexpr Field kModelFields[] = {
    Required(Example("fast_people",
                     Scalar<&ModelConfig::name>("name", FieldType::kId,
                                                "What a camera's `model` calls it; unique."))),
    BuiltinReference(),
    Example("yolox_nano",
            Reference<ModelOrigin::kPackage>("package", FieldType::kId,
                                             "A package added by `sightline models add`.")),
    Example("yolox_nano.onnx",
            Reference<ModelOrigin::kFile>("file", FieldType::kPath,
                                          "An ONNX file or a package's folder.")),
    Affects(Range(0, 1,
                  Unset("the model's own",
                        Example("0.3", Scalar<&ModelConfig::confidence>(
                                           "confidence", FieldType::kNumber,
                                           "Detections below this confidence are left out."))))),
    Inner<&ModelConfig::nms>("nms", kNms, "Non-maximum suppression."),
    Affects(Items(1, 10000,
                  Unset("the model's own",
                        Example("[person, car]", Scalar<&ModelConfig::labels>(
                                                     "labels", FieldType::kTextList,
                                                     "Names of the classes, from class 0 on."))))),
    Inner("batch", kBatch, "How frames share a run of the model."),
    Range(0, 256,
          Scalar<&ModelConfig::instances>("instances", FieldType::kInteger,
                                          "Copies that run side by side; 0 is one a core.")),
    Range(
        1, 256,
        Scalar<&ModelConfig::threads>("threads", FieldType::kInteger, "Threads of each instance.")),
    Items(1, 8,
          Unset("[cpu]", Example("[cuda, cpu]", Scalar<&ModelConfig::providers>(
                                                    "providers", FieldType::kTextList,
                                                    "Execution providers of the inference runtime, "
                                                    "in order of preference; `sightline doctor` "
                                                    "lists them.")))),
};
constexpr Section kModel = {
    "models[]",
    "Models with settings of their own. One that needs none is named by the "
    "camera directly.",
    kModelFields, kModelReferences, &Bind<&ModelConfig::at>::Locate};

// --- outputs, limits, the file ---------------------------------------------------------------

constexpr Field kSqliteFields[] = {
    Scalar<&OutputConfig::Sqlite::enabled>("enabled", FieldType::kBool, "Write the database."),
    Scalar<&OutputConfig::Sqlite::path>("path", FieldType::kText,
                                        "The database file; relative to `dir`."),
};
constexpr Section kSqlite = {"outputs.sqlite", "Detections, tracks and events as rows.",
                             kSqliteFields};
constexpr Field kJsonlFields[] = {
    Scalar<&OutputConfig::JsonLines::enabled>("enabled", FieldType::kBool, "Write JSON lines."),
    Scalar<&OutputConfig::JsonLines::path>("path", FieldType::kText,
                                           "The file; relative to `dir`."),
};
constexpr Section kJsonl = {"outputs.jsonl", "Detections, tracks and events as JSON lines.",
                            kJsonlFields};
constexpr Field kVideoFields[] = {
    Scalar<&OutputConfig::Video::enabled>("enabled", FieldType::kBool,
                                          "Write an annotated MP4 for every camera."),
    Range(0, 51,
          Scalar<&OutputConfig::Video::crf>(
              "crf", FieldType::kInteger,
              "H.264 constant rate factor: lower looks better and takes more room.")),
};
constexpr Section kVideo = {"outputs.video", "Annotated video.", kVideoFields};
constexpr Field kReportFields[] = {
    Scalar<&OutputConfig::Report::enabled>(
        "enabled", FieldType::kBool,
        "Draw a PNG report for every camera: counts over time, tracks, heat map."),
};
constexpr Section kReport = {"outputs.report", "Pictures of what was found.", kReportFields};

constexpr Field kOutputFields[] = {
    Scalar<&OutputConfig::dir>("dir", FieldType::kPath,
                               "Folder of everything that is written; made when it is not there."),
    Inner<&OutputConfig::sqlite>("sqlite", kSqlite, "The database."),
    Inner<&OutputConfig::jsonl>("jsonl", kJsonl, "JSON lines."),
    Inner<&OutputConfig::video>("video", kVideo, "Annotated video."),
    Inner<&OutputConfig::report>("report", kReport, "PNG report."),
};
constexpr Section kOutputs = {"outputs", "What is written, and where.", kOutputFields};

constexpr Field kLimitFields[] = {
    Range(0, 1024,
          Scalar<&LimitsConfig::threads>("threads", FieldType::kInteger,
                                         "Inference threads over all models; 0 is one a core.")),
    Range(0, 10000,
          Scalar<&LimitsConfig::frames_in_flight>(
              "frames_in_flight", FieldType::kInteger,
              "Frames of one camera between its source and its tracker; 0 is twice "
              "the inference threads and two more.")),
    Range(0, 1e15,
          Scalar<&LimitsConfig::max_frames>(
              "max_frames", FieldType::kInteger,
              "Stop a camera after this many frames of its source; 0 is never.")),
    Above(0, 366 * kDayUs,
          Unset("to the end of the sources",
                Example("30s", Scalar<&LimitsConfig::duration_us>(
                                   "duration", FieldType::kDuration,
                                   "Stop the run after this time on the wall clock.")))),
};
constexpr Section kLimits = {"limits", "Bounds on what a run takes.", kLimitFields};

// Cameras stand behind `tracker`, because each starts with the file's tracker.
constexpr Field kFileFields[] = {
    Range(1, 1,
          Scalar<&Config::version>("version", FieldType::kInteger, "Version of this format.")),
    Items(1, 1000, List<&Config::models>("models", kModel, "Models with settings of their own.")),
    Inner<&Config::tracker>("tracker", kTracker, "The tracker of every camera."),
    Required(Items(1, 5000,
                   [] {
                     Field field = List<&Config::cameras>("cameras", kCamera, "The cameras.");
                     field.enter = [](void* target) -> void* {
                       auto& config = *static_cast<Config*>(target);
                       config.cameras.emplace_back().tracker = config.tracker;
                       return &config.cameras.back();
                     };
                     return field;
                   }())),
    Inner<&Config::outputs>("outputs", kOutputs, "What is written, and where."),
    Inner<&Config::limits>("limits", kLimits, "Bounds on what a run takes."),
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
  CameraConfig camera;
  ModelConfig model;
  ZoneConfig zone;
  LineConfig line;
  MotionTrigger motion;
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
      {&kCamera, &defaults.camera},
      {&kSelect, &defaults.camera},
      {&kMotion, &defaults.motion},
      {&kZone, &defaults.zone},
      {&kLine, &defaults.line},
      {&kDirections, &defaults.line},
      {&kTracker, &defaults.config.tracker},
      {&kModel, &defaults.model},
      {&kNms, &defaults.model.nms},
      {&kBatch, &defaults.model},
      {&kOutputs, &defaults.config.outputs},
      {&kSqlite, &defaults.config.outputs.sqlite},
      {&kJsonl, &defaults.config.outputs.jsonl},
      {&kVideo, &defaults.config.outputs.video},
      {&kReport, &defaults.config.outputs.report},
      {&kLimits, &defaults.config.limits},
  };
  for (const auto& [known, target] : targets) {
    if (known == &section) return target;
  }
  return nullptr;
}

}  // namespace sightline::config
