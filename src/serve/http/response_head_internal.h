// What goes before the body of an answer. Internal to serve/http.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "serve/http/http_message.h"

namespace sightline::serve {

// Status line and headers, up to the empty line. `length` is the Content-Length; none where it is not
// known before the end (nullopt), which `keep_alive` then must not follow. Headers of `response` that
// stand twice are sent once, the last of them; those that would make it another message are left out.
// Threads: reentrant.
std::string ResponseHead(const HttpResponse& response, std::optional<size_t> length,
                         bool keep_alive);

}  // namespace sightline::serve
