#pragma once

#include <CLI/CLI.hpp>

namespace sightline::cli {

// `sightline serve`; as commands.h has it.
void AddServeCommand(CLI::App& app, int& exit_code);
// `sightline keys`.
void AddKeysCommand(CLI::App& app, int& exit_code);

}  // namespace sightline::cli
