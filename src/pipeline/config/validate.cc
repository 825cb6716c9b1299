#include "pipeline/config/validate.h"

#include <fmt/format.h>
#include <glob.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "base/listen_address.h"
#include "base/nearest_word.h"
#include "pipeline/config/document.h"
#include "pipeline/config/fields.h"
#include "pipeline/config/secrets.h"

namespace sightline::config {
namespace {

constexpr float kMaxPixel = 32768;  // chosen: twice the largest sensor in use

double Cross(PointF o, PointF a, PointF b) {
  return (static_cast<double>(a.x) - o.x) * (static_cast<double>(b.y) - o.y) -
         (static_cast<double>(a.y) - o.y) * (static_cast<double>(b.x) - o.x);
}
bool WithinBounds(PointF a, PointF b, PointF p) {
  return std::min(a.x, b.x) <= p.x && p.x <= std::max(a.x, b.x) && std::min(a.y, b.y) <= p.y &&
         p.y <= std::max(a.y, b.y);
}
int Sign(double value) { return value > 0 ? 1 : value < 0 ? -1 : 0; }

// Whether the closed segments ab and cd have a point in common.
bool SegmentsMeet(PointF a, PointF b, PointF c, PointF d) {
  const int side_c = Sign(Cross(a, b, c));
  const int side_d = Sign(Cross(a, b, d));
  const int side_a = Sign(Cross(c, d, a));
  const int side_b = Sign(Cross(c, d, b));
  if (side_c * side_d < 0 && side_a * side_b < 0) return true;
  return (side_c == 0 && WithinBounds(a, b, c)) || (side_d == 0 && WithinBounds(a, b, d)) ||
         (side_a == 0 && WithinBounds(c, d, a)) || (side_b == 0 && WithinBounds(c, d, b));
}

class Validator {
 public:
  Validator(const Config& config, const LocationMap& locations, const ParseOptions& options,
            Findings& findings)
      : config_(config), locations_(locations), options_(options), findings_(findings) {}

  void Run() {
    CheckNamesOfModels();
    CheckTracker(config_.tracker, "tracker");
    CheckOutputs(config_.outputs);
    CheckMetrics(config_.metrics);
    std::map<std::string_view, size_t> ids;
    for (size_t i = 0; i < config_.cameras.size(); ++i) {
      const CameraConfig& camera = config_.cameras[i];
      const std::string path = fmt::format("cameras[{}]", i);
      if (!camera.id.empty()) {
        const auto [first, fresh] = ids.try_emplace(camera.id, i);
        if (!fresh) {
          Fail(path + ".id", fmt::format("two cameras have the id {}; the first is in line {}",
                                         Quote(camera.id), config_.cameras[first->second].at.line));
        }
      }
      CheckCamera(camera, path);
    }
  }

 private:
  void CheckMetrics(const MetricsConfig& metrics) {
    if (metrics.listen.empty()) return;
    const absl::Status read = ParseListenAddress(metrics.listen).status();
    if (!read.ok()) Fail("metrics.listen", std::string(MessageOf(read)));
  }
  ConfigLocation At(std::string_view path) const {
    // A value that is not in the file itself (a default) is blamed on what it stands in.
    while (true) {
      const auto it = locations_.find(path);
      if (it != locations_.end()) return it->second;
      const size_t cut = path.find_last_of(".[");
      if (cut == std::string_view::npos) return {};
      path = path.substr(0, cut);
    }
  }
  void Fail(const std::string& path, const std::string& message) {
    findings_.errors.push_back({At(path), fmt::format("{}: {}", path, message)});
  }
  void Warn(const std::string& path, const std::string& message) {
    findings_.warnings.push_back({At(path), fmt::format("{}: {}", path, message)});
  }

