// `sightline run`: the main job.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/redact.h"
#include "base/time.h"
#include "cli/commands.h"
#include "cli/composition.h"
#include "cli/engine_server.h"
#include "cli/model_files.h"
#include "cli/output_guard.h"
#include "cli/progress_line.h"
#include "cli/run_control.h"
#include "cli/run_options.h"
#include "cli/standard_output.h"
#include "cli/stop_signal.h"
#include "pipeline/config/parse.h"

namespace sightline::cli {
namespace {

nlohmann::json SummaryJson(const RunSummary& summary) {
  nlohmann::json cameras = nlohmann::json::array();
  for (const CameraSummary& camera : summary.cameras) {
    nlohmann::json skipped = nlohmann::json::object();
    nlohmann::json dropped = nlohmann::json::object();
    for (size_t i = 0; i < kSkipReasonNames.size(); ++i) {
      if (camera.counts.skipped[i] > 0)
        skipped[std::string(kSkipReasonNames[i])] = camera.counts.skipped[i];
    }
    for (size_t i = 0; i < kDropReasonNames.size(); ++i) {
      if (camera.counts.dropped[i] > 0)
        dropped[std::string(kDropReasonNames[i])] = camera.counts.dropped[i];
    }
    nlohmann::json line = {{"id", camera.id},
                           {"frames_in", camera.counts.frames_in},
                           {"processed", camera.counts.processed},
                           {"skipped", skipped},
                           {"dropped", dropped},
                           {"tracks", camera.tracks},
                           {"events", camera.events},
                           {"counts", camera.counts_by_class}};
    nlohmann::json rules = nlohmann::json::object();
    for (const auto& [rule, count] : camera.rule_counts) rules[rule] = count;
    if (!rules.empty()) line["rules"] = rules;
    if (!camera.status.ok())
      line["error"] = WithoutSecrets(MessageOf(camera.status));  // before JSON escapes it
    cameras.push_back(std::move(line));
  }
  return {{"cameras", cameras},
          {"wall_s", summary.wall_s},
          {"cpu_s", summary.cpu_s},
          {"stopped", summary.stopped}};
}

void PrintCamera(const CameraSummary& camera) {
  PrintOut("\n{}: {} frames read, {} processed", camera.id, camera.counts.frames_in,
           camera.counts.processed);
  for (size_t i = 0; i < kSkipReasonNames.size(); ++i) {
    if (camera.counts.skipped[i] > 0) {
      PrintOut(", {} skipped ({})", camera.counts.skipped[i], kSkipReasonNames[i]);
    }
  }
  for (size_t i = 0; i < kDropReasonNames.size(); ++i) {
    if (camera.counts.dropped[i] > 0) {
      PrintOut(", {} dropped ({})", camera.counts.dropped[i], kDropReasonNames[i]);
    }
  }
  PrintOut("\n");
  std::vector<std::string> found;
  for (const auto& [name, count] : camera.counts_by_class)
    found.push_back(fmt::format("{} {}", count, name));
  PrintOut("  found   {}\n",
           found.empty() ? "nothing that was tracked" : fmt::format("{}", fmt::join(found, ", ")));
  for (const auto& [rule, count] : camera.rule_counts) PrintOut("  {:<7} {}\n", count, rule);
  if (!camera.status.ok()) PrintOut("  failed  {}\n", MessageOf(camera.status));
}

// Every camera's failure in a line of its own; `status` is the run's.
int ReportRun(const absl::Status& status, const RunSummary& summary) {
  int exit_code = ReportFailure(status);
  for (const CameraSummary& camera : summary.cameras) {
    const absl::Status failure = WithContext(camera.status, "camera " + camera.id);
    if (failure != status) exit_code = std::max(exit_code, ReportFailure(failure));
  }
  return exit_code;
}

void PrintSummary(const RunSummary& summary, const Config& config, const std::string& only_camera) {
  for (const CameraSummary& camera : summary.cameras) PrintCamera(camera);
  const OutputPaths paths = PathsOf(config, only_camera);
  PrintOut("\n");
  const auto line = [](const char* what, const std::string& path) {
    if (!path.empty() && std::filesystem::exists(path)) PrintOut("  {:<9} {}\n", what, path);
  };
  for (const auto& [camera, path] : paths.reports) line("report", path);
  for (const auto& [camera, path] : paths.videos) line("video", path);
  line("database", paths.database);
  line("lines", paths.json_lines);
  PrintOut("{:.1f} s wall, {:.1f} s CPU{}\n", summary.wall_s, summary.cpu_s,
           summary.stopped ? "; stopped before the end" : "");
}

int Run(const RunOptions& options) {
  absl::StatusOr<Config> config = ConfigOf(options);
  if (!config.ok()) return Report(config.status());
  if (const absl::Status guarded = CheckOutputFiles(*config, options.config, OnlyCameraOf(*config));
      !guarded.ok()) {
    return Report(guarded);
  }
  LookAtModels(nullptr, *config);  // what `apply` compares with, so before they are opened
  absl::StatusOr<std::unique_ptr<EngineServer>> started = EngineServer::Start(config->metrics);
  if (!started.ok()) return Report(started.status());
  const std::unique_ptr<EngineServer> server = *std::move(started);
  if (server) TellUser("info", "metrics at " + server->metrics_url());
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Create(*config, MakeFactories(*config));
  if (!engine.ok()) return Report(engine.status());
  const ShownEngine shown(server.get(), engine->get());

  RunSummary summary;
  absl::Status status;
  {
    const std::unique_ptr<RunControl> control =
        RunControl::Start(**engine, options, config->outputs.dir);
    StopSignal::Requests requests{.stop = [&] { (*engine)->RequestStop(); },
                                  .retry = [&] { control->AskForRetry(); }};
    if (!options.config.empty()) requests.reload = [&] { control->AskForReload(); };
    const StopSignal signals(std::move(requests));
    ProgressLine progress(options.quiet || options.json);
    status = (*engine)->Run([&](const RunProgress& now) { progress.Draw(now); }, &summary);
  }
  if (options.json) {
    PrintOut("{}\n", JsonText(SummaryJson(summary)));
  } else if (!options.quiet) {
    PrintSummary(summary, *(*engine)->config(), OnlyCameraOf(*config));
  }
  std::fflush(stdout);
  return ReportRun(status, summary);
}

}  // namespace

void AddRunCommand(CLI::App& app, int& exit_code) {
  CLI::App* run = app.add_subcommand(
      "run", "Detect, track and count in videos, by a configuration or from the command line");
  auto options = std::make_shared<RunOptions>();
  AddRunOptions(*run, options);
  run->footer(
      "Examples:\n"
      "  sightline run --source street.mp4                       people, into ./out\n"
      "  sightline run --source street.mp4 --model yolox.onnx --out results --no-video\n"
      "  sightline run shop.yaml --json | tail -1                 cameras, zones and lines from a "
      "file\n"
      "  sightline run --source 'photos/*.jpg' --every 2 --json\n"
      "Ctrl-C ends a run cleanly: frames that were read are finished and written.\n"
      "`sightline apply CONFIG` changes a run that is under way; so does SIGHUP, which has it read "
      "its\n"
      "file again. SIGUSR1 (or `sightline retry`) has cameras that are away tried at once.\n"
      "What the files hold: docs/output_formats.md. All keys: docs/configuration.md.");
  run->callback([options, &exit_code] { exit_code = Run(*options); });
}

void AddExplainCommand(CLI::App& app, int& exit_code) {
  CLI::App* explain = app.add_subcommand(
      "explain", "Print the graph that a run would build: shapes, queues, threads");
  auto options = std::make_shared<RunOptions>();
  AddRunOptions(*explain, options);
  explain->callback([options, &exit_code] {
    absl::StatusOr<Config> config = ConfigOf(*options);
    const absl::Status guarded =
        config.ok() ? CheckOutputFiles(*config, options->config, OnlyCameraOf(*config))
                    : config.status();
    if (!guarded.ok()) {
      exit_code = Report(guarded);
      return;
    }
    absl::StatusOr<std::unique_ptr<Engine>> engine =
        Engine::Create(*config, MakeDryFactories(*config));
    exit_code = Report(engine.status());
    if (engine.ok()) {
      const std::string text = options->json ? (*engine)->ExplainJson() : (*engine)->Explain();
      Write(text);
      if (options->json) Write("\n");
    }
  });
}

}  // namespace sightline::cli
