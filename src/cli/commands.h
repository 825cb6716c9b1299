// The program's commands, one file each. Each function adds its subcommand to `app`; when the user
// chose it, its callback runs and stores the exit code: 0 ok, 1 failed, 2 usage or configuration
// error. Results go to standard output, words to people to standard error.
#pragma once

#include <CLI/CLI.hpp>

#include "base/status.h"

namespace sightline::cli {

// Prints "sightline: <message>" to standard error and gives the exit code of the status: 0 OK,
// 2 InvalidArgument, 1 anything else.
int Report(const absl::Status& status);
// The same, but every error is a failure (1): for files that are not what they should be.
int ReportFailure(const absl::Status& status);

void AddRunCommand(CLI::App& app, int& exit_code);
void AddDetectCommand(CLI::App& app, int& exit_code);
void AddTrackCommand(CLI::App& app, int& exit_code);
// `sightline models check`, under `models`.
void AddModelsCheckCommand(CLI::App& models, int& exit_code);
void AddModelsCommand(CLI::App& app, int& exit_code);
void AddCheckCommand(CLI::App& app, int& exit_code);
void AddExplainCommand(CLI::App& app, int& exit_code);
void AddSchemaCommand(CLI::App& app, int& exit_code);
void AddBenchCommand(CLI::App& app, int& exit_code);
void AddDoctorCommand(CLI::App& app, int& exit_code);
// apply, diff and retry.
void AddApplyCommand(CLI::App& app, int& exit_code);
void AddSimCommand(CLI::App& app, int& exit_code);
void AddEvalCommand(CLI::App& app, int& exit_code);
void AddCacheCommand(CLI::App& app, int& exit_code);

}  // namespace sightline::cli