  void CheckNamesOfModels() {
    std::map<std::string_view, size_t> names;
    for (size_t i = 0; i < config_.models.size(); ++i) {
      const ModelConfig& model = config_.models[i];
      const std::string path = fmt::format("models[{}]", i);
      if (model.name.empty()) continue;
      const auto [first, fresh] = names.try_emplace(model.name, i);
      if (!fresh) {
        Fail(path + ".name", fmt::format("two models have the name {}; the first is in line {}",
                                         Quote(model.name), config_.models[first->second].at.line));
        continue;
      }
      if (!IsUsed(model.name)) {
        Warn(path, fmt::format("no camera uses the model {}", Quote(model.name)));
      }
      CheckModelFile(model, path + ".file");
      CheckGraph(model, path);
      CheckVisionLanguage(model, path);
      CheckUnheeded(model, path);
      CheckBatch(model, path + ".batch");
    }
  }

  bool IsUsed(const std::string& name) const {
    const auto is_part = [&](const ModelConfig& model) {
      bool found = false;
      ForEachPart(model, [&](const std::string& part, ConfigLocation) { found |= part == name; });
      return found;
    };
    return std::any_of(config_.cameras.begin(), config_.cameras.end(),
                       [&](const auto& camera) { return camera.model == name; }) ||
           std::any_of(config_.models.begin(), config_.models.end(), is_part);
  }

  // Keys that a model of that kind does not heed: silence would be taken for consent.
  void CheckUnheeded(const ModelConfig& model, const std::string& path) {
    if (model.ensemble.empty() && !model.vision_language) {
      if (model.fusion_iou != ModelConfig().fusion_iou) {
        Fail(path + ".fusion_iou", "it has no meaning without `ensemble`");
      }
      return;
    }
    const std::pair<const char*, bool> keys[] = {
        {"confidence", model.confidence.has_value()},
        {"nms", !(model.nms == NmsConfig())},
        {"labels", !model.ensemble.empty() && !model.labels.empty()},
        {"threads", model.threads.has_value()},
        {"backend", !model.backend.empty()},
        {"providers", !model.providers.empty()},
        {"devices", !model.devices.empty()},
    };
    for (const auto& [key, is_there] : keys) {
      if (!is_there) continue;
      Fail(path + "." + key, model.vision_language
                                 ? "it has no meaning with `vision_language`"
                                 : "it has no meaning with `ensemble`; give it to the members");
    }
  }

  void CheckVisionLanguage(const ModelConfig& model, const std::string& path) {
    if (!model.vision_language) return;
    if (model.labels.empty()) {
      Fail(path + ".vision_language",
           "the model needs `labels`: the answers that it may give, such as labels: [fire, fog]");
    }
    const std::string& endpoint = model.vision_language->endpoint;
    if (!endpoint.starts_with("http://") && !endpoint.starts_with("https://")) {
      Fail(path + ".vision_language.endpoint",
           fmt::format("{} is no address that begins with http:// or https://",
                       Quote(MaskSecrets(endpoint))));
    } else if (endpoint.find_first_of("@?#") != std::string::npos) {
      Fail(path + ".vision_language.endpoint",
           "an address without user, password and query is wanted; what is secret goes into `key`");
    }
  }

  void CheckGraph(const ModelConfig& model, const std::string& path) {
    std::set<std::string_view> members;
    for (size_t i = 0; i < model.ensemble.size(); ++i) {
      if (members.insert(model.ensemble[i]).second) continue;
      Fail(fmt::format("{}.ensemble[{}]", path, i),
           fmt::format("{} is there already", Quote(model.ensemble[i])));
    }
    for (size_t i = 0; i < model.fallback.size(); ++i) {
      const FallbackConfig& fallback = model.fallback[i];
      if (fallback.from < fallback.below) continue;
      Fail(fmt::format("{}.fallback[{}].from", path, i),
           fmt::format("{:g} is not below `below`, {:g}: the model would never be asked",
                       fallback.from, fallback.below));
    }
    std::set<std::string_view> names;
    for (size_t i = 0; i < model.crops.size(); ++i) {
      CheckClasses(model, model.crops[i].classes, fmt::format("{}.crops[{}]", path, i));
      if (model.crops[i].name.empty() || names.insert(model.crops[i].name).second) continue;
      Fail(fmt::format("{}.crops[{}].name", path, i),
           fmt::format("two crops of the model have the name {}", Quote(model.crops[i].name)));
    }
  }

