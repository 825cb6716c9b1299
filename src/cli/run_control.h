// How a run that is under way is spoken to: by signals, and over a Unix socket in its folder.
//
//   POST /v1/config                 {"file": ..., "text": ..., "dry_run": ...}: another configuration
//   POST /v1/cameras/retry          cameras that are away are tried now
//   POST /v1/cameras/{id}/retry     one of them
// Answers: JSON; 200, or 400 (the configuration is wrong), 404, 409 (it cannot change now), 503
// (another change is under way) with {"error": ...}.
// The socket's file belongs to its owner alone; whoever can open it may do all of this.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "base/status.h"
#include "cli/run_options.h"
#include "pipeline/engine.h"
#include "serve/http/http_server.h"

namespace sightline::cli {

// The control socket of a run with its results in that folder.
std::string ControlSocketOf(const std::string& folder);

class RunControl {
 public:
  // `engine` outlives it. A socket that cannot be made is warned about; the run goes on without.
  static std::unique_ptr<RunControl> Start(Engine& engine, const RunOptions& options,
                                           const std::string& folder);
  ~RunControl();

  // Safe in a signal handler; done soon, on a thread of its own.
  void AskForReload() { Ask('r'); }
  void AskForRetry() { Ask('t'); }

 private:
  RunControl(Engine& engine, const RunOptions& options);
  void Listen(const std::string& folder);
  void Ask(char what);
  void Obey();
  void Reload();
  // What changes; with `dry_run` what would.
  absl::StatusOr<std::string> Apply(const std::string& file, const std::string* text, bool dry_run);
  serve::HttpResponse Configure(const serve::HttpRequest& request);
  serve::HttpResponse Retry(const serve::HttpRequest& request);

  Engine& engine_;
  const RunOptions options_;
  const std::string only_camera_;  // OnlyCameraOf() what the run began with
  int asked_[2] = {-1, -1};        // a pipe, from signal handlers to the thread
  std::thread thread_;
  std::unique_ptr<serve::HttpServer> server_;
};

}  // namespace sightline::cli
