// libavdevice, which knows this machine's cameras, loaded when the first one is opened: it brings
// dozens of libraries of sound and windows that nothing else here needs. Internal to this module.
#pragma once

#include <string>

#include "base/status.h"
#include "media/av_internal.h"

namespace sightline {

// The demuxer of Video4Linux devices. Unimplemented where there is none; `name` is for the error.
// Threads: any.
absl::StatusOr<const AVInputFormat*> VideoDeviceFormat(const std::string& name);

}  // namespace sightline