  void CheckBatch(const ModelConfig& model, const std::string& path) {
    for (size_t i = 0; i < model.preferred_batches.size(); ++i) {
      const int64_t size = model.preferred_batches[i];
      if (!model.max_batch) return Fail(path + ".preferred", "batch.max is needed as well");
      if (size <= *model.max_batch) continue;
      Fail(fmt::format("{}.preferred[{}]", path, i),
           fmt::format("{} is more than batch.max, which is {}", size, *model.max_batch));
    }
  }

  void CheckModelFile(const ModelConfig& model, const std::string& path) {
    if (!options_.check_files || model.origin != ModelOrigin::kFile || model.reference.empty()) {
      return;
    }
    std::error_code error;
    if (!std::filesystem::exists(model.reference, error)) {
      Fail(path, fmt::format("no model file {}", Quote(model.reference)));
    }
  }

  void CheckTracker(const TrackerConfig& tracker, const std::string& path) {
    if (tracker.low_thresh > tracker.track_thresh) {
      Fail(path + ".low_thresh",
           fmt::format(
               "{} is above track_thresh ({}); detections between the two are matched second",
               tracker.low_thresh, tracker.track_thresh));
    }
    if (tracker.reference_quirks && tracker.max_lost_us) {
      Fail(path + ".max_lost",
           "the reference counts frames; with reference_quirks use track_buffer");
    }
    if (tracker.new_track_thresh && *tracker.new_track_thresh < tracker.track_thresh) {
      Warn(path + ".new_track_thresh",
           fmt::format("{} is below track_thresh ({}), from which on detections can start tracks",
                       *tracker.new_track_thresh, tracker.track_thresh));
    }
  }

  void CheckOutputs(const OutputConfig& outputs) {
    const auto file = [&](const std::string& path) {
      return (std::filesystem::path(outputs.dir) / path).lexically_normal();
    };
    if (outputs.sqlite.enabled && outputs.jsonl.enabled &&
        file(outputs.sqlite.path) == file(outputs.jsonl.path)) {
      Fail("outputs.jsonl.path",
           fmt::format("database and JSON lines would both be {}", Quote(outputs.jsonl.path)));
    }
  }

  void CheckCamera(const CameraConfig& camera, const std::string& path) {
    if (locations_.count(path + ".tracker") != 0) CheckTracker(camera.tracker, path + ".tracker");
    CheckSource(camera, path);
    std::set<std::string_view> names;
    for (size_t i = 0; i < camera.zones.size(); ++i) {
      const ZoneConfig& zone = camera.zones[i];
      const std::string zone_path = fmt::format("{}.zones[{}]", path, i);
      CheckName(zone.name, zone_path, names);
      CheckMargin(camera, zone.margin, zone_path);
      CheckClasses(camera, zone.classes, zone_path);
      CheckPolygon(camera, zone, zone_path);
    }
    for (size_t i = 0; i < camera.lines.size(); ++i) {
      const LineConfig& line = camera.lines[i];
      const std::string line_path = fmt::format("{}.lines[{}]", path, i);
      CheckName(line.name, line_path, names);
      CheckMargin(camera, line.margin, line_path);
      CheckClasses(camera, line.classes, line_path);
      CheckLine(camera, line, line_path);
    }
    if (camera.tracker.kind == TrackerType::kNone &&
        !(camera.zones.empty() && camera.lines.empty())) {
      Fail(path, "has zones or lines, which need tracks, but tracker type none");
    }
  }

  void CheckName(std::string_view name, const std::string& path,
                 std::set<std::string_view>& names) {
    if (!name.empty() && !names.insert(name).second) {
      Fail(path + ".name",
           fmt::format("the camera has two zones or lines of the name {}", Quote(name)));
    }
  }

