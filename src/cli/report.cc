#include <cstdio>

#include "base/redact.h"
#include "cli/commands.h"

namespace sightline::cli {

int Report(const absl::Status& status) {
  if (status.ok()) return 0;
  const std::string text = WithoutSecrets(MessageOf(status));
  std::fprintf(stderr, "sightline: %s\n", text.c_str());
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

int ReportFailure(const absl::Status& status) { return Report(status) == 0 ? 0 : 1; }

}  // namespace sightline::cli
