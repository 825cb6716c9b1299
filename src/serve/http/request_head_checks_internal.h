// What the head of a request may not say, beyond what the parser refuses. Internal to serve/http.
//
// Threads: reentrant.
#pragma once

#include <optional>
#include <string_view>

#include "serve/http/http_message.h"

namespace sightline::serve {

// Whether a header goes on in the next line (RFC 9112, section 5.2): proxies in front may see two where
// the parser sees one. `lines`: whole lines, each with its end, and what follows the last one.
bool HasFoldedHeader(std::string_view lines);

// Why a request with this head is not read further, and its connection ends; nullopt when it may be.
// `version`: 10 or 11. `hosts`: how many Host headers. Refused are
//  - a body whose end proxies in front may see elsewhere (RFC 9112, section 6.1): a Transfer-Encoding other
//    than "chunked" (501), one in HTTP/1.0 or together with Content-Length (400);
//  - what changes something and is told by a browser to come from the page of another site (403).
std::optional<HttpResponse> RefusalOfHead(const HttpRequest& head, int version, int hosts);

// Browsers let any page of the web ask anywhere, and tell in Origin whose page it is. False without one.
bool IsOfAnotherSite(const HttpRequest& head);

// Whether this is base64 of 16 bytes (RFC 6455, section 4.1).
bool IsWebSocketKey(std::string_view key);

}  // namespace sightline::serve
