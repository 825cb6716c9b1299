#include "cli/calibrate/int8_trial.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <optional>
#include <system_error>
#include <utility>

#include "base/time.h"
#include "base/whole_file.h"
#include "cli/calibrate/int8_worker.h"
#include "cli/calibrate/observed_backend.h"
#include "cli/calibrate/picture_run.h"
#include "cli/eval_model.h"

namespace sightline::cli {
namespace {

namespace fs = std::filesystem;
using evaluate::PictureResults;

constexpr float kMapConfidence = 0.001f;  // as `sightline eval`
constexpr size_t kRoughPictures = 24;     // chosen
constexpr size_t kMostRoughBytes = size_t{256} << 20;
constexpr int kSpeedRounds = 40;
// Of pictures that were calibrated with and chosen by, the loss looks smaller than of others; chosen.
constexpr double kPartOfLimit = 0.7;

class Trial {
 public:
  Trial(const TrialOptions& options, InferenceBackend& backend)
      : options_(options), backend_(backend) {}

  absl::StatusOr<TrialResult> Run(const std::vector<InferenceBackend*>& backends) {
    result_.backend = std::string(backend_.name());
    SL_ASSIGN_OR_RETURN(result_.scratch, ScratchFolder::Make());
    SL_RETURN_IF_ERROR(MatchClasses());
    SL_RETURN_IF_ERROR(OpenWorker());
    SL_RETURN_IF_ERROR(Calibrate());
    SL_RETURN_IF_ERROR(KeepRoughPictures());
    SL_RETURN_IF_ERROR(Search());
    SL_RETURN_IF_ERROR(JudgeChoice());
    SL_RETURN_IF_ERROR(MeasureSpeed(backends));
    return std::move(result_);
  }

 private:
  absl::Status MatchClasses() {
    if (!options_.pictures.labelled) return absl::OkStatus();
    SL_ASSIGN_OR_RETURN(
        const JudgedClasses classes,
        JudgedClasses::Create(*options_.spec.labels, options_.pictures.judge.class_names));
    classes_ = classes;
    return absl::OkStatus();
  }

  absl::Status OpenWorker() {
    SL_ASSIGN_OR_RETURN(const std::string python, PythonForInt8(options_.python, options_.tools,
                                                                options_.stop, options_.say));
    SL_ASSIGN_OR_RETURN(worker_, Int8Worker::Start(python, options_.tools.script, options_.stop));
    SL_ASSIGN_OR_RETURN(OpenedForInt8 opened,
                        worker_->Open(options_.spec.file, result_.scratch->path()));
    result_.layers = std::move(opened.layers);
    result_.versions = std::move(opened.versions);
    return absl::OkStatus();
  }

  float Confidence() const {
    return options_.pictures.labelled ? std::min(kMapConfidence, options_.spec.confidence_threshold)
                                      : options_.spec.confidence_threshold;
  }

  absl::StatusOr<std::vector<PictureResults>> RunOn(const ModelSpec& spec,
                                                    InferenceBackend& backend,
                                                    const evaluate::LabelledPictures& pictures,
                                                    int threads) {
    const size_t count = pictures.pictures.size();
    return RunOver(spec, backend,
                   {.read = [&](size_t i) { return ReadLabelledPicture(pictures.pictures[i]); },
                    .pictures = count,
                    .confidence = Confidence(),
                    .threads = threads,
                    .stop = options_.stop,
                    .progress = [&](size_t done) { options_.progress(done, count); }});
  }

  // What the fp32 model finds, and on the way the values it computes.
  absl::Status Calibrate() {
    options_.say("calibrating: values of the fp32 model");
    ObservedBackend observed(backend_, [this](std::span<const TensorInfo> inputs,
                                              std::span<const std::span<const uint8_t>> bytes) {
      return worker_->Observe(inputs, bytes);
    });
    SL_ASSIGN_OR_RETURN(work_fp32_, RunOn(options_.spec, observed, options_.pictures.work, 1));
    return absl::OkStatus();
  }

