#include "cli/run_control.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json_text.h"
#include "base/log.h"
#include "base/redact.h"
#include "base/thread.h"
#include "cli/composition.h"
#include "cli/model_files.h"
#include "cli/output_guard.h"
#include "pipeline/config/diff.h"
#include "pipeline/config/parse.h"

namespace sightline::cli {
namespace {

using serve::HttpRequest;
using serve::HttpResponse;

int StatusCodeOf(const absl::Status& status) {
  if (absl::IsInvalidArgument(status)) return 400;
  if (absl::IsNotFound(status)) return 404;
  if (absl::IsUnavailable(status)) return 503;
  return 409;
}

HttpResponse JsonResponse(const nlohmann::json& body) {
  return {.status = 200, .content_type = "application/json", .body = JsonText(body) + "\n"};
}

HttpResponse RefusalOf(const absl::Status& status) {
  return serve::ErrorResponse(StatusCodeOf(status), WithoutSecrets(MessageOf(status)));
}

}  // namespace

std::string ControlSocketOf(const std::string& folder) {
  return (std::filesystem::path(folder) / "control.sock").string();
}

RunControl::RunControl(Engine& engine, const RunOptions& options)
    : engine_(engine), options_(options), only_camera_(OnlyCameraOf(*engine.config())) {}

std::unique_ptr<RunControl> RunControl::Start(Engine& engine, const RunOptions& options,
                                              const std::string& folder) {
  std::unique_ptr<RunControl> control(new RunControl(engine, options));
  if (pipe2(control->asked_, O_CLOEXEC | O_NONBLOCK) == 0) {
    // Only the end that signal handlers write to must never wait.
    fcntl(control->asked_[0], F_SETFL, 0);
    absl::StatusOr<std::thread> thread =
        StartThread("control", [raw = control.get()] { raw->Obey(); });
    if (thread.ok()) control->thread_ = *std::move(thread);
  }
  control->Listen(folder);
  return control;
}

RunControl::~RunControl() {
  if (server_) server_->Stop();
  if (asked_[1] >= 0) close(asked_[1]);  // the thread reads to the end of the pipe
  if (thread_.joinable()) thread_.join();
  if (asked_[0] >= 0) close(asked_[0]);
}

void RunControl::Listen(const std::string& folder) {
  // A run that writes nothing has no folder.
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) return;
  const auto start = [&]() -> absl::Status {
    SL_ASSIGN_OR_RETURN(server_, serve::HttpServer::Create({.unix_path = ControlSocketOf(folder)}));
    const auto retry = [this](const HttpRequest& request) { return Retry(request); };
    SL_RETURN_IF_ERROR(server_->Route(
        "POST", "/v1/config", [this](const HttpRequest& request) { return Configure(request); },
        {.max_body_bytes = 4 * kMaxConfigBytes}));
    SL_RETURN_IF_ERROR(server_->Route("POST", "/v1/cameras/retry", retry));
    SL_RETURN_IF_ERROR(server_->Route("POST", "/v1/cameras/{id}/retry", retry));
    return server_->Start();
  };
  if (const absl::Status status = start(); !status.ok()) {
    server_.reset();
    Log().warn("`sightline apply` will not reach this run: {}", MessageOf(status));
  }
}

void RunControl::Ask(char what) {
  // A full pipe has been asked often enough.
  [[maybe_unused]] const ssize_t written = write(asked_[1], &what, 1);
}

void RunControl::Obey() {
  char what = 0;
  while (read(asked_[0], &what, 1) == 1) {
    if (what == 'r') Reload();
    if (what == 't') engine_.RetryNow("").IgnoreError();
  }
}

void RunControl::Reload() {
  const absl::StatusOr<std::string> changes = Apply(options_.config, nullptr, /*dry_run=*/false);
  if (!changes.ok()) {
    Log().error("{} is not taken, nothing has changed: {}", options_.config,
                MessageOf(changes.status()));
  } else if (changes->empty()) {
    Log().warn("{} was read again; it says nothing new", options_.config);
  } else {
    Log().warn("{} was read again:\n{}", options_.config, *changes);
  }
}

absl::StatusOr<std::string> RunControl::Apply(const std::string& file, const std::string* text,
                                              bool dry_run) {
  RunOptions options = options_;
  options.config = file;
  options.sources.clear();
  options.model.clear();
  SL_ASSIGN_OR_RETURN(Config config, ConfigOf(options, text));
  SL_RETURN_IF_ERROR(CheckOutputFiles(config, file, only_camera_, engine_.config().get()));
  LookAtModels(engine_.config().get(), config);
  if (dry_run) return DiffText(DiffConfigs(*engine_.config(), config));
  SL_ASSIGN_OR_RETURN(const ConfigDiff diff, engine_.Apply(std::move(config)));
  return DiffText(diff);
}

HttpResponse RunControl::Configure(const HttpRequest& request) {
  const auto body = nlohmann::json::parse(request.body.view(), nullptr, /*allow_exceptions=*/false);
  const auto is_text = [&](const char* key) { return body.contains(key) && body[key].is_string(); };
  if (!body.is_object() || !is_text("file") || !is_text("text") ||
      (body.contains("dry_run") && !body["dry_run"].is_boolean())) {
    return serve::ErrorResponse(
        400, "wanted: {\"file\": \"/path\", \"text\": \"...\", \"dry_run\": false}");
  }
  const auto file = body["file"].get<std::string>();
  const auto text = body["text"].get<std::string>();
  const bool dry_run = body.value("dry_run", false);
  const absl::StatusOr<std::string> changes = Apply(file, &text, dry_run);
  if (!changes.ok()) return RefusalOf(changes.status());
  if (!dry_run && !changes->empty()) Log().info("{} is in force:\n{}", file, *changes);
  return JsonResponse({{"applied", !dry_run}, {"changes", WithoutSecrets(*changes)}});
}

HttpResponse RunControl::Retry(const HttpRequest& request) {
  const absl::Status status = engine_.RetryNow(std::string(request.Parameter("id")));
  if (!status.ok()) return RefusalOf(status);
  return JsonResponse({{"retried", true}});
}

}  // namespace sightline::cli
