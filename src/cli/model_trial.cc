#include "cli/model_trial.h"

#include <fmt/format.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/child_call.h"
#include "cli/backends.h"
#include "cli/commands.h"
#include "serve/inference/served_model.h"

namespace sightline::cli {
namespace {

constexpr const char* kCommand = "try-alone";
constexpr ChildLimits kLimits;
constexpr const char* kServingCommand = "try-serving-alone";

std::vector<std::string>& LogArguments() {
  static std::vector<std::string> arguments;
  return arguments;
}

BackendSource SourceOf(const std::string& backend, const std::string& file) {
  return [=] { return BackendFor(backend, file); };
}

absl::Status TryIn(const char* command, const std::string& backend, const std::string& file) {
  std::vector<std::string> arguments = LogArguments();
  arguments.insert(arguments.end(), {"models", command, "--backend", backend, "--", file});
  const ChildAnswer alone = CallThisProgram(arguments, kLimits);
  const auto limited = [&] {
    return fmt::format("{} (it was tried with at most {} GiB of memory)", MessageOf(alone.status),
                       kLimits.memory_bytes >> 30);
  };
  if (!alone.died) return alone.status;
  if (absl::IsCancelled(alone.status)) return Cancelled("{}: its trial was stopped", file);
  return DataLoss(
      "{}: the runtime does not survive it: {}", file,
      absl::IsDeadlineExceeded(alone.status) ? std::string(MessageOf(alone.status)) : limited());
}

absl::Status OpenForServing(const std::string& backend, const std::string& file) {
  SL_ASSIGN_OR_RETURN(InferenceBackend* const runtime, BackendFor(backend, file));
  serve::ModelVersionOptions options;
  options.name = "trial";
  options.version = "1";
  options.file = file;
  options.settings.instances = 1;
  return serve::ServedModel::Open(options, *runtime).status();
}

using TryAlone = absl::Status (*)(const std::string& backend, const std::string& file);

void AddAlone(CLI::App& models, const char* command, TryAlone attempt, int& exit_code) {
  struct Options {
    std::string file, backend;
  };
  auto options = std::make_shared<Options>();
  CLI::App* alone = models.add_subcommand(command, "Try a file for another process");
  alone->group("");  // not shown
  alone->add_option("--backend", options->backend);
  alone->add_option("FILE", options->file)->required();
  alone->callback([options, attempt, &exit_code] {
    const absl::Status status = attempt(options->backend, options->file);
    AnswerParent(status);
    exit_code = Report(status);
  });
}

}  // namespace

void LogInChildrenAs(const std::string& level, const std::string& format) {
  LogArguments() = {"--log-level", level, "--log-format", format};
}

ModelTrial TrialWith(const std::string& backend) {
  return [backend](const std::string& file) { return TryIn(kCommand, backend, file); };
}

absl::Status TryServing(const std::string& backend, const std::string& file) {
  return TryIn(kServingCommand, backend, file);
}

absl::StatusOr<ModelSpec> SpecOfFile(const std::string& file, const std::string& backend) {
  return DescribeModelFile(file, SourceOf(backend, file), TrialWith(backend));
}

void AddTryCommand(CLI::App& models, int& exit_code) {
  AddAlone(
      models, kCommand,
      [](const std::string& backend, const std::string& file) {
        return DescribeModelFile(file, SourceOf(backend, file)).status();
      },
      exit_code);
  AddAlone(models, kServingCommand, &OpenForServing, exit_code);
}

}  // namespace sightline::cli
