// `sightline models`: lists, shows and removes packages; what else it does has files of its own.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/whole_file.h"
#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/composition.h"
#include "cli/model_trial.h"
#include "cli/models_add.h"
#include "cli/models_calibrate.h"
#include "cli/models_fit.h"
#include "cli/models_print.h"
#include "cli/models_tune.h"
#include "cli/standard_output.h"
#include "detect/detector_factory.h"
#include "infer/model_store.h"

namespace sightline::cli {
namespace {

constexpr uint64_t kMostYamlBytes = 1 << 20;

nlohmann::json ListJson(const std::vector<StoredModel>& models) {
  nlohmann::json all = nlohmann::json::array();
  for (const StoredModel& model : models) {
    all.push_back(model.status.ok()
                      ? ToJson(model.package)
                      : nlohmann::json{{"name", model.name},
                                       {"error", std::string(MessageOf(model.status))}});
  }
  return all;
}

int List(bool json) {
  const ModelStore store = ModelStore::Default();
  const auto models = store.List();
  if (!models.ok()) return Report(models.status());
  if (json) {
    PrintJson(ListJson(*models));
    return 0;
  }
  size_t width = 0;
  for (const StoredModel& model : *models) width = std::max(width, model.name.size());
  for (const StoredModel& model : *models) {
    const ModelSpec& spec = model.package.spec;
    if (model.status.ok()) {
      PrintOut("{:<{}}  {:<10} {:>4} x {:<4}  {}{}\n", model.name, width, spec.family,
               spec.input.width, spec.input.height, LabelWords(*spec.labels),
               model.shipped ? " (came with the program)" : "");
    } else {
      PrintOut("{:<{}}  broken: {}\n", model.name, width, MessageOf(model.status));
    }
  }
  if (models->empty()) {
    PrintOut("no models in {}; add one with: sightline models add FILE.onnx\n", store.root());
  }
  PrintOut("built in: {}\n", fmt::join(kBuiltInModels, ", "));
  return 0;
}

int Show(const std::string& name, bool json) {
  if (const absl::Status good = CheckModelName(name); !good.ok()) return Report(good);
  const auto package = ModelStore::Default().Find(name);
  if (!package.ok()) return ReportFailure(package.status());
  const auto backend = BackendFor("", name);
  absl::Status runs = backend.ok() ? TryModel(package->spec, **backend) : backend.status();
  if (!runs.ok()) runs = CannotRun(runs, "correct its model.yaml, or add it again with --replace");
  if (json) {
    nlohmann::json line = ToJson(*package);
    if (!runs.ok()) line["error"] = std::string(MessageOf(runs));
    PrintJson(line);
    return ReportFailure(runs);
  }
  const std::string path =
      (std::filesystem::path(package->spec.file).parent_path() / kModelYaml).string();
  const auto yaml = ReadWholeFile(path, kMostYamlBytes);
  if (!yaml.ok()) return ReportFailure(yaml.status());
  PrintOut("# {}\n{}", path, *yaml);
  return ReportFailure(runs);
}

int Remove(const std::string& name) {
  if (const absl::Status good = CheckModelName(name); !good.ok()) return Report(good);
  const absl::Status status = ModelStore::Default().Remove(name);
  if (status.ok()) PrintOut("removed {}\n", name);
  return status.ok() ? 0 : ReportFailure(status);
}

}  // namespace

void AddModelsCommand(CLI::App& app, int& exit_code) {
  CLI::App* models = app.add_subcommand(
      "models", "Add, fit, list, show, check, tune and remove models; make INT8 ones");
  models->require_subcommand(1);
  models->footer(
      fmt::format("Models live in $SIGHTLINE_MODELS, else ~/.local/share/sightline/models.\n"
                  "Built in: {} (truth: what simulated cameras show).",
                  fmt::join(kBuiltInModels, ", ")));
  AddAddCommand(*models, exit_code);
  AddTryCommand(*models, exit_code);
  AddCalibrateCommand(*models, exit_code);
  AddFitCommand(*models, exit_code);

  auto json = std::make_shared<bool>(false);
  CLI::App* list = models->add_subcommand("list", "The models of this machine");
  list->add_flag("--json", *json, "one JSON array");
  list->callback([json, &exit_code] { exit_code = List(*json); });

  auto name = std::make_shared<std::string>();
  CLI::App* show = models->add_subcommand("show", "Check a model and print its model.yaml");
  show->add_option("NAME", *name)->required();
  show->add_flag("--json", *json, "one JSON object");
  show->callback([name, json, &exit_code] { exit_code = Show(*name, *json); });

  AddModelsTuneCommand(*models, exit_code);
  AddModelsCheckCommand(*models, exit_code);

  CLI::App* remove = models->add_subcommand("remove", "Delete a model from the store");
  remove->add_option("NAME", *name)->required();
  remove->callback([name, &exit_code] { exit_code = Remove(*name); });
}

}  // namespace sightline::cli
