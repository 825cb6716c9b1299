// Pictures over HTTP.
//
//   POST /v1/detect/M, /v1/classify/M, /v1/segment/M, /v1/pose/M, /v1/embed/M   M: a model's name
//   the same with /versions/V behind
//
// Bodies and wishes as picture_upload.h has them. Answers: JSON (picture_json.h), one object for a lone
// picture, {"model":"M","results":[...]} for a form or "images"; or the picture with what was found drawn
// into it, where the Accept header asks for image/jpeg or image/png.
// Errors are {"error": "..."}: as those of the v2 routes, and 415 for what is none of the three formats. Of
// several pictures each has its own; where all have failed the status is that of the first.
#pragma once

#include "base/status.h"
#include "serve/http/http_server.h"
#include "serve/pictures/picture_service.h"

namespace sightline::serve {

struct PictureRouteOptions {
  size_t max_request_bytes = size_t{64} << 20;  // of one body; chosen
  int body_threads = 2;                         // that read large forms and JSON; chosen
};

// `pictures` outlives the server's thread. Before the server's Start(). ResourceExhausted without threads.
// Forms and JSON of more than 32 KiB are read on body_threads; 256 wait for them, and more are answered 503.
absl::Status AddPictureRoutes(PictureService& pictures, const PictureRouteOptions& options,
                              HttpServer& server);

}  // namespace sightline::serve