  void CheckMargin(const CameraConfig& camera, std::optional<float> margin,
                   const std::string& path) {
    if (camera.coordinates == Coordinates::kFraction && margin.value_or(0) > 1) {
      Fail(path + ".margin",
           fmt::format("{} is no fraction of the picture's height (0 to 1)", *margin));
    }
  }

  void CheckClasses(const CameraConfig& camera, const std::vector<std::string>& classes,
                    const std::string& path) {
    const auto model = std::find_if(config_.models.begin(), config_.models.end(),
                                    [&](const auto& m) { return m.name == camera.model; });
    if (model != config_.models.end()) CheckClasses(*model, classes, path);
  }

  // Against the model's labels, where the file gives them; otherwise once the model is open.
  void CheckClasses(const ModelConfig& model, const std::vector<std::string>& classes,
                    const std::string& path) {
    if (model.labels.empty() || !model.fallback.empty()) return;
    const std::vector<std::string_view> known(model.labels.begin(), model.labels.end());
    for (size_t i = 0; i < classes.size(); ++i) {
      if (std::find(known.begin(), known.end(), classes[i]) != known.end()) continue;
      const std::string near = NearestWord(classes[i], known);
      Fail(fmt::format("{}.classes[{}]", path, i),
           fmt::format("the model {} has no class {}{}", Quote(model.name), Quote(classes[i]),
                       near.empty() ? "" : fmt::format("; did you mean {}?", Quote(near))));
    }
  }

  // True when the point is in bounds.
  bool CheckPoint(const CameraConfig& camera, PointF point, const std::string& path) {
    const bool fraction = camera.coordinates == Coordinates::kFraction;
    const float max = fraction ? 1 : kMaxPixel;
    if (camera.coordinates == Coordinates::kUnset) return false;
    if (point.x >= 0 && point.x <= max && point.y >= 0 && point.y <= max) return true;
    Fail(path,
         fraction
             ? fmt::format(
                   "[{}, {}] is outside of the picture; fractions go from 0 to 1{}", point.x,
                   point.y,
                   std::max(point.x, point.y) > 2 ? ", or are these \"coordinates: pixels\"?" : "")
             : fmt::format("[{}, {}] is no place in a picture; pixels go from 0 to {}", point.x,
                           point.y, kMaxPixel));
    return false;
  }

  void CheckPolygon(const CameraConfig& camera, const ZoneConfig& zone, const std::string& path) {
    if (zone.polygon.size() < 3) return;
    const std::string polygon_path = path + ".polygon";
    bool good = true;
    for (size_t i = 0; i < zone.polygon.size(); ++i) {
      good = CheckPoint(camera, zone.polygon[i], fmt::format("{}[{}]", polygon_path, i)) && good;
    }
    if (!good) return;
    if (const auto fault = FindPolygonFault(zone.polygon)) {
      Fail(fmt::format("{}[{}]", polygon_path, fault->point), fault->message);
    }
    WarnOfTinyPixels(camera, zone.polygon, polygon_path);
  }

  void CheckLine(const CameraConfig& camera, const LineConfig& line, const std::string& path) {
    const bool has_both =
        locations_.count(path + ".from") != 0 && locations_.count(path + ".to") != 0;
    if (!has_both) return;
    const bool from = CheckPoint(camera, line.from, path + ".from");
    const bool to = CheckPoint(camera, line.to, path + ".to");
    if (!from || !to) return;
    if (line.from == line.to) Fail(path + ".to", "is the same point as from; a line needs two");
    if (line.forward == line.backward) {
      Fail(path + ".directions", fmt::format("both directions are called {}", Quote(line.forward)));
    }
    WarnOfTinyPixels(camera, {line.from, line.to}, path);
  }

