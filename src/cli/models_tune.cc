#include "cli/models_tune.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "base/json_text.h"
#include "base/whole_file.h"
#include "cli/backends.h"
#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/standard_output.h"
#include "cli/stop_signal.h"
#include "cli/tune_measure.h"
#include "infer/model_format.h"
#include "infer/model_store.h"
#include "infer/model_tuning.h"

namespace sightline::cli {
namespace {

struct TuneArguments {
  std::string name;
  double seconds = 20;
  bool sweep = false;
  bool json = false;
};

ModelTuning TuningOf(const ModelSpec& spec, const TuneResult& chosen,
                     const std::vector<InferenceBackend*>& backends) {
  ModelTuning tuning;
  tuning.model_sha256 = spec.sha256;
  tuning.machine = ThisMachine();
  for (InferenceBackend* backend : backends) {
    tuning.versions[std::string(backend->name())] = backend->version();
  }
  tuning.backend = chosen.candidate.backend->name();
  tuning.threads = chosen.candidate.threads;
  tuning.instances = chosen.candidate.instances;
  tuning.batch = chosen.candidate.batch;
  tuning.cpu_ms = chosen.median_cpu_ms();
  tuning.pictures_per_s = chosen.median_per_s();
  return tuning;
}

absl::Status Store(const ModelTuning& tuning, const std::string& path) {
  if (path.empty()) {
    return FailedPrecondition(
        "there is no place for the result: set XDG_CACHE_HOME or SIGHTLINE_MODELS to a folder, or "
        "HOME");
  }
  SL_RETURN_IF_ERROR(MakeFolder(std::filesystem::path(path).parent_path().string()));
  return WriteWholeFile(path, FormatModelTuning(tuning));
}

bool IsStored(const ModelTuning& stored, const TuneCandidate& candidate) {
  return stored.backend == candidate.backend->name() && stored.threads == candidate.threads &&
         stored.instances == candidate.instances && stored.batch == candidate.batch;
}

// How much more CPU time than the least what an earlier `tune` chose takes; below 0: not known.
double StoredExcess(const std::vector<TuneResult>& results, const std::string& path) {
  const auto stored = ReadModelTuning(path);
  if (!stored.ok()) return -1;
  double least = 0, own = 0;
  for (const TuneResult& result : results) {
    if (!result.status.ok() || result.cpu_ms.empty()) continue;
    const double median = result.median_cpu_ms();
    if (least == 0 || median < least) least = median;
    if (IsStored(*stored, result.candidate)) own = median;
  }
  return own > 0 && least > 0 ? own / least - 1 : -1;
}

nlohmann::json ToJson(const TuneResult& result) {
  nlohmann::json line = {{"backend", result.candidate.backend->name()},
                         {"threads", result.candidate.threads},
                         {"instances", result.candidate.instances},
                         {"batch", result.candidate.batch},
                         {"slices", result.cpu_ms.size()},
                         {"given_up", result.given_up}};
  if (!result.cpu_ms.empty()) {
    line["cpu_ms"] = result.median_cpu_ms();
    line["pictures_per_s"] = result.median_per_s();
  }
  if (!result.status.ok()) line["error"] = std::string(MessageOf(result.status));
  return line;
}

void PrintTable(const std::vector<TuneResult>& results, size_t chosen) {
  std::vector<size_t> order(results.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) {
    return results[i].cpu_ms.empty() ? 1e300 : results[i].median_cpu_ms();
  });
  PrintOut("  {:<12} {:>7} {:>9} {:>5} {:>12} {:>11} {:>7}\n", "backend", "threads", "instances",
           "batch", "CPU ms each", "pictures/s", "slices");
  for (const size_t i : order) {
    const TuneResult& result = results[i];
    const TuneCandidate& c = result.candidate;
    if (!result.status.ok()) {
      PrintOut("  {:<12} {:>7} {:>9} {:>5} {}\n", c.backend->name(), c.threads, c.instances,
               c.batch, MessageOf(result.status));
      continue;
    }
    PrintOut("{} {:<12} {:>7} {:>9} {:>5} {:>12.3f} {:>11.1f} {:>7}{}\n", i == chosen ? '*' : ' ',
             c.backend->name(), c.threads, c.instances, c.batch, result.median_cpu_ms(),
             result.median_per_s(), result.cpu_ms.size(), result.given_up ? "  given up" : "");
  }
}

absl::Status Tune(const TuneArguments& arguments) {
  const ModelStore store = ModelStore::Default();
  SL_ASSIGN_OR_RETURN(const ModelPackage package, store.Find(arguments.name));
  const std::vector<InferenceBackend*> backends = BackendsThatRead(FormatOf(package.spec.file));
  if (backends.empty()) return BackendFor("", arguments.name).status();
  const std::vector<TuneCandidate> candidates =
      TuneCandidates(package.spec, backends, ThisMachine().cores);
  static std::atomic<bool> stop{false};
  const StopSignal signal({.stop = [] { stop = true; }});
  TuneOptions options;
  options.seconds = arguments.seconds;
  options.exhaustive = arguments.sweep;
  options.stop = [] { return stop.load(); };
  SL_ASSIGN_OR_RETURN(const std::vector<TuneResult> results,
                      MeasureCandidates(package.spec, candidates, options));
  SL_ASSIGN_OR_RETURN(const size_t chosen, ChooseCandidate(results));
  const std::string path = store.TuningFileOf(arguments.name);
  const ModelTuning tuning = TuningOf(package.spec, results[chosen], backends);
  const double excess = arguments.sweep ? StoredExcess(results, path) : -1;
  if (!arguments.sweep) SL_RETURN_IF_ERROR(Store(tuning, path));
  if (arguments.json) {
    nlohmann::json line = {{"name", arguments.name},
                           {"cpu", tuning.machine.cpu},
                           {"cores", tuning.machine.cores},
                           {"versions", tuning.versions},
                           {"chosen", ToJson(results[chosen])},
                           {"candidates", nlohmann::json::array()}};
    for (const TuneResult& result : results) line["candidates"].push_back(ToJson(result));
    if (!arguments.sweep) line["file"] = path;
    if (excess >= 0) line["stored_excess"] = excess;
    PrintOut("{}\n", JsonText(line));
    return absl::OkStatus();
  }
  PrintTable(results, chosen);
  if (!arguments.sweep) {
    PrintOut("{}: {}; stored in {}\n", arguments.name, ToString(results[chosen].candidate), path);
  } else if (excess >= 0) {
    PrintOut("what is stored takes {:.1f} % more CPU time than the least; nothing was changed\n",
             100 * excess);
  } else {
    PrintOut("nothing was stored; without --sweep it would be\n");
  }
  return absl::OkStatus();
}

}  // namespace

void AddModelsTuneCommand(CLI::App& models, int& exit_code) {
  auto arguments = std::make_shared<TuneArguments>();
  CLI::App* tune = models.add_subcommand(
      "tune", "Measure which backend, threads, instances and batch suit a model here, and keep it");
  tune->add_option("NAME", arguments->name, "of `models list`")->required();
  tune->add_option("--seconds", arguments->seconds, "to measure for, opening the model not counted")
      ->capture_default_str()
      ->check(Between(1, 3600));
  tune->add_flag("--sweep", arguments->sweep,
                 "measure all ways to the end and compare with what is stored; store nothing");
  tune->add_flag("--json", arguments->json, "one JSON object");
  tune->footer(
      "Ways whose CPU time a picture is within 5 % of the least are as good as each other; of "
      "those\n"
      "the one with the most pictures a second is chosen. It is kept in tune.yaml beside the "
      "model's\n"
      "model.yaml and used by run, detect and eval unless they are told otherwise.\n"
      "Examples:\n"
      "  sightline models tune yolox_nano\n"
      "  sightline models tune street --seconds 60 --sweep");
  tune->callback([arguments, &exit_code] { exit_code = ReportFailure(Tune(*arguments)); });
}

}  // namespace sightline::cli
