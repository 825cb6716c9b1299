#include "cli/model_settings.h"

#include <algorithm>
#include <filesystem>
#include <string>

#include "base/log.h"
#include "infer/model_package.h"
#include "infer/model_store.h"

namespace sightline::cli {
namespace {

namespace fs = std::filesystem;

struct Tuned {
  std::string tuning_file;
  std::string folder;  // of the package
};

// Where the tuning of a model would lie; empty for models that have no package.
Tuned PlaceOf(const ModelConfig& model) {
  if (model.origin == ModelOrigin::kPackage && CheckModelName(model.reference).ok()) {
    const ModelStore store = ModelStore::Default();
    return {store.TuningFileOf(model.reference), store.FolderOf(model.reference)};
  }
  if (model.origin != ModelOrigin::kFile) return {};
  std::error_code error;
  fs::path folder = model.reference;
  if (!fs::is_directory(folder, error)) {
    if (!PeekPackageBeside(model.reference).ok()) return {};
    folder = folder.parent_path();
  }
  return {(folder / kTuningYaml).string(), folder.string()};
}

bool SaysHowToRun(const ModelConfig& model) {
  return !model.backend.empty() || !model.providers.empty() || model.instances > 0 ||
         model.threads.has_value() || model.max_batch.has_value();
}

void ApplyTuningOf(ModelConfig& model) {
  const Tuned place = PlaceOf(model);
  std::error_code error;
  if (place.tuning_file.empty() || !fs::exists(place.tuning_file, error)) return;
  const auto tuning = ReadModelTuning(place.tuning_file);
  const auto package = PeekModelPackage(place.folder);
  if (!package.ok()) return;  // said where it is opened
  const std::string why = tuning.ok()
                              ? WhyTuningDoesNotHold(*tuning, package->spec.sha256, ThisMachine())
                              : std::string(MessageOf(tuning.status()));
  const bool known =
      tuning.ok() && std::ranges::find(kModelBackends, tuning->backend) != std::end(kModelBackends);
  if (!why.empty() || !known) {
    Log().warn("{} is not used: {}; `sightline models tune {}` measures again", place.tuning_file,
               why.empty() ? "its backend is not known here" : why, package->spec.name);
    return;
  }
  ApplyTuning(*tuning, model);
  Log().info("{} runs as {} says: {}, {} x {} threads, batches of {}", model.name,
             place.tuning_file, tuning->backend, tuning->instances, tuning->threads, tuning->batch);
}

}  // namespace

void ApplyTuning(Config& config) {
  if (config.limits.threads > 0) return;
  for (ModelConfig& model : config.models) {
    if (!SaysHowToRun(model)) ApplyTuningOf(model);
  }
}

void ApplyTuning(const ModelTuning& tuning, ModelConfig& model) {
  model.backend = tuning.backend;
  model.threads = tuning.threads;
  model.instances = tuning.instances;
  model.max_batch = tuning.batch;
}

int InstancesOf(const ModelConfig& model, int cores) {
  return model.instances > 0 ? model.instances : std::max(1, cores / model.threads.value_or(1));
}

}  // namespace sightline::cli
