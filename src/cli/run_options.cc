#include "cli/run_options.h"

#include <cctype>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/json_text.h"
#include "base/listen_address.h"
#include "base/log.h"
#include "base/time.h"
#include "cli/checks.h"
#include "cli/model_settings.h"
#include "cli/sources.h"
#include "pipeline/config/parse.h"

namespace sightline::cli {
namespace {

// "/clips/Front door.mp4" -> "Front_door"; unique among `taken`.
std::string CameraIdOf(const std::string& source, std::set<std::string>* taken) {
  std::string id = std::filesystem::path(source).stem().string();
  for (char& c : id) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '-' && c != '.') c = '_';
  }
  while (!id.empty() && !std::isalnum(static_cast<unsigned char>(id.front()))) id.erase(0, 1);
  id = id.substr(0, 40);
  if (id.empty()) id = "camera";
  std::string unique = id;
  for (int n = 2; !taken->insert(unique).second; ++n) unique = id + "-" + std::to_string(n);
  return unique;
}

// JSON is YAML, so the command line goes through the same parser and the same checks as a file.
std::string ConfigTextOf(const RunOptions& options) {
  nlohmann::json cameras = nlohmann::json::array();
  std::set<std::string> ids;
  for (const std::string& source : options.sources) {
    nlohmann::json camera = {{"id", CameraIdOf(source, &ids)},
                             {"source", ShownSource(source)},
                             {"model", options.model.empty() ? "people" : options.model}};
    if (!options.start_time.empty()) camera["start_time"] = options.start_time;
    cameras.push_back(std::move(camera));
  }
  return JsonText(nlohmann::json{{"cameras", cameras}});
}

// The text of a configuration is UTF-8 without control characters; the name of a file need not be.
void PutBackOddNames(const RunOptions& options, Config& config) {
  for (size_t i = 0; i < options.sources.size() && i < config.cameras.size(); ++i) {
    const std::string& source = options.sources[i];
    if (ShownSource(source) == source || source.find("${") != std::string::npos) continue;
    CameraConfig& camera = config.cameras[i];
    camera.source = SecretText(std::filesystem::absolute(source).lexically_normal().string(),
                               camera.source.shown());
  }
}

absl::Status Refused(const RunOptions& options, const ParsedConfig& parsed) {
  std::string text = parsed.ErrorText();
  while (text.ends_with('\n')) text.pop_back();
  // Places within a generated text mean nothing to anyone.
  if (options.config.empty() && !parsed.errors.empty()) text = parsed.errors.front().message;
  return InvalidArgument("{}", text);
}

ParsedConfig Parsed(const RunOptions& options, const std::string* text) {
  if (options.config.empty()) return ParseConfig(ConfigTextOf(options), "command line");
  return text != nullptr ? ParseConfig(*text, options.config) : ReadConfig(options.config);
}

absl::StatusOr<Config> BaseConfig(const RunOptions& options, const std::string* config_text) {
  if (!options.config.empty() && !options.sources.empty()) {
    return InvalidArgument(
        "give a configuration file or --source, not both; a glob needs quotes: 'photos/*.jpg'");
  }
  if (options.config.empty() && options.sources.empty()) {
    return InvalidArgument("nothing to run: give a configuration file or --source FILE");
  }
  const ParsedConfig parsed = Parsed(options, config_text);
  for (const ConfigError& warning : parsed.warnings) Log().warn("{}", warning.message);
  if (parsed.config) {
    Config config = *parsed.config;
    PutBackOddNames(options, config);
    return config;
  }
  return Refused(options, parsed);
}

