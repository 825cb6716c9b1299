#include "cli/standard_output.h"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>

#include "base/redact.h"
#include "cli/commands.h"

namespace sightline::cli {
namespace {
std::atomic<int> failure{0};  // errno of the first failed write
}  // namespace

void Write(std::string_view text) {
  if (failure != 0) return;
  const std::string shown = WithoutSecrets(text);
  if (std::fwrite(shown.data(), 1, shown.size(), stdout) != shown.size()) failure = errno;
}

bool OutputFailed() { return failure != 0; }

int FinishOutput(int exit_code) {
  errno = 0;
  const bool failed = std::fflush(stdout) != 0 || std::ferror(stdout) != 0;
  if (failed && failure == 0) failure = errno != 0 ? errno : EIO;
  if (failure == 0) return exit_code;
  if (failure != EPIPE) {
    Report(Unavailable("standard output cannot be written: {}",
                       std::generic_category().message(failure)));
  }
  return exit_code != 0 ? exit_code : 1;
}

}  // namespace sightline::cli
