// libav's own words: into our log at debug level instead of raw on standard error.
#pragma once

#include <string>

namespace sightline {

// Routes libav's messages (warnings and errors) to Log() at debug level, for the whole process.
// Every entry of this module calls it; further calls cost one atomic load. Threads: safe.
void RouteAvLog();

// libav's sentence for one of its error codes ("Invalid data found when processing input").
std::string AvErrorText(int code);

}  // namespace sightline
