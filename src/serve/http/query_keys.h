// Whether a request's query has keys that its route knows: a mistyped one would be passed over without a word.
//
// Threads: reentrant.
#pragma once

#include "base/status.h"
#include "serve/http/http_message.h"
#include "serve/http/route_document.h"

namespace sightline::serve {

// InvalidArgument for the first key that is none of the document's parameters, with the one that was meant.
absl::Status CheckQueryKeys(const HttpRequest& request, const RouteDocument& document);

}  // namespace sightline::serve
