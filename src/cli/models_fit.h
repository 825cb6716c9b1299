// `sightline models fit`: shows good pictures to a model that says what is unlike them.
#pragma once

#include <CLI/CLI.hpp>

namespace sightline::cli {

void AddFitCommand(CLI::App& models, int& exit_code);

}  // namespace sightline::cli
