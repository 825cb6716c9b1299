// `sightline check`: everything that is wrong with a configuration, before it runs.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/ascii_text.h"
#include "base/json_text.h"
#include "base/nearest_word.h"
#include "base/redact.h"
#include "cli/commands.h"
#include "cli/composition.h"
#include "cli/model_trial.h"
#include "cli/output_guard.h"
#include "cli/sources.h"
#include "cli/standard_output.h"
#include "infer/model_format.h"
#include "infer/model_store.h"
#include "pipeline/camera_setup.h"
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

// The classes of a model without its parts, as far as they can be had; null when not. What is wrong
// with a file that was never added is said at the model's place.
std::shared_ptr<const LabelSet> OwnLabelsOf(const ModelConfig& model,
                                            std::vector<ConfigError>& errors) {
  if (!model.labels.empty()) return std::make_shared<LabelSet>(LabelSet{model.labels});
  if (model.origin == ModelOrigin::kBuiltin) {
    const auto factory = OpenConfiguredDetector(model);
    if (!factory.ok()) return nullptr;
    const auto detector = (*factory)();
    return detector.ok() ? (*detector)->info().labels : nullptr;
  }
  std::filesystem::path folder = model.reference;
  std::error_code ignored;
  const bool file =
      model.origin == ModelOrigin::kFile && !std::filesystem::is_directory(folder, ignored);
  if (model.origin == ModelOrigin::kPackage) {
    folder = ModelStore::Default().FolderOf(model.reference);
  }
  const auto package =
      file ? PeekPackageBeside(model.reference) : PeekModelPackage(folder.string());
  if (package.ok()) return package->spec.labels;
  if (!file) return nullptr;
  // A TorchScript file is a program, which a check does not run.
  if (model.backend == "torchscript" || FormatOf(model.reference) == ModelFormat::kTorchScript) {
    return nullptr;
  }
  // `doctor` says what is missing for a backend that is not there.
  if (!BackendFor(model.backend, model.reference).ok()) return nullptr;
  const auto spec = SpecOfFile(model.reference, model.backend);
  if (spec.ok()) return spec->labels;
  ConfigError error{model.at,
                    fmt::format("model \"{}\": {}", model.name, MessageOf(spec.status()))};
  // One that is part of others is met with each of them.
  const auto same = [&](const ConfigError& other) {
    return other.at.line == error.at.line && other.message == error.message;
  };
  if (std::ranges::none_of(errors, same)) errors.push_back(std::move(error));
  return nullptr;
}

// With those that its parts add, as a run has them; null when one's are not known.
std::shared_ptr<const LabelSet> LabelsOf(const ModelConfig& model,
                                         std::vector<ConfigError>& errors) {
  const auto all = std::make_shared<LabelSet>();
  const auto add = [&](const std::shared_ptr<const LabelSet>& labels) {
    if (labels == nullptr) return false;
    for (const std::string& name : labels->names) {
      if (std::ranges::find(all->names, name) == all->names.end()) all->names.push_back(name);
    }
    return true;
  };
  const auto add_part = [&](const std::string& name) {
    const auto part = model.parts.find(name);
    return part != model.parts.end() && add(LabelsOf(*part->second, errors));
  };
  if (model.ensemble.empty() && !add(OwnLabelsOf(model, errors))) return nullptr;
  if (!std::ranges::all_of(model.ensemble, add_part)) return nullptr;
  if (!std::ranges::all_of(model.fallback, add_part, &FallbackConfig::model)) return nullptr;
  return all;
}

void CheckProviders(const ModelConfig& model, std::vector<ConfigError>& errors) {
  if (model.providers.empty()) return;
  const auto backend = BackendFor(model.backend, model.reference);
  if (!backend.ok()) return;  // `doctor` says why
  const std::vector<std::string> there = (*backend)->providers();
  const std::vector<std::string_view> known(there.begin(), there.end());
  for (const std::string& provider : model.providers) {
    const std::string name = AsciiLower(provider.substr(0, provider.find(':')));
    if (std::ranges::find(there, name) != there.end()) continue;
    const std::string near = NearestWord(name, known);
    errors.push_back(
        {model.at, fmt::format("{} on this machine has no execution provider \"{}\"{}; "
                               "it has {}",
                               (*backend)->name(), name,
                               near.empty() ? "" : fmt::format(", did you mean \"{}\"?", near),
                               fmt::join(there, ", "))});
  }
}

