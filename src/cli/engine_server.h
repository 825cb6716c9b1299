// What a run answers over HTTP while it works: metrics and health.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "pipeline/config/config.h"
#include "pipeline/engine.h"
#include "serve/http/http_server.h"

namespace sightline::cli {

// Threads: one.
class EngineServer {
 public:
  // Takes the address and answers at once: alive, and not ready before Show(). Null when the
  // configuration asks for no server.
  static absl::StatusOr<std::unique_ptr<EngineServer>> Start(const MetricsConfig& config);
  ~EngineServer();

  // The engine that the answers speak of from now on, until Stop().
  void Show(const Engine* engine) { engine_ = engine; }
  // Answers nobody any more.
  void Stop() { http_->Stop(); }
  // "http://127.0.0.1:9100/metrics"
  std::string metrics_url() const;

 private:
  explicit EngineServer(int64_t hang_after_us) : hang_after_us_(hang_after_us) {}

  const int64_t hang_after_us_;
  std::atomic<const Engine*> engine_{nullptr};
  std::unique_ptr<serve::HttpServer> http_;  // last: its thread uses what stands above
};

// While it lives, the server speaks of that engine. Both outlive it; the server may be null.
class ShownEngine {
 public:
  ShownEngine(EngineServer* server, const Engine* engine) : server_(server) {
    if (server_ != nullptr) server_->Show(engine);
  }
  ~ShownEngine() {
    if (server_ != nullptr) server_->Stop();
  }
  ShownEngine(const ShownEngine&) = delete;
  ShownEngine& operator=(const ShownEngine&) = delete;

 private:
  EngineServer* const server_;
};

}  // namespace sightline::cli
