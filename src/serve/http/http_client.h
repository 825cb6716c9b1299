// One request to a server on this machine, and its answer.
//
// Threads: reentrant; blocks. Source: RFC 9112, over Boost.Beast.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "serve/http/http_message.h"

namespace sightline::serve {

// The answer, whatever its status. NotFound when no process listens at `socket`; Unavailable when it
// does not answer in time or not in HTTP; PermissionDenied when it is another user's.
absl::StatusOr<HttpResponse> PostOverUnixSocket(const std::string& socket, const std::string& path,
                                                const std::string& json, int64_t timeout_us);

}  // namespace sightline::serve
