// What one configuration file says, as plain typed values: cameras, models, tracker, outputs,
// limits.
//
// The keys, their ranges and their words stand in one table (fields.cc); the parser, the JSON
// Schema and docs/configuration.md all come from it. The defaults are the member initialisers
// below.
//
// Units: durations are microseconds (_us), times are microseconds of UTC since 1970 (_utc_us).
// Paths: made absolute against the folder of the configuration file by the parser.
// Threads: values, copied freely; nothing here is shared.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/redact.h"
#include "base/uuid.h"
#include "types/frame_source.h"
#include "types/geometry.h"
#include "types/model_spec.h"

namespace sightline {

// Where something stands in the configuration file; 1 is the first line and the first column,
// line 0 means that it does not come from a file.
struct ConfigLocation {
  int line = 0;
  int column = 0;
  bool operator==(const ConfigLocation&) const = default;
};

// A text that may hold a password. shown() is safe to print: references such as ${env:NAME} stand
// as they were written and passwords in URLs are ***. Reveal() is the real text, for the library
// that opens it and for nobody else. It cannot be printed by accident: streams get shown(), and the
// log and the command line's errors show it in place of the real text (base/redact.h).
class SecretText {
 public:
  SecretText() = default;
  SecretText(std::string value, std::string shown)
      : value_(std::move(value)), shown_(std::move(shown)) {
    HideSecret(value_, shown_);
  }
  const std::string& shown() const { return shown_; }
  const std::string& Reveal() const { return value_; }
  bool empty() const { return value_.empty(); }
  bool operator==(const SecretText&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const SecretText& text);

