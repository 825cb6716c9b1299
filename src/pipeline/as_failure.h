// What is wrong with a file that the configuration names, told from what is wrong with the
// configuration itself.
#pragma once

#include "base/status.h"

namespace sightline {

// InvalidArgument as FailedPrecondition: a file that is not what it should be is a failure of the run,
// not a mistake in the configuration; programs tell the two by the exit code.
inline absl::Status AsFailure(const absl::Status& status) {
  if (!absl::IsInvalidArgument(status)) return status;
  return absl::Status(absl::StatusCode::kFailedPrecondition, status.message());
}

}  // namespace sightline
