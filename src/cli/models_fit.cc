#include "cli/models_fit.h"

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/scratch_folder.h"
#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/composition.h"
#include "cli/sources.h"
#include "cli/standard_output.h"
#include "detect/anomaly_fit.h"
#include "infer/model_store.h"

namespace sightline::cli {
namespace {

struct FitOptions {
  std::string name;
  std::vector<std::string> images;
  int threads = 0;
};

absl::Status AddAll(const std::string& input, AnomalyFitter& fitter) {
  FrameLedger ledger;
  SourceOptions options;
  options.camera = std::make_shared<const CameraInfo>(CameraInfo{.id = "fit", .source = input});
  options.url = input;
  SL_ASSIGN_OR_RETURN(const std::unique_ptr<FrameSource> source,
                      OpenOnce(options, ledger, [] { return false; }));
  if (source->info().live) {
    return InvalidArgument("{} is a camera: good pictures are files", input);
  }
  while (true) {
    SL_ASSIGN_OR_RETURN(const std::optional<Frame> frame, source->Next());
    if (!frame) break;
    SL_RETURN_IF_ERROR(WithContext(fitter.Add(frame->image), input));
  }
  const FrameCounts counts = ledger.Snapshot();
  if (counts.total_dropped() == 0) return absl::OkStatus();
  return DataLoss("{}: {} of {} pictures could not be read", input, counts.total_dropped(),
                  counts.frames_in);
}

absl::Status FitModel(const FitOptions& options) {
  const ModelStore store = ModelStore::Default();
  SL_RETURN_IF_ERROR(CheckModelName(options.name));
  SL_ASSIGN_OR_RETURN(ModelPackage package, store.Find(options.name));
  SL_ASSIGN_OR_RETURN(InferenceBackend * backend, DefaultBackend());
  const int threads = options.threads > 0
                          ? options.threads
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  SL_ASSIGN_OR_RETURN(const auto fitter, AnomalyFitter::Open(package.spec, *backend, threads));
  for (const std::string& input : options.images) SL_RETURN_IF_ERROR(AddAll(input, *fitter));
  SL_ASSIGN_OR_RETURN(const GaussianStatistics statistics, fitter->Finish());
  SL_ASSIGN_OR_RETURN(const auto folder, ScratchFolder::Make());
  const std::string file = folder->path() + "/statistics.bin";
  SL_RETURN_IF_ERROR(WriteStatistics(statistics, file));
  const std::string model_file = package.spec.file;
  package.spec.companion_file = file;
  std::erase_if(package.why, [](const std::string& why) { return why.starts_with("fitted to "); });
  package.why.push_back(fmt::format("fitted to {} good pictures", statistics.pictures));
  SL_ASSIGN_OR_RETURN(const AddedModel added,
                      store.Add(std::move(package), model_file, /*replace=*/true));
  PrintOut("fitted {} to {} pictures: {} numbers at {} x {} places, {}\n", options.name,
           statistics.pictures, statistics.depth, statistics.columns, statistics.rows,
           added.package.spec.companion_file);
  if (statistics.pictures <= statistics.depth) {
    PrintOut(
        "fewer pictures than numbers a place: the covariances rest on little, more pictures tell "
        "more\n");
  }
  return absl::OkStatus();
}

}  // namespace

void AddFitCommand(CLI::App& models, int& exit_code) {
  auto options = std::make_shared<FitOptions>();
  CLI::App* fit = models.add_subcommand(
      "fit", "Show good pictures to a model of the family padim, which says what is unlike them");
  fit->add_option("NAME", options->name, "of a model of `sightline models list`")->required();
  fit->add_option("--images", options->images, "good pictures: a folder, a glob, files, videos")
      ->required()
      ->check(NotEmpty());
  fit->add_option("--threads", options->threads, "inference threads (default: one a core)")
      ->check(CLI::Range(1, 1024));
  fit->footer(
      "Example:\n"
      "  sightline models add features.onnx --name plates --set family=padim\n"
      "  sightline models fit plates --images good/\n"
      "  sightline detect --model plates --out drawn new/\n"
      "Fitting again starts anew.");
  fit->callback([options, &exit_code] {
    const absl::Status status = FitModel(*options);
    exit_code = status.ok() ? 0 : ReportFailure(status);
  });
}

}  // namespace sightline::cli
