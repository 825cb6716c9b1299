#include "serve/engine_routes.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json_text.h"
#include "base/redact.h"
#include "observe/process_metrics.h"
#include "observe/prometheus_text.h"

namespace sightline::serve {
namespace {

using Json = nlohmann::ordered_json;
using enum MetricType;

constexpr MetricInfo kConnections = {"sightline_http_connections", kGauge,
                                     "HTTP connections that are open"};
constexpr MetricInfo kRefused = {"sightline_http_connections_refused_total", kCounter,
                                 "HTTP connections beyond the most that are allowed"};
constexpr MetricInfo kRequests = {"sightline_http_requests_total", kCounter,
                                  "HTTP requests answered"};
constexpr MetricInfo kErrors = {"sightline_http_errors_total", kCounter,
                                "HTTP requests answered with a status from 400 on"};

HttpResponse JsonResponse(bool good, const Json& body) {
  return {.status = good ? 200 : 503,
          .content_type = "application/json",
          .body = JsonText(body) + "\n"};
}

Json TextList(const std::vector<std::string>& texts) {
  Json list = Json::array();
  for (const std::string& text : texts)
    list.push_back(WithoutSecrets(text));  // before JSON escapes it
  return list;
}

Json CamerasJson(const EngineHealth& health) {
  Json cameras = Json::array();
  for (const CameraHealth& camera : health.cameras) {
    Json line = {
        {"id", camera.id}, {"state", ToString(camera.state)}, {"frames_in", camera.frames_in}};
    if (camera.last_frame_age_s >= 0) {
      line["last_frame_age_s"] = std::round(camera.last_frame_age_s * 1000) / 1000;
    }
    if (!camera.reason.empty()) line["reason"] = WithoutSecrets(camera.reason);
    cameras.push_back(std::move(line));
  }
  return cameras;
}

HttpResponse Healthz(const EngineHealth& health) {
  Json body = {{"status", health.alive() ? "ok" : "stuck"}};
  if (!health.alive()) body["stuck"] = TextList(health.stuck);
  return JsonResponse(health.alive(), body);
}

HttpResponse Readyz(const EngineHealth& health, const HttpRequest& request) {
  const std::optional<std::string> cameras = request.QueryValue("cameras");
  if (cameras && *cameras != "all" && *cameras != "any") {
    return ErrorResponse(400, "cameras is \"any\" or \"all\"");
  }
  const bool all = cameras == "all";
  const bool ready = health.ready(all);
  Json reasons = TextList(health.stuck);
  for (const std::string& text : health.failed) reasons.push_back(WithoutSecrets(text));
  for (const std::string& text : health.waiting) reasons.push_back(WithoutSecrets(text));
  if (!health.running)
    reasons.push_back("no camera is being read: the run has not begun, or is ending");
  if (!ready && reasons.empty()) {
    reasons.push_back(all ? "not every camera gives pictures" : "no camera gives pictures");
  }
  return JsonResponse(ready, {{"status", ready ? "ready" : "not ready"},
                              {"reasons", reasons},
                              {"cameras", CamerasJson(health)}});
}

HttpResponse Metrics(const EngineView& view, const HttpServerStats& stats) {
  PrometheusText text;
  view.collect(text);
  text.Write(kConnections, {}, static_cast<double>(stats.connections));
  text.Write(kRefused, {}, static_cast<double>(stats.refused));
  text.Write(kRequests, {}, static_cast<double>(stats.requests));
  text.Write(kErrors, {}, static_cast<double>(stats.errors));
  CollectProcessMetrics(view.version, text);
  return {.content_type = std::string(kPrometheusContentType), .body = text.Text()};
}

}  // namespace

absl::Status AddEngineRoutes(EngineView view, HttpServer& server) {
  SL_RETURN_IF_ERROR(server.Route(
      "GET", "/healthz", [health = view.health](const HttpRequest&) { return Healthz(health()); }));
  SL_RETURN_IF_ERROR(server.Route(
      "GET", "/readyz",
      [health = view.health](const HttpRequest& request) { return Readyz(health(), request); }));
  return server.Route("GET", "/metrics", [view = std::move(view), &server](const HttpRequest&) {
    return Metrics(view, server.stats());
  });
}

}  // namespace sightline::serve
