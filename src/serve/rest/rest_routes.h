// The Open Inference Protocol over HTTP, with the extensions that Triton's clients use.
//
//   GET  /v2                                           who answers, and its extensions
//   GET  /v2/health/live, /v2/health/ready             200, or 400 when not
//   GET  /v2/models/M[/versions/V][/ready|/config|/stats]
//   POST /v2/models/M[/versions/V]/infer
//   GET  /v2/models/stats
//   POST /v2/repository/index, /v2/repository/models/M/load, .../unload
//   GET  /v2/systemsharedmemory[/region/R]/status; POST .../region/R/register, [/region/R]/unregister
//   GET, POST /v2[/models/M]/trace/setting, /v2/logging
//
// Every error is {"error": "..."}: 400 for what is wrong with the request, 404 no such model, 409 a name
// that is taken, 413 too large, 501 what is not built (also content encodings), 503 not now, 500 the
// model failed.
// Source: Open Inference Protocol 2 (REST); Triton's protocol extensions.
#pragma once

#include "base/status.h"
#include "serve/http/http_server.h"
#include "serve/inference/inference_service.h"

namespace sightline::serve {

struct RestOptions {
  size_t max_request_bytes = kMaxRequestBytes;    // of one body, packed or not
  size_t max_unpacked_bytes = size_t{256} << 20;  // of all packed bodies that wait; chosen
  int body_threads = 2;                           // that read and write large bodies; chosen
};

// Both outlive the server's thread. Before the server's Start().
absl::Status AddRestRoutes(InferenceService& service, const RestOptions& options,
                           HttpServer& server);

// The answer for an error of the service; with Retry-After where another try may help.
HttpResponse ErrorAnswer(const absl::Status& status);

}  // namespace sightline::serve
