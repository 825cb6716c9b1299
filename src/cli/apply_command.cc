// `sightline apply`, `diff` and `retry`: changes of a run that is under way.
#include <fmt/format.h>
#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/json_text.h"
#include "base/whole_file.h"
#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/run_control.h"
#include "cli/standard_output.h"
#include "net/http_client.h"
#include "pipeline/config/diff.h"
#include "pipeline/config/parse.h"

namespace sightline::cli {
namespace {

namespace fs = std::filesystem;

struct ApplyOptions {
  std::string config;
  std::string out;
  std::string camera;
  bool dry_run = false;
  bool json = false;
};

// A model may have to be loaded, and the frames of a camera to be finished.
constexpr int64_t kApplyTimeoutUs = 300'000'000;
constexpr int64_t kRetryTimeoutUs = 10'000'000;
constexpr size_t kMostAnswerBytes = 64 << 20;  // chosen: no answer of ours comes near

// The answer's body, or what the run has to say against it.
absl::StatusOr<nlohmann::json> AskRun(const std::string& folder, const std::string& path,
                                      const nlohmann::json& body, int64_t timeout_us) {
  const std::string socket = ControlSocketOf(fs::absolute(folder).lexically_normal().string());
  const std::string text = JsonText(body);
  const auto ask = [&]() -> absl::StatusOr<net::HttpResponse> {
    SL_ASSIGN_OR_RETURN(
        const std::unique_ptr<net::HttpClient> client,
        net::HttpClient::Create({.use_environment_proxy = false, .unix_socket = socket}));
    return client->Fetch({.method = "POST",
                          .url = "http://localhost" + path,
                          .headers = {{"Content-Type", "application/json"}},
                          .body = text,
                          .timeout_us = timeout_us,
                          .max_answer_bytes = kMostAnswerBytes});
  };
  const absl::StatusOr<net::HttpResponse> response = ask();
  if (absl::IsNotFound(response.status())) {
    return FailedPrecondition(
        "no run answers at {}: none is under way with its results in {}; say with --out where the "
        "run "
        "was told to write, or begin one: sightline run",
        socket, folder);
  }
  if (absl::IsPermissionDenied(response.status()) || absl::IsInvalidArgument(response.status())) {
    return response.status();  // nothing was asked then
  }
  if (!response.ok()) {
    return Unavailable(
        "{}; what was asked for may still be done: see with `sightline apply --dry-run`",
        MessageOf(response.status()));
  }
  auto answer = nlohmann::json::parse(response->body, nullptr, /*allow_exceptions=*/false);
  if (response->status == 200 && answer.is_object()) return answer;
  const std::string why =
      answer.is_object() && answer.contains("error") && answer["error"].is_string()
          ? answer["error"].get<std::string>()
          : response->body.substr(0, 200);
  if (response->status == 400) return InvalidArgument("{}", why);
  return FailedPrecondition("{}", why);
}

int Apply(const ApplyOptions& options) {
  // What is wrong with the file itself is said by whoever is asked first, with its lines.
  const absl::StatusOr<Config> config = LoadConfig(options.config);
  if (!config.ok()) return Report(config.status());
  const absl::StatusOr<std::string> text = ReadWholeFile(options.config, kMaxConfigBytes);
  if (!text.ok()) return Report(text.status());
  const absl::StatusOr<nlohmann::json> answer =
      AskRun(options.out.empty() ? config->outputs.dir : options.out, "/v1/config",
             {{"file", fs::absolute(options.config).lexically_normal().string()},
              {"text", *text},
              {"dry_run", options.dry_run}},
             kApplyTimeoutUs);
  if (!answer.ok()) return Report(answer.status());
  if (options.json) {
    PrintOut("{}\n", JsonText(*answer));
    return 0;
  }
  const std::string changes = answer->value("changes", "");
  if (changes.empty()) {
    PrintOut("nothing changes: the run has this configuration\n");
  } else {
    PrintOut("{}\n{}\n", changes, options.dry_run ? "not applied (--dry-run)" : "applied");
  }
  return 0;
}

// As one segment of a path (RFC 3986): a camera may be named as anything on the command line.
std::string PercentEncoded(std::string_view text) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~";
  std::string encoded;
  for (const char c : text) {
    // Dots, too, where nothing else stands: "." and ".." would be taken for folders.
    const bool plain =
        kPlain.find(c) != kPlain.npos || (c == '.' && text.find_first_not_of('.') != text.npos);
    encoded += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return encoded;
}

int Retry(const ApplyOptions& options) {
  const std::string path = options.camera.empty()
                               ? "/v1/cameras/retry"
                               : "/v1/cameras/" + PercentEncoded(options.camera) + "/retry";
  const absl::StatusOr<nlohmann::json> answer = AskRun(
      options.out.empty() ? "out" : options.out, path, nlohmann::json::object(), kRetryTimeoutUs);
  return Report(answer.status());
}

int Diff(const std::string& before_file, const std::string& after_file) {
  const absl::StatusOr<Config> before = LoadConfig(before_file);
  if (!before.ok()) return Report(before.status());
  const absl::StatusOr<Config> after = LoadConfig(after_file);
  if (!after.ok()) return Report(after.status());
  const std::string changes = DiffText(DiffConfigs(*before, *after));
  if (!changes.empty()) PrintOut("{}\n", changes);
  return 0;
}

}  // namespace

void AddApplyCommand(CLI::App& app, int& exit_code) {
  CLI::App* apply =
      app.add_subcommand("apply", "Give a run that is under way another configuration");
  auto options = std::make_shared<ApplyOptions>();
  apply->add_option("CONFIG", options->config, "the configuration to go over to")
      ->required()
      ->check(NotEmpty());
  apply
      ->add_option("--out", options->out, "the run's folder of results (default: what CONFIG says)")
      ->check(NotEmpty());
  apply->add_flag("--dry-run", options->dry_run, "say what would change, and change nothing");
  apply->add_flag("--json", options->json, "the answer as JSON");
  apply->footer(
      "All of it is taken or nothing: what can fail is tried first (models opened, files for "
      "results\n"
      "taken), and after an error the run goes on as it was. Cameras that stay as they are lose "
      "no\n"
      "frame; new zones, lines and tracker settings are taken between two frames; a camera with\n"
      "another source or model is stopped and begun anew. The settings under `limits` and "
      "`metrics`\n"
      "wait for the next run.\n"
      "Examples:\n"
      "  sightline apply shop.yaml\n"
      "  sightline apply shop.yaml --dry-run\n"
      "  kill -HUP PID           the run reads its own file again, and logs what came of it");
  apply->callback([options, &exit_code] { exit_code = Apply(*options); });

  CLI::App* diff = app.add_subcommand("diff", "What changes from one configuration to another");
  auto files = std::make_shared<std::pair<std::string, std::string>>();
  diff->add_option("BEFORE", files->first)->required()->check(NotEmpty());
  diff->add_option("AFTER", files->second)->required()->check(NotEmpty());
  diff->footer(
      "Prints a line for each difference, defaults filled in, secrets masked; nothing when there "
      "is none.");
  diff->callback([files, &exit_code] { exit_code = Diff(files->first, files->second); });

  CLI::App* retry = app.add_subcommand("retry", "Let cameras that are away be tried now");
  auto retried = std::make_shared<ApplyOptions>();
  retry->add_option("CAMERA", retried->camera, "its id (default: all)");
  retry->add_option("--out", retried->out, "the run's folder of results (default: out)")
      ->check(NotEmpty());
  retry->footer(
      "A run tries a lost camera again after 0.25 s to 2 s, one that refused its password after 30 "
      "s to\n"
      "5 minutes; this ends the wait. kill -USR1 PID does it for all cameras.");
  retry->callback([retried, &exit_code] { exit_code = Retry(*retried); });
}

}  // namespace sightline::cli
