// Keeps a run from writing over what it reads, and one output over another.
#pragma once

#include "base/status.h"
#include "pipeline/config/config.h"

namespace sightline::cli {

// InvalidArgument, with both sides named, when a file that the run would write (also the ones it
// writes on the way: .partial, SQLite's own) is a source, a picture of a source, the configuration,
// a model, or another output. Compared as files, so links do not hide anything. Opens nothing for
// writing. `config_file` is empty when there is none. `only`: as PathsOf() has it. `running` (may be null):
// what a run has in force that is to go over to `config`; it finishes the files of that one first.
absl::Status CheckOutputFiles(const Config& config, const std::string& config_file,
                              const std::string& only, const Config* running = nullptr);

}  // namespace sightline::cli
