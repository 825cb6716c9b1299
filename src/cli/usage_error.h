// What is wrong with a command line, in one line: what, the word that was probably meant, and where
// to read on.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace sightline::cli {

// For CLI::App::failure_message of the program itself. Ends with a line end.
std::string UsageError(const CLI::App* program, const CLI::Error& error);

}  // namespace sightline::cli
