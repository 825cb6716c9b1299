#include "base/log.h"
#include "cli/commands.h"

namespace sightline::cli {

int Report(const absl::Status& status) {
  if (status.ok()) return 0;
  TellUser("error", MessageOf(status));
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

int ReportFailure(const absl::Status& status) { return Report(status) == 0 ? 0 : 1; }

}  // namespace sightline::cli
