// `sightline models add`: finds out what a model file is and keeps a copy as a package.
#pragma once

#include <CLI/CLI.hpp>

namespace sightline::cli {

void AddAddCommand(CLI::App& models, int& exit_code);

}  // namespace sightline::cli
