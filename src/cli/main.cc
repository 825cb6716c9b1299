// The program: parses the command line and runs one command. See commands.h for the exit codes.
#include <malloc.h>

#include <algorithm>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <thread>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/model_trial.h"
#include "cli/serve_command.h"
#include "cli/sources.h"
#include "cli/standard_output.h"
#include "cli/usage_error.h"

int main(int argc, char** argv) {
  using namespace sightline;
  std::setlocale(LC_NUMERIC, "C");
  // A reader that went away (sightline ... | head) is an error of write(), not a silent death that
  // leaves the database without its last commit.
  std::signal(SIGPIPE, SIG_IGN);
  // The same for a file that reaches the size limit (ulimit -f): write() then says EFBIG.
  std::signal(SIGXFSZ, SIG_IGN);

  // Cameras that come and go are threads that come and go. With glibc's eight arenas a core each of them
  // finds another one and leaves holes in it; nothing that is hot allocates, so few arenas cost nothing.
  mallopt(M_ARENA_MAX, static_cast<int>(std::max(2u, std::thread::hardware_concurrency())));

  CLI::App app{
      "Sightline: cameras, files and pictures in; objects, tracks, events, rows and pictures out.",
      "sightline"};
  app.set_version_flag("--version", "sightline " SIGHTLINE_VERSION);
  app.require_subcommand(1);
  app.failure_message(cli::UsageError);
  app.footer(
      "Begin with:\n"
      "  sightline run --source video.mp4            people found, tracked and counted\n"
      "  sightline detect --model people photo.jpg --out drawn/\n"
      "  sightline models add model.onnx             a neural model, then --model NAME\n"
      "  sightline doctor                            what this machine can do\n"
      "Each command explains itself: sightline run --help\n"
      "Exit codes: 0 ok, 1 failed, 2 usage or configuration error.");
  std::string log_level = "warning";
  app.add_option("--log-level", log_level, "debug, info, warning, error or off")
      ->capture_default_str()
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}));
  std::string log_format = "text";
  app.add_option("--log-format", log_format, "text, or json: an object a line")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "json"}));
  app.parse_complete_callback([&] {
    SetUpLog(log_level, log_format == "json" ? LogFormat::kJson : LogFormat::kText);
    cli::LogInChildrenAs(log_level, log_format);
  });

  cli::RegisterSources();
  int exit_code = 0;
  cli::AddRunCommand(app, exit_code);
  cli::AddCheckCommand(app, exit_code);
  cli::AddExplainCommand(app, exit_code);
  cli::AddApplyCommand(app, exit_code);
  cli::AddSchemaCommand(app, exit_code);
  cli::AddDoctorCommand(app, exit_code);
  cli::AddDetectCommand(app, exit_code);
  cli::AddTrackCommand(app, exit_code);
  cli::AddModelsCommand(app, exit_code);
  cli::AddBenchCommand(app, exit_code);
  cli::AddSimCommand(app, exit_code);
  cli::AddEvalCommand(app, exit_code);
  cli::AddCacheCommand(app, exit_code);
  cli::AddServeCommand(app, exit_code);
  cli::AddKeysCommand(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // 0 for --help and --version; every mistake on the command line is 2.
    return cli::FinishOutput(app.exit(error) == 0 ? 0 : 2);
  } catch (const std::bad_alloc&) {
    exit_code = cli::Report(ResourceExhausted("out of memory: fewer --threads need less of it"));
  } catch (const std::exception& error) {
    // A bug of ours: errors are values. It ends in a sentence all the same.
    exit_code = cli::Report(Internal("unexpected error: {}", error.what()));
  }
  return cli::FinishOutput(exit_code);
}