 private:
  std::string value_;
  std::string shown_;
};

// kUnset stays only for cameras without zones and lines.
enum class Coordinates : uint8_t { kUnset, kFraction, kPixels };

// The point of a box that a zone or line looks at.
enum class BoxAnchor : uint8_t {
  kBottomCenter,
  kCenter,
  kTopCenter,
  kBottomLeft,
  kBottomRight,
  kTopLeft,
  kTopRight
};

// Points and margins are in the camera's `coordinates`: fractions of width and height, or pixels of
// the source picture. A margin in fractions is one of the picture's height.
struct ZoneConfig {
  std::string name;             // unique among the camera's zones and lines
  std::vector<PointF> polygon;  // at least 3 points, simple (no edge crosses another), not closed
  BoxAnchor anchor = BoxAnchor::kBottomCenter;
  std::vector<std::string> classes;  // names; empty = all
  // Hysteresis: a track enters when its anchor is inside on `enter_frames` processed frames in a
  // row; it leaves when its anchor is more than `margin` outside on `exit_frames` in a row.
  std::optional<float> margin;  // unset = the event engine's own
  int enter_frames = 1;
  int exit_frames = 1;
  ConfigLocation at;
};

struct LineConfig {
  std::string name;
  PointF from;
  PointF to;
  BoxAnchor anchor = BoxAnchor::kBottomCenter;
  // Names of the two ways across: forward goes from the left to the right of someone who looks
  // from `from` to `to` (CrossDirection in types/event.h).
  std::string forward = "in";
  std::string backward = "out";
  std::vector<std::string> classes;
  // Hysteresis: a crossing counts once the anchor is more than `margin` beyond the line.
  std::optional<float> margin;
  ConfigLocation at;
};

// Motion-triggered selection: a frame is worth processing while at least `changed_area` of the
// picture (fraction) differs from the background, and for `hold_us` after that.
struct MotionTrigger {
  float changed_area = 0.15f;
  int64_t hold_us = 2'000'000;
};

enum class TrackerType : uint8_t { kByteTrack, kNone };

// ByteTrack's parameters under their names in the paper's code (Zhang et al., ECCV 2022).
struct TrackerConfig {
  TrackerType kind = TrackerType::kByteTrack;
  float track_thresh = 0.5f;              // detections at or above it are matched first
  float low_thresh = 0.1f;                // those between it and track_thresh are matched second
  std::optional<float> new_track_thresh;  // to start a track; unset = track_thresh + 0.1
  float match_thresh = 0.8f;              // largest 1 - IoU x score of a first match
  int track_buffer = 30;                  // how long a lost track lives, in frames at 30 fps
  std::optional<int64_t> max_lost_us;     // the same as a duration; wins over track_buffer
  bool reference_quirks = false;          // exactly as the paper's code: inclusive pixels, ...
};

enum class LiveTransport : uint8_t { kTcp, kUdp };

// How a live camera is reached and watched over; recordings ignore it. It changes no result.
struct LiveConfig {
  LiveTransport transport = LiveTransport::kTcp;  // of RTSP
  bool verify_tls = true;
  std::optional<std::string> ca_file;           // PEM; unset: whom the system trusts
  std::optional<std::string> certificate_file;  // PEM, ours
  std::optional<std::string> key_file;          // PEM, of the certificate
  bool allow_basic = false;                     // basic authentication without TLS
  std::string hardware = "none";                // what decodes
  int64_t connect_timeout_us = 10'000'000;
  int64_t stall_after_us = 2'000'000;
  int64_t frozen_after_us = 10'000'000;
  int64_t max_backoff_us = 2'000'000;
};

struct CameraConfig {
  std::string id;     // [A-Za-z0-9_.-], at most 50, unique
  SecretText source;  // path, glob, folder or URL; paths are absolute
  bool source_is_url = false;
  std::string model;       // as written
  size_t model_index = 0;  // into Config::models, always valid
  std::optional<int64_t> start_utc_us;
  FrameSelection selection;
  std::optional<MotionTrigger> motion;
  Coordinates coordinates = Coordinates::kUnset;
  std::vector<ZoneConfig> zones;
  std::vector<LineConfig> lines;
  TrackerConfig tracker;  // effective: the file's tracker with the camera's own keys over it
  LiveConfig live;
  int decode_threads = 1;
  int priority = 8;  // before the model, 1 (the most urgent) to 16: see infer/batcher.h
  ConfigLocation at;
  ConfigLocation source_at;
  ConfigLocation model_at;
};

enum class ModelOrigin : uint8_t {
  kBuiltin,        // "people", "motion", "faces", "truth"
  kPackage,        // a name in the model store
  kFile,           // an ONNX file or a package folder
  kEnsemble,       // of other models
  kVisionLanguage  // on another machine
};

// What `model:` and --model mean without a file or package of that name.
inline constexpr std::string_view kBuiltInModels[] = {"people", "motion", "faces", "truth"};

// What runs models. Unless one is named, ONNX Runtime does, OpenVINO what that cannot read. TorchScript files
// are programs, and run only where theirs is named.
inline constexpr std::string_view kModelBackends[] = {"onnxruntime", "openvino", "torchscript"};

// Unset optionals leave what the model's package says.
struct NmsConfig {
  std::optional<NmsSettings::Kind> kind;
  std::optional<float> iou;
  std::optional<float> sigma;
  std::optional<bool> class_aware;
  std::optional<int> max_detections;
  bool operator==(const NmsConfig&) const = default;
};

// A model that is asked instead where the first is not sure.
struct FallbackConfig {
  std::string model;   // as written
  float from = 0.05f;  // of the best confidence, inclusive
  float below = 0.5f;  // exclusive
  ConfigLocation at;
  bool operator==(const FallbackConfig& other) const {
    return model == other.model && from == other.from && below == other.below;
  }
};

// A model that looks at the objects that were found, each cut out of the picture.
struct CropsConfig {
  std::string name;                       // unique within the model
  std::string model;                      // as written
  std::vector<std::string> classes;       // of objects; empty = all
  float margin = 0;                       // on each side, of the box's width and height
  int min_side = 8;                       // px; smaller objects are left out
  int most = 64;                          // objects of a frame
  std::optional<float> keep_above;        // objects of which the model is less sure are taken out
  std::vector<std::string> keep_classes;  // the model's own that count for this; empty = any
  ConfigLocation at;
  bool operator==(const CropsConfig& other) const {
    return name == other.name && model == other.model && classes == other.classes &&
           margin == other.margin && min_side == other.min_side && most == other.most &&
           keep_above == other.keep_above && keep_classes == other.keep_classes;
  }
};

// A vision-language model behind an OpenAI-compatible endpoint. Zeros and empty texts are as in
// remote/vision_language_model.h, where the defaults come from.
struct VisionLanguageConfig {
  enum class Answer : uint8_t { kOne, kSeveral, kBoxes };
  std::string endpoint;
  std::string model;
  SecretText key;
  std::string ask;
  Answer answer = Answer::kOne;
  bool may_find_none = false;
  enum class BoxUnit : uint8_t { kThousandths, kPixels };
  BoxUnit box_unit = BoxUnit::kThousandths;
  int max_boxes = 100;
  int max_side = 768;               // px
  int64_t timeout_us = 30'000'000;  // of a picture, retries included
  int max_at_once = 4;              // requests
  int64_t requests_per_minute = 0;  // 0: without limit, as those below
  int64_t requests_per_hour = 0;
  int64_t requests_per_day = 0;
  int64_t tokens_per_day = 0;
  int cache_entries = 10'000;
  int64_t cache_ttl_us = 3'600'000'000;
  std::string ca_file;  // PEM; empty: whom the system trusts
  bool operator==(const VisionLanguageConfig&) const = default;
};

struct ModelConfig {
  std::string name;  // unique; for a camera's direct reference the reference itself
  ModelOrigin origin = ModelOrigin::kPackage;
  std::string reference;              // builtin name, package name or absolute path; else empty
  std::vector<std::string> ensemble;  // models as written; or else there is a reference
  float fusion_iou = 0.55f;           // of an ensemble's boxes
  std::vector<FallbackConfig> fallback;
  std::vector<CropsConfig> crops;
  std::optional<VisionLanguageConfig> vision_language;  // of that origin
  std::optional<float> confidence;
  NmsConfig nms;
  std::vector<std::string> labels;  // class names by id; empty = the package's
  std::optional<int> max_batch;
  std::vector<int64_t> preferred_batches = {};  // at most *max_batch; empty = any
  int64_t max_batch_delay_us = 5000;            // chosen: what nobody sees in a picture
  bool adaptive_batch_delay = true;
  int instances = 0;                      // 0 = one a core, or a device
  std::vector<std::string> devices = {};  // of the instances in turn, before `providers`
  std::optional<int> threads;             // of one instance; unset = 1
  std::string backend;                    // of kModelBackends; "" = by the file
  std::vector<std::string> providers;     // execution providers in order; empty = cpu
  ConfigLocation at;                      // of the entry, or of the camera's `model:`
  // A hash of what its files hold, in hex, by whoever opens them; no setting of the file. Empty: not
  // looked at, or built in.
  std::string content = {};
  // What ensemble, fallback and crops name, by that name; filled when the whole file is read. No cycles.
  std::map<std::string, std::shared_ptr<const ModelConfig>> parts = {};
};

// Calls visit(name, at) for every model that `model` names as a part.
template <typename Visit>
void ForEachPart(const ModelConfig& model, const Visit& visit) {
  for (const std::string& name : model.ensemble) visit(name, model.at);
  for (const FallbackConfig& fallback : model.fallback) visit(fallback.model, fallback.at);
  for (const CropsConfig& crops : model.crops) visit(crops.model, crops.at);
}

struct OutputConfig {
  std::string dir = "out";  // absolute once read from a file
  struct Sqlite {
    bool enabled = true;
    std::string path = "sightline.db";  // in dir unless absolute
  } sqlite;
  struct JsonLines {
    bool enabled = true;
    std::string path = "detections.jsonl";  // in dir unless absolute
  } jsonl;
  struct Video {
    bool enabled = true;
    int crf = 23;  // H.264 constant rate factor, lower is better and larger
  } video;
  struct Report {
    bool enabled = true;
  } report;
  bool trace = false;  // a W3C trace context for every frame
};

struct LimitsConfig {
  int threads = 0;           // inference threads over all models; 0 = one a core
  int frames_in_flight = 0;  // of one camera, the reorder window; 0 = by the model's instances
  uint64_t max_frames = 0;   // of one camera; 0 = all
  std::optional<int64_t> duration_us;  // stop the run after this wall time
};

struct MetricsConfig {
  std::string listen;                  // as base/listen_address.h reads it; empty: nowhere
  int64_t hang_after_us = 30'000'000;  // chosen: longer than any write that comes back
};

struct Config {
  int version = 1;
  std::string file;  // as given, for messages
  std::vector<CameraConfig> cameras;
  // The file's entries in order, then one for every builtin, package or file that a camera names
  // directly.
  std::vector<ModelConfig> models;
  size_t declared_models = 0;  // so many of `models` are the file's entries
  TrackerConfig tracker;
  OutputConfig outputs;
  LimitsConfig limits;
  MetricsConfig metrics;
};

// Hashes of what changes a camera's results, apart from each other so that records can say which
// part they depend on: detections on selection and model, tracks also on tracker, events also on
// rules. Names of files, threads, batches and outputs do not enter; the model's own identity (its
// weights) is DetectorInfo::identity.
struct ConfigIdentity {
  Hash128 selection;
  Hash128 model;  // thresholds, NMS, labels
  Hash128 tracker;
  Hash128 rules;  // coordinates, zones, lines
  bool operator==(const ConfigIdentity&) const = default;
};
ConfigIdentity IdentityOf(const Config& config, const CameraConfig& camera);

}  // namespace sightline
