// sightline sim serve: simulated cameras as real RTSP streams.
#pragma once

#include <CLI/CLI.hpp>

namespace sightline::cli {

void AddSimServe(CLI::App& sim, int& exit_code);

}  // namespace sightline::cli
