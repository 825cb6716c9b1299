// What the program says on standard output: results, for people or for programs.
//
// A reader that goes away (sightline ... | head) or a full disk below it must end neither the
// process nor a run that still writes its files: nothing here throws (fmt::print does), the failure
// is remembered, and the program ends with exit code 1.
#pragma once

#include <fmt/format.h>

#include <string_view>

#include "base/status.h"

namespace sightline::cli {

// Writes the text without the secrets of base/redact.h; nothing more after a failure. Threads: one
// at a time, OutputFailed() on any.
void Write(std::string_view text);

template <typename... Args>
void PrintOut(fmt::format_string<Args...> format, Args&&... args) {
  Write(fmt::format(format, std::forward<Args>(args)...));
}

// Whether something did not arrive: further work for standard output alone is in vain.
bool OutputFailed();

// Flushes. `exit_code`, or 1 when something did not arrive; says why unless the reader just left.
int FinishOutput(int exit_code);

}  // namespace sightline::cli
