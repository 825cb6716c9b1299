// `sightline check`: everything that is wrong with a configuration, before it runs.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/redact.h"
#include "cli/commands.h"
#include "cli/output_guard.h"
#include "cli/standard_output.h"
#include "infer/model_store.h"
#include "pipeline/config/parse.h"

namespace sightline::cli {
namespace {

using Json = nlohmann::ordered_json;

struct CheckOptions {
  std::vector<std::string> configs;
  bool json = false;
  bool no_files = false;
};

ParseOptions ParseOptionsOf(const CheckOptions& options) {
  ParseOptions parse;
  parse.check_files = !options.no_files;
  if (options.no_files) return parse;
  // A store that cannot be listed is `doctor`'s to report; names are then taken as they are.
  const absl::StatusOr<std::vector<StoredModel>> stored = ModelStore::Default().List();
  if (!stored.ok()) return parse;
  parse.known_packages.emplace();
  for (const StoredModel& model : *stored) parse.known_packages->push_back(model.name);
  return parse;
}

std::string Count(size_t n, std::string_view word) {
  return fmt::format("{} {}{}", n, word, n == 1 ? "" : "s");
}

// "2 cameras, 1 model, 3 zones, 1 line".
std::string Contents(const Config& config) {
  size_t zones = 0;
  size_t lines = 0;
  for (const CameraConfig& camera : config.cameras) {
    zones += camera.zones.size();
    lines += camera.lines.size();
  }
  std::string text = Count(config.cameras.size(), "camera");
  text += ", " + Count(config.models.size(), "model");
  if (zones > 0) text += ", " + Count(zones, "zone");
  if (lines > 0) text += ", " + Count(lines, "line");
  return text;
}

Json FindingsJson(const std::vector<ConfigError>& findings) {
  Json all = Json::array();
  for (const ConfigError& finding : findings) {
    all.push_back(
        {{"line", finding.at.line}, {"column", finding.at.column}, {"message", finding.message}});
  }
  return all;
}

Json ParsedJson(const ParsedConfig& parsed) {
  Json json{{"file", parsed.file}, {"ok", parsed.config.has_value()}};
  if (parsed.config) {
    Json cameras = Json::array();
    for (const CameraConfig& camera : parsed.config->cameras) {
      cameras.push_back({{"id", camera.id},
                         {"source", camera.source.shown()},
                         {"model", camera.model},
                         {"zones", camera.zones.size()},
                         {"lines", camera.lines.size()}});
    }
    json["cameras"] = std::move(cameras);
  }
  json["errors"] = FindingsJson(parsed.errors);
  json["errors_left_out"] = parsed.errors_left_out;
  json["warnings"] = FindingsJson(parsed.warnings);
  return json;
}

void Print(const ParsedConfig& parsed) {
  const auto complain = [](const std::string& text) {
    if (!text.empty()) std::fprintf(stderr, "%s\n", text.c_str());
  };
  complain(parsed.WarningText());
  complain(parsed.ErrorText());
  if (parsed.config) {
    PrintOut("{}: ok: {}\n", parsed.file, Contents(*parsed.config));
  }
}

int Check(const CheckOptions& options) {
  const ParseOptions parse = ParseOptionsOf(options);
  int exit_code = 0;
  for (const std::string& config : options.configs) {
    ParsedConfig parsed = ReadConfig(config, parse);
    if (parsed.config) {
      const absl::Status guarded = CheckOutputFiles(*parsed.config, config);
      if (!guarded.ok()) {
        parsed.errors.push_back({{}, WithoutSecrets(MessageOf(guarded))});
        parsed.config.reset();
      }
    }
    if (!parsed.config) exit_code = 2;
    if (options.json) {
      // Bytes that are not UTF-8 can only come from the file's name.
      PrintOut("{}\n", ParsedJson(parsed).dump(-1, ' ', false, Json::error_handler_t::replace));
    } else {
      Print(parsed);
    }
  }
  return exit_code;
}

}  // namespace

void AddCheckCommand(CLI::App& app, int& exit_code) {
  CLI::App* check =
      app.add_subcommand("check", "Say everything that is wrong with a configuration file");
  auto options = std::make_shared<CheckOptions>();
  check->add_option("CONFIG", options->configs, "configuration files (YAML)")->required();
  check->add_flag("--json", options->json,
                  "one JSON object a file: {\"file\",\"ok\",\"cameras\",\"errors\":"
                  "[{\"line\",\"column\",\"message\"}],\"warnings\"}");
  check->add_flag("--no-files", options->no_files,
                  "do not look whether sources and models are there, for checking on another "
                  "machine");
  check->footer(
      "Exit codes: 0 ok (there may be warnings), 2 errors.\n"
      "Examples:\n"
      "  sightline check shop.yaml\n"
      "  sightline check --no-files deploy/*.yaml       in continuous integration");
  check->callback([options, &exit_code] { exit_code = Check(*options); });
}

}  // namespace sightline::cli
