// Push cameras over HTTP.
//
//   POST /v1/cameras/{id}/frames?model=M    one JPEG, PNG or WebP file as the body; 202 with its number
//        &wait=true                         200 with the result, when it is there
//        &version=V &confidence=0.5 &track=false
//        X-Capture-Time: 2026-01-31T12:34:56.5Z    RFC 3339; without it the time of arrival
//   GET  /v1/cameras/{id}/results           server-sent events, or a WebSocket where one is asked for
//
// Errors are those of ErrorAnswer() (serve/rest/rest_routes.h); 429 with Retry-After where a camera sends too
// fast, or too many cameras or listeners are there. Keys of the query that are not known are refused.
#pragma once

#include "base/status.h"
#include "serve/cameras/push_cameras.h"
#include "serve/http/http_server.h"

namespace sightline::serve {

struct PushCameraRouteOptions {
  size_t max_picture_bytes = size_t{16} << 20;  // chosen
};

// `cameras` outlives the server's thread. Before the server's Start().
absl::Status AddPushCameraRoutes(PushCameras& cameras, const PushCameraRouteOptions& options,
                                 HttpServer& server);

}  // namespace sightline::serve