// The command line over the file.
absl::Status ApplyOptions(const RunOptions& options, Config& config) {
  if (!options.config.empty() && !options.model.empty()) {
    return InvalidArgument("--model goes with --source; in {} the cameras name their models",
                           options.config);
  }
  if (!options.out.empty())
    config.outputs.dir = std::filesystem::absolute(options.out).lexically_normal();
  if (options.no_video) config.outputs.video.enabled = false;
  if (options.no_report) config.outputs.report.enabled = false;
  if (!options.metrics.empty()) {
    SL_RETURN_IF_ERROR(WithContext(ParseListenAddress(options.metrics).status(), "--metrics"));
    config.metrics.listen = options.metrics;
  }
  if (!options.backend.empty()) {
    for (ModelConfig& model : config.models) model.backend = options.backend;
  }
  if (options.threads > 0) config.limits.threads = options.threads;
  if (options.max_frames > 0) config.limits.max_frames = options.max_frames;
  if (!options.duration.empty()) {
    SL_ASSIGN_OR_RETURN(config.limits.duration_us, ParseFor(options.duration));
  }
  for (CameraConfig& camera : config.cameras) {
    if (options.every > 0) camera.selection.every_nth = options.every;
    if (options.target_fps > 0) camera.selection.target_fps = options.target_fps;
    if (options.motion >= 0) {
      if (!camera.motion) camera.motion.emplace();
      camera.motion->changed_area = static_cast<float>(options.motion);
    }
  }
  if (options.confidence >= 0) {
    for (ModelConfig& model : config.models)
      model.confidence = static_cast<float>(options.confidence);
  }
  return absl::OkStatus();
}

}  // namespace

std::string ShownSource(const std::string& source) {
  auto shown = nlohmann::json::parse(JsonText(nlohmann::json(source))).get<std::string>();
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return shown;
}

void AddRunOptions(CLI::App& command, const std::shared_ptr<RunOptions>& options) {
  command
      .add_option("CONFIG", options->config, "configuration file (YAML); see docs/configuration.md")
      ->check(NotEmpty());
  command
      .add_option("--source", options->sources,
                  "video, picture, folder, glob or sim:// URL; may be repeated")
      // One a flag, so that a CONFIG after it is not taken for another source.
      ->allow_extra_args(false);
  command
      .add_option("--model", options->model,
                  "people, motion, faces, truth (sim:// only), a package of `sightline models "
                  "list`, or an ONNX, TensorFlow Lite or TorchScript file")
      ->check(NotEmpty());
  AddBackendOption(command, options->backend);
  command.add_option("--out", options->out, "folder for the results (default: out)")
      ->check(NotEmpty());
  command.add_option("--for", options->duration, "stop after this wall time: 30s, 5m")
      ->check(NotEmpty());
  command
      .add_option("--max-frames", options->max_frames,
                  "read at most this many selected frames of each source")
      ->check(WholeBetween(1, 1'000'000'000'000'000));
  command.add_option("--every", options->every, "process every n-th frame")
      ->check(CLI::Range(1, 100000));
  command
      .add_option("--fps", options->target_fps,
                  "process at most this many frames a second of stream time")
      ->check(Between(0.001, 1000));
  command
      .add_option("--motion", options->motion,
                  "process frames only while this fraction of the picture changes (0.15 is usual)")
      ->check(Between(0, 1));
  command.add_option("--confidence", options->confidence, "least confidence of a detection")
      ->check(Between(0, 1));
  command
      .add_option("--start-time", options->start_time,
                  "capture time of the first frame: 2026-01-31T12:00:00Z")
      ->check(NotEmpty());
  command
      .add_option(
          "--metrics", options->metrics,
          "serve /metrics, /healthz and /readyz on [ADDRESS:]PORT; a port alone is this machine's")
      ->check(NotEmpty());
  command.add_option("--threads", options->threads, "inference threads (default: one a core)")
      ->check(CLI::Range(1, 1024));
  command.add_flag("--no-video", options->no_video, "write no annotated video");
  command.add_flag("--no-report", options->no_report, "write no report picture");
  command.add_flag("--json", options->json, "a JSON summary as the last line of standard output");
  command.add_flag("--quiet", options->quiet, "no progress and no summary");
}

CLI::Option* AddBackendOption(CLI::App& command, std::string& backend) {
  return command
      .add_option("--backend", backend,
                  "what runs the model: onnxruntime, openvino, torchscript (default: as `models "
                  "tune` found, "
                  "else onnxruntime); TorchScript files are programs and want it said")
      ->check(CLI::IsMember(
          std::vector<std::string>(std::begin(kModelBackends), std::end(kModelBackends))));
}

absl::StatusOr<Config> ConfigOf(const RunOptions& options, const std::string* text) {
  SL_ASSIGN_OR_RETURN(Config config, BaseConfig(options, text));
  SL_RETURN_IF_ERROR(ApplyOptions(options, config));
  ApplyTuning(config);
  if (!options.check_sources) return config;
  ParsedConfig checked;
  checked.file = config.file;
  checked.errors = CheckSources(config);
  if (!checked.errors.empty()) return Refused(options, checked);
  return config;
}

}  // namespace sightline::cli