  // Those with most results tell most; decoded once, since they are looked at by every model.
  absl::Status KeepRoughPictures() {
    const auto& pictures = options_.pictures.work.pictures;
    const auto results_of = [&](size_t i) {
      return std::ranges::count_if(work_fp32_[i].boxes, [&](const Detection& box) {
        return box.confidence >= options_.spec.confidence_threshold;
      });
    };
    std::vector<size_t> order(pictures.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order,
                             [&](size_t a, size_t b) { return results_of(a) > results_of(b); });
    size_t bytes = 0;
    for (const size_t i : order) {
      if (rough_.size() == kRoughPictures) break;
      SL_ASSIGN_OR_RETURN(Frame frame, ReadLabelledPicture(pictures[i]));
      bytes += 3 * static_cast<size_t>(frame.image.width) * static_cast<size_t>(frame.image.height);
      if (bytes > kMostRoughBytes && !rough_.empty()) break;
      rough_.push_back(std::move(frame));
    }
    SL_ASSIGN_OR_RETURN(rough_fp32_, RunRough(options_.spec));
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<PictureResults>> RunRough(const ModelSpec& spec) {
    return RunOver(spec, backend_,
                   {.read = [this](size_t i) -> absl::StatusOr<Frame> { return rough_[i]; },
                    .pictures = rough_.size(),
                    // Half of it: what is nearly found says something, too.
                    .confidence = options_.spec.confidence_threshold / 2,
                    .threads = options_.threads,
                    .stop = options_.stop});
  }

  absl::StatusOr<ModelSpec> Make(const Int8Choice& choice) {
    ModelSpec spec = options_.spec;
    spec.file = result_.scratch->path() + "/candidate.onnx";
    SL_RETURN_IF_ERROR(worker_->Make(choice, spec.file));
    return spec;
  }

  absl::StatusOr<double> Rough(const Int8Choice& choice) {
    SL_ASSIGN_OR_RETURN(const ModelSpec spec, Make(choice));
    SL_ASSIGN_OR_RETURN(const std::vector<PictureResults> results, RunRough(spec));
    double difference = 0;
    size_t count = 0;
    for (size_t i = 0; i < results.size(); ++i) {
      difference += evaluate::Difference(rough_fp32_[i], results[i]);
      count += rough_fp32_[i].boxes.size() + (rough_fp32_[i].surest_class ? 1 : 0) +
               (rough_fp32_[i].embedding.empty() ? 0 : 1);
    }
    return difference / static_cast<double>(std::max<size_t>(count, 1));
  }

  absl::StatusOr<Int8Verdict> VerdictOn(const evaluate::LabelledPictures& pictures,
                                        const BothResults& results, bool labelled) {
    const float confidence = options_.spec.confidence_threshold;
    if (!labelled) return JudgeByAgreement(results, confidence, options_.limits);
    const auto in_truth = [this](const std::vector<PictureResults>& all) {
      evaluate::FoundInPictures found(all.size());
      for (size_t i = 0; i < all.size(); ++i) {
        for (const Detection& box : all[i].boxes) classes_->Take(box, &found[i]);
      }
      return found;
    };
    return JudgeByMap(pictures, in_truth(results.fp32), in_truth(results.int8),
                      AgreementOf(results, confidence, options_.limits.seed), options_.limits);
  }

  absl::StatusOr<Int8Loss> Judge(const Int8Choice& choice) {
    SL_ASSIGN_OR_RETURN(const ModelSpec spec, Make(choice));
    BothResults both{.fp32 = work_fp32_};
    SL_ASSIGN_OR_RETURN(both.int8, RunOn(spec, backend_, options_.pictures.work, options_.threads));
    SL_ASSIGN_OR_RETURN(const Int8Verdict verdict,
                        VerdictOn(options_.pictures.work, both, options_.pictures.work_labelled));
    const bool agrees = verdict.decisive_agreement <= kPartOfLimit * verdict.agreement_limit;
    return Int8Loss{
        .decisive = verdict.decisive,
        .within = verdict.promoted && agrees && verdict.decisive <= kPartOfLimit * verdict.limit,
        .nearly = verdict.promoted || (agrees && verdict.loss <= verdict.limit / 4)};
  }

  absl::Status Search() {
    const int64_t end_us = Clock::Real().NowMonotonicUs() + options_.search_time_us;
    SL_ASSIGN_OR_RETURN(
        result_.search,
        FindInt8({.layers = result_.layers,
                  .methods = options_.methods,
                  .weight_bits = options_.weight_bits,
                  .rough = [this](const Int8Choice& choice) { return Rough(choice); },
                  .judge = [this](const Int8Choice& choice) { return Judge(choice); },
                  .time_is_up = [end_us] { return Clock::Real().NowMonotonicUs() > end_us; },
                  .say = options_.say,
                  .progress = options_.progress}));
    return absl::OkStatus();
  }

  absl::Status JudgeChoice() {
    const evaluate::LabelledPictures& pictures = options_.pictures.judge;
    SL_ASSIGN_OR_RETURN(ModelSpec spec, Make(result_.search.choice));
    result_.model_file = result_.scratch->path() + "/int8.onnx";
    std::error_code error;
    fs::rename(spec.file, result_.model_file, error);
    if (error) return Internal("{}: {}", result_.model_file, error.message());
    spec.file = result_.model_file;
    BothResults both;
    options_.say("judging: the fp32 model on pictures not seen before");
    SL_ASSIGN_OR_RETURN(both.fp32, RunOn(options_.spec, backend_, pictures, options_.threads));
    options_.say("judging: the INT8 model on the same pictures");
    SL_ASSIGN_OR_RETURN(both.int8, RunOn(spec, backend_, pictures, options_.threads));
    SL_ASSIGN_OR_RETURN(result_.verdict, VerdictOn(pictures, both, options_.pictures.labelled));
    return absl::OkStatus();
  }

  absl::Status MeasureSpeed(const std::vector<InferenceBackend*>& backends) {
    options_.say("measuring how long both take");
    worker_.reset();  // it shall not be in the way
    ModelSpec int8 = options_.spec;
    int8.file = result_.model_file;
    for (InferenceBackend* const backend : backends) {
      const auto ms = InferenceCpuMs(*backend, {options_.spec, int8}, kSpeedRounds);
      if (!ms.ok()) {  // a measurement less; what was judged stands
        options_.say(
            fmt::format("not measured with {}: {}", backend->name(), MessageOf(ms.status())));
        continue;
      }
      result_.speed.push_back({.backend = std::string(backend->name()),
                               .version = backend->version(),
                               .fp32_cpu_ms = (*ms)[0],
                               .int8_cpu_ms = (*ms)[1]});
    }
    return absl::OkStatus();
  }

  const TrialOptions& options_;
  InferenceBackend& backend_;
  TrialResult result_;
  std::optional<JudgedClasses> classes_;
  std::unique_ptr<Int8Worker> worker_;
  std::vector<PictureResults> work_fp32_;
  std::vector<Frame> rough_;
  std::vector<PictureResults> rough_fp32_;
};

}  // namespace

absl::StatusOr<TrialResult> TryInt8(const TrialOptions& options, InferenceBackend& backend,
                                    const std::vector<InferenceBackend*>& backends) {
  return Trial(options, backend).Run(backends);
}

}  // namespace sightline::cli
