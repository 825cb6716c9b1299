// A first look at model files that were never added, in a process of its own: this program begun anew
// with a command that only it knows. Cost: the start of the program and of the runtime, once a file.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/status.h"
#include "detect/detector_factory.h"
#include "types/model_spec.h"

namespace sightline::cli {

// How the children of this program are told to log: as it does itself. Once, before any other thread.
void LogInChildrenAs(const std::string& level, const std::string& format);

// For detectors of that backend; empty: the one that the file needs. Errors: DescribeModelFile()'s;
// DataLoss when the runtime does not survive the file; Cancelled when a signal ended the trial.
ModelTrial TrialWith(const std::string& backend);

// What a model file is, with a trial first. Errors: DescribeModelFile()'s.
absl::StatusOr<ModelSpec> SpecOfFile(const std::string& file, const std::string& backend = {});

// The same for a file that is served as it is: opened, and run once where its shapes are known, on the
// CPU. DataLoss when the child died of it; else what the runtime says. Nothing is kept: each load of a
// file is tried.
absl::Status TryServing(const std::string& backend, const std::string& file);

// The commands that the trials begin; not shown.
void AddTryCommand(CLI::App& models, int& exit_code);

}  // namespace sightline::cli
