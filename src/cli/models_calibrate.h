// `sightline models calibrate`: see commands.h for what such functions do.
#pragma once

#include <CLI/CLI.hpp>

namespace sightline::cli {

// Adds `calibrate` to the command `models`.
void AddCalibrateCommand(CLI::App& models, int& exit_code);

}  // namespace sightline::cli
