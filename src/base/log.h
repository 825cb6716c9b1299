// The process's log: one spdlog logger to standard error, set up once by the program.
//
// Standard output belongs to results; everything said to people about the work goes here or to
// the progress line. Threads: safe. Cost: a disabled level costs one atomic load.
#pragma once

#include <spdlog/logger.h>

#include <string_view>

namespace sightline {

// The logger. Before SetUpLog it writes warnings and errors.
spdlog::logger& Log();

// Level: "debug", "info", "warning", "error" or "off"; anything else is taken for "info".
void SetUpLog(std::string_view level);

}  // namespace sightline
