// `sightline models tune`.
#pragma once

#include <CLI/CLI.hpp>

namespace sightline::cli {

void AddModelsTuneCommand(CLI::App& models, int& exit_code);

}  // namespace sightline::cli
