#include "serve/serving_metrics.h"

#include <utility>

#include "observe/process_metrics.h"
#include "observe/prometheus_text.h"

namespace sightline::serve {
namespace {

using enum MetricType;

constexpr MetricInfo kConnections = {"sightline_http_connections", kGauge,
                                     "HTTP connections that are open"};
constexpr MetricInfo kRefused = {"sightline_http_connections_refused_total", kCounter,
                                 "HTTP connections beyond the most that are allowed"};
constexpr MetricInfo kAddressRefused = {"sightline_http_address_connections_refused_total",
                                        kCounter,
                                        "Of these, beyond the most that one address may have"};
constexpr MetricInfo kRequests = {"sightline_http_requests_total", kCounter,
                                  "HTTP requests answered"};
constexpr MetricInfo kErrors = {"sightline_http_errors_total", kCounter,
                                "HTTP requests answered with a status from 400 on"};
constexpr MetricInfo kBodies = {"sightline_http_bodies_bytes", kGauge,
                                "Bodies of requests that are being read or answered"};
constexpr MetricInfo kBodiesKept = {"sightline_http_bodies_kept_bytes", kGauge,
                                    "Memory that is kept for the bodies of later requests"};
constexpr MetricInfo kBodiesRefused = {"sightline_http_bodies_refused_total", kCounter,
                                       "HTTP requests for whose bodies there was no room"};

constexpr MetricInfo kAnswers = {"sightline_http_answers_bytes", kGauge,
                                 "Large answers that wait to be read"};
constexpr MetricInfo kAnswersRefused = {"sightline_http_answers_refused_total", kCounter,
                                        "HTTP answers for which there was no room"};
constexpr MetricInfo kTimedOut = {"sightline_http_timeouts_total", kCounter,
                                  "HTTP connections closed because they were too slow"};
constexpr MetricInfo kHandshakes = {"sightline_http_handshakes_failed_total", kCounter,
                                    "TLS handshakes over HTTP that failed"};
constexpr MetricInfo kFeeds = {"sightline_http_feeds", kGauge,
                               "Clients that listen to server-sent events or a WebSocket"};
constexpr MetricInfo kFeedLost = {"sightline_http_feed_messages_lost_total", kCounter,
                                  "Messages lost by listening clients that read too slowly"};

void CollectHttp(const HttpServerStats& stats, MetricWriter& text) {
  text.Write(kConnections, {}, static_cast<double>(stats.connections));
  text.Write(kRefused, {}, static_cast<double>(stats.refused));
  text.Write(kAddressRefused, {}, static_cast<double>(stats.address_refused));
  text.Write(kRequests, {}, static_cast<double>(stats.requests));
  text.Write(kErrors, {}, static_cast<double>(stats.errors));
  text.Write(kBodies, {}, static_cast<double>(stats.bodies_bytes));
  text.Write(kBodiesKept, {}, static_cast<double>(stats.bodies_kept_bytes));
  text.Write(kBodiesRefused, {}, static_cast<double>(stats.bodies_refused));
  text.Write(kAnswers, {}, static_cast<double>(stats.answers_bytes));
  text.Write(kAnswersRefused, {}, static_cast<double>(stats.answers_refused));
  text.Write(kTimedOut, {}, static_cast<double>(stats.timed_out));
  text.Write(kHandshakes, {}, static_cast<double>(stats.handshakes_failed));
  text.Write(kFeeds, {}, static_cast<double>(stats.feeds));
  text.Write(kFeedLost, {}, static_cast<double>(stats.feed_messages_lost));
}

HttpResponse Metrics(const InferenceService& service, const HttpServer* api, const AccessGate* gate,
                     const std::function<void(MetricWriter&)>& further) {
  PrometheusText text;
  if (gate != nullptr) gate->CollectMetrics(text);
  service.CollectMetrics(text);
  if (api != nullptr) CollectHttp(api->stats(), text);
  if (further) further(text);
  CollectProcessMetrics(service.version(), text);
  return {.content_type = std::string(kPrometheusContentType), .body = text.Text()};
}

}  // namespace

absl::Status AddServingMetrics(const InferenceService& service, const HttpServer* api,
                               HttpServer& server, const AccessGate* gate,
                               std::function<void(MetricWriter&)> further) {
  RouteOptions options;
  options.role = RouteRole::kMetrics;
  return server.Route(
      "GET", "/metrics",
      [&service, api, gate, further = std::move(further)](const HttpRequest&) {
        return Metrics(service, api, gate, further);
      },
      options);
}

}  // namespace sightline::serve