// Blames each class that the model does not have, at its place in the file.
class ClassCheck {
 public:
  ClassCheck(const ParsedConfig& parsed, std::vector<ConfigError>& errors)
      : parsed_(parsed), errors_(errors) {}

  // `path`: of the list of classes; `at`: of what it stands in.
  void Check(const ModelConfig& model, const std::vector<std::string>& classes,
             const std::string& path, ConfigLocation at) {
    if (classes.empty()) return;
    const auto [found, fresh] = labels_.try_emplace(model.name);
    if (fresh) found->second = LabelsOf(model, errors_);
    if (found->second == nullptr) return;
    for (size_t i = 0; i < classes.size(); ++i) {
      const auto ids = ClassIdsOf({classes[i]}, *found->second);
      if (ids.ok()) continue;
      const std::string its_path = fmt::format("{}[{}]", path, i);
      const auto place = parsed_.locations.find(its_path);
      errors_.push_back(
          {place != parsed_.locations.end() ? place->second : at,
           fmt::format("{}: model \"{}\": {}", its_path, model.name, MessageOf(ids.status()))});
    }
  }

 private:
  const ParsedConfig& parsed_;
  std::vector<ConfigError>& errors_;
  std::map<std::string, std::shared_ptr<const LabelSet>> labels_;  // by model
};

void CheckClassesOf(const ParsedConfig& parsed, std::vector<ConfigError>& errors) {
  const Config& config = *parsed.config;
  ClassCheck check(parsed, errors);
  for (size_t m = 0; m < config.declared_models; ++m) {
    const ModelConfig& model = config.models[m];
    for (size_t i = 0; i < model.crops.size(); ++i) {
      const CropsConfig& crops = model.crops[i];
      const std::string path = fmt::format("models[{}].crops[{}]", m, i);
      check.Check(model, crops.classes, path + ".classes", crops.at);
      const auto part = model.parts.find(crops.model);
      if (part == model.parts.end()) continue;
      check.Check(*part->second, crops.keep_classes, path + ".keep_classes", crops.at);
    }
  }
  for (size_t c = 0; c < config.cameras.size(); ++c) {
    const CameraConfig& camera = config.cameras[c];
    const ModelConfig& model = config.models[camera.model_index];
    const auto each = [&](const auto& rules, const char* kind) {
      for (size_t i = 0; i < rules.size(); ++i) {
        check.Check(model, rules[i].classes, fmt::format("cameras[{}].{}[{}].classes", c, kind, i),
                    rules[i].at);
      }
    };
    each(camera.zones, "zones");
    each(camera.lines, "lines");
  }
}

// What only this machine and its models can tell.
void CheckAgainstModels(ParsedConfig& parsed) {
  std::vector<ConfigError> errors;
  for (const ModelConfig& model : parsed.config->models) CheckProviders(model, errors);
  CheckClassesOf(parsed, errors);
  parsed.SetErrors(std::move(errors));
}

int Check(const CheckOptions& options) {
  const ParseOptions parse = ParseOptionsOf(options);
  int exit_code = 0;
  for (const std::string& config : options.configs) {
    ParsedConfig parsed = ReadConfig(config, parse);
    if (parsed.config) {
      const absl::Status guarded =
          CheckOutputFiles(*parsed.config, config, OnlyCameraOf(*parsed.config));
      if (!guarded.ok()) {
        parsed.SetErrors({ConfigError{{}, WithoutSecrets(MessageOf(guarded))}});
      }
    }
    if (parsed.config) parsed.SetErrors(CheckSources(*parsed.config));
    if (parsed.config && !options.no_files) CheckAgainstModels(parsed);
    if (!parsed.config) exit_code = 2;
    if (options.json) {
      PrintOut("{}\n", JsonText(ParsedJson(parsed)));
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
                  "do not look whether sources and models are there, and open no model file, for "
                  "checking on another machine");
  check->footer(
      "Where classes are named, a model file that was never added is opened to see its\n"
      "classes, in a process of its own; --no-files keeps from that. TorchScript files are\n"
      "never run.\n"
      "Exit codes: 0 ok (there may be warnings), 2 errors.\n"
      "Examples:\n"
      "  sightline check shop.yaml\n"
      "  sightline check --no-files deploy/*.yaml       in continuous integration");
  check->callback([options, &exit_code] { exit_code = Check(*options); });
}

}  // namespace sightline::cli