  void WarnOfTinyPixels(const CameraConfig& camera, const std::vector<PointF>& points,
                        const std::string& path) {
    const bool tiny =
        std::all_of(points.begin(), points.end(), [](PointF p) { return p.x <= 1 && p.y <= 1; });
    if (camera.coordinates == Coordinates::kPixels && tiny) {
      Warn(path, "everything is within one pixel; are these \"coordinates: fraction\"?");
    }
  }

  void CheckSource(const CameraConfig& camera, const std::string& path) {
    if (camera.source.empty()) return;
    const std::string source_path = path + ".source";
    if (camera.source_is_url) {
      static constexpr std::string_view kSchemes[] = {"rtsp",  "rtsps", "http", "https", "rtmp",
                                                      "rtmps", "srt",   "udp",  "rtp",   "tcp",
                                                      "file",  "s3",    "sim"};
      const std::string& shown = camera.source.shown();
      const std::string scheme = shown.substr(0, shown.find("://"));
      if (std::find(std::begin(kSchemes), std::end(kSchemes), scheme) == std::end(kSchemes)) {
        const std::string near = NearestWord(scheme, kSchemes);
        if (!near.empty()) {
          Warn(source_path,
               fmt::format("no common URL starts with {}://; did you mean {}://?", scheme, near));
        }
      }
      return;
    }
    if (!options_.check_files) return;
    const std::string& file = camera.source.Reveal();
    std::error_code error;
    if (std::filesystem::exists(file, error)) return;
    const bool is_glob = file.find_first_of("*?[") != std::string::npos;
    if (is_glob) {
      glob_t found{};
      const int result = glob(file.c_str(), GLOB_NOSORT, nullptr, &found);
      globfree(&found);
      if (result == 0) return;
    }
    Fail(source_path, fmt::format("camera {}: {} {}", Quote(camera.id),
                                  is_glob ? "no file matches" : "no such file or folder:",
                                  Quote(camera.source.shown())));
  }

  const Config& config_;
  const LocationMap& locations_;
  const ParseOptions& options_;
  Findings& findings_;
};

}  // namespace

std::optional<PolygonFault> FindPolygonFault(const std::vector<PointF>& polygon) {
  const size_t n = polygon.size();
  double doubled_area = 0;
  for (size_t i = 0; i < n; ++i) {
    const PointF a = polygon[i];
    const PointF b = polygon[(i + 1) % n];
    if (a == b) {
      const bool closing = i + 1 == n;
      return PolygonFault{closing ? i : i + 1,
                          closing
                              ? "repeats the first point; leave it out, the polygon is closed by "
                                "itself"
                              : "repeats the point before it"};
    }
    doubled_area += static_cast<double>(a.x) * b.y - static_cast<double>(b.x) * a.y;
  }
  for (size_t i = 0; i < n; ++i) {
    const PointF a = polygon[i];
    const PointF b = polygon[(i + 1) % n];
    const PointF c = polygon[(i + 2) % n];
    // Neighbours share b; they may not also run back over each other.
    const double along = (static_cast<double>(a.x) - b.x) * (static_cast<double>(c.x) - b.x) +
                         (static_cast<double>(a.y) - b.y) * (static_cast<double>(c.y) - b.y);
    if (Cross(a, b, c) == 0 && along > 0) {
      return PolygonFault{(i + 2) % n, "the edge to this point runs back over the edge before it"};
    }
    for (size_t k = i + 2; k < n; ++k) {
      if (i == 0 && k + 1 == n) continue;  // neighbours around the end
      if (SegmentsMeet(a, b, polygon[k], polygon[(k + 1) % n])) {
        return PolygonFault{k, fmt::format("the edge from this point meets the edge from point {}; "
                                           "edges may not cross (are the corners in order?)",
                                           i)};
      }
    }
  }
  if (std::abs(doubled_area) == 0) return PolygonFault{0, "the polygon has no area"};
  return std::nullopt;
}

void Validate(const Config& config, const LocationMap& locations, const ParseOptions& options,
              Findings& findings) {
  Validator(config, locations, options, findings).Run();
}

}  // namespace sightline::config
