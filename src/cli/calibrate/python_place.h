// The Python that INT8 models are made with: an interpreter with the packages of
// tools/int8/requirements.txt in a virtual environment of its own, installed when it is first wanted.
//
// Place: $XDG_CACHE_HOME/sightline/int8-HASH, else ~/.cache/...; HASH is that of the requirements,
// so that another version of the program makes another one. It may be deleted at any time. Several
// processes: one installs, the others are told.
//
// Threads: one at a time. Cost: the first time a download of about 60 MB and 250 MB of disk.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"

namespace sightline::cli {

struct Int8Tools {
  std::string script;        // quantize.py
  std::string requirements;  // requirements.txt
};

// share/sightline/tools/int8 beside the program's bin/, in a build folder as in an installation.
// NotFound, with the folder, when something is missing there.
absl::StatusOr<Int8Tools> FindInt8Tools();

// The interpreter to run the script with. `python`: one that the user names, which is taken as it is
// (FailedPrecondition when it lacks a package or is older than 3.10); empty: the managed one, which
// is installed if need be. `say` is told what goes on.
// FailedPrecondition: no python3, no venv module, no place to write; Unavailable: pip could not
// install (no network, as a rule), with pip's words; Cancelled.
absl::StatusOr<std::string> PythonForInt8(const std::string& python, const Int8Tools& tools,
                                          const std::function<bool()>& stop,
                                          const std::function<void(const std::string&)>& say);

}  // namespace sightline::cli
