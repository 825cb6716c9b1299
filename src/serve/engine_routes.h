// What a running engine answers over HTTP: GET /metrics, /healthz and /readyz.
//
//   /metrics           Prometheus' text (docs/metrics.md lists every metric)
//   /healthz           200 while every thread of the engine comes back from its work, else 503
//   /readyz            200 while results are made and kept, else 503; /readyz?cameras=all only while
//                      every camera gives pictures
// Both tell why in JSON.
#pragma once

#include <functional>
#include <string>

#include "base/metrics.h"
#include "base/status.h"
#include "pipeline/engine_metrics.h"
#include "serve/http/http_server.h"

namespace sightline::serve {

struct EngineView {
  std::function<EngineHealth()> health;
  std::function<void(MetricWriter&)> collect;
  std::string version;  // of the program
};

// The functions of `view` are called on the server's thread until it stops.
absl::Status AddEngineRoutes(EngineView view, HttpServer& server);

}  // namespace sightline::serve
