// GET /metrics of `sightline serve`: models in Triton's names, HTTP, the process (docs/serving.md lists
// them).
#pragma once

#include <functional>
#include <string>

#include "base/metrics.h"
#include "base/status.h"
#include "serve/access/access_gate.h"
#include "serve/http/http_server.h"
#include "serve/inference/inference_service.h"

namespace sightline::serve {

// `api` is the server whose requests are counted, `gate` what guards it; null: there is none. `further` writes
// what is not known here. All outlive the server's thread.
// Before the server's Start().
absl::Status AddServingMetrics(const InferenceService& service, const HttpServer* api,
                               HttpServer& server, const AccessGate* gate = nullptr,
                               std::function<void(MetricWriter&)> further = {});

}  // namespace sightline::serve
