// Finding and loading the RTSP server, a library of its own (docs/decisions/rtsp_server.md).
#pragma once

#include <memory>

#include "base/status.h"
#include "sim/rtsp/rtsp_server.h"

namespace sightline::sim {

// Looks in ../lib and in lib beside the program, or where SIGHTLINE_RTSP_SERVER says; once loaded it
// stays. FailedPrecondition, with what to install, when it is not there or cannot work.
absl::StatusOr<std::unique_ptr<RtspServer>> LoadRtspServer(const RtspServer::Options& options);

}  // namespace sightline::sim
