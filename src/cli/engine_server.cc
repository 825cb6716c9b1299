#include "cli/engine_server.h"

#include "base/listen_address.h"
#include "serve/engine_routes.h"

namespace sightline::cli {

absl::StatusOr<std::unique_ptr<EngineServer>> EngineServer::Start(const MetricsConfig& config) {
  if (config.listen.empty()) return std::unique_ptr<EngineServer>();
  SL_ASSIGN_OR_RETURN(const ListenAddress address, ParseListenAddress(config.listen));
  std::unique_ptr<EngineServer> server(new EngineServer(config.hang_after_us));
  absl::StatusOr<std::unique_ptr<serve::HttpServer>> http =
      serve::HttpServer::Create({.tcp = address});
  if (!http.ok()) return WithContext(http.status(), "metrics");
  server->http_ = *std::move(http);
  EngineServer* const raw = server.get();
  serve::EngineView view;
  view.version = SIGHTLINE_VERSION;
  view.health = [raw] {
    const Engine* const engine = raw->engine_;
    return engine != nullptr ? engine->Health(raw->hang_after_us_) : EngineHealth();
  };
  view.collect = [raw](MetricWriter& writer) {
    if (const Engine* const engine = raw->engine_) engine->CollectMetrics(writer);
  };
  SL_RETURN_IF_ERROR(serve::AddEngineRoutes(std::move(view), *server->http_));
  SL_RETURN_IF_ERROR(server->http_->Start());
  return server;
}

EngineServer::~EngineServer() = default;

std::string EngineServer::metrics_url() const {
  ListenAddress address = *http_->address();
  if (address.address.empty() || address.address == "::" || address.address == "0.0.0.0") {
    address.address = "localhost";
  }
  return fmt::format("http://{}/metrics", ToString(address));
}

}  // namespace sightline::cli
