// `sightline models check`: a model over some pictures: what it finds, drawn, how sure it is, and
// whether its description or another reading of it fits better (detect/model_check.h).
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/json_text.h"
#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/composition.h"
#include "cli/drawn_output.h"
#include "cli/eval_model.h"
#include "cli/model_trial.h"
#include "cli/standard_output.h"
#include "detect/detector_factory.h"
#include "detect/model_check.h"
#include "infer/onnx_file.h"
#include "media/image_codec.h"
#include "media/open_source.h"

namespace sightline::cli {
namespace {

using nlohmann::ordered_json;

constexpr uint64_t kMostPictures = 10'000;

struct CheckOptions {
  std::string model;
  std::vector<std::string> images;
  std::vector<std::string> sets;
  std::string out;
  uint64_t limit = 100;
  bool no_pictures = false;
  bool json = false;
};

absl::StatusOr<ModelSpec> WantedSpec(const CheckOptions& options) {
  ModelPackage package;
  SL_ASSIGN_OR_RETURN(package.spec, FindModelSpec(
                                        options.model, [] { return DefaultBackend(); },
                                        ModelStore::Default(), TrialWith("")));
  for (const std::string& set : options.sets) {
    const size_t equals = set.find('=');
    if (equals == std::string::npos) {
      return InvalidArgument("--set {}: KEY=VALUE is expected, such as input.channels=rgb", set);
    }
    SL_RETURN_IF_ERROR(SetInModelPackage(set.substr(0, equals), set.substr(equals + 1), package));
  }
  return std::move(package.spec);
}

// The pictures of files, folders and globs, evenly chosen where there are more than wanted.
absl::StatusOr<std::vector<std::string>> PicturesOf(const CheckOptions& options) {
  std::vector<std::string> files;
  for (const std::string& input : options.images) {
    const std::vector<std::string> some = LocalFilesOf(input);
    const size_t before = files.size();
    std::ranges::copy_if(some, std::back_inserter(files), IsStillPicture);
    if (files.size() == before) return NotFound("{} is no picture, and holds none", input);
  }
  std::vector<std::string> chosen;
  const size_t most = std::min<size_t>(files.size(), options.limit);
  for (size_t i = 0; i < most; ++i) chosen.push_back(files[i * files.size() / most]);
  return chosen;
}

// The score below which the part `share` of them lies; `scores` fall.
float Quantile(std::span<const float> scores, double share) {
  const auto from_top =
      static_cast<size_t>((1 - share) * static_cast<double>(scores.size() - 1) + 0.5);
  return scores[std::min(from_top, scores.size() - 1)];
}

std::string ScoreWords(const std::vector<float>& scores) {
  if (scores.empty()) return "no scores";
  return fmt::format("scores {:.3f} to {:.3f}, median {:.3f}, nine of ten below {:.3f}",
                     scores.back(), scores.front(), Quantile(scores, 0.5), Quantile(scores, 0.9));
}

ordered_json ScoreJson(const std::vector<float>& scores) {
  if (scores.empty()) return nullptr;
  return {{"min", scores.back()},
          {"median", Quantile(scores, 0.5)},
          {"p90", Quantile(scores, 0.9)},
          {"max", scores.front()}};
}

ordered_json ReadingJson(const ReadingReport& report) {
  ordered_json json = {{"pictures", report.pictures},
                       {"pictures_without", report.pictures_without},
                       {"results", report.scores.size()},
                       {"scores", ScoreJson(report.scores)},
                       {"agreed_confidence", report.agreed_sum()}};
  if (!report.status.ok()) json["error"] = std::string(MessageOf(report.status));
  return json;
}

// How many of the scores lie in each tenth.
std::string Histogram(const std::vector<float>& scores) {
  std::vector<size_t> tenths(10);
  for (const float s : scores) ++tenths[std::min<size_t>(9, static_cast<size_t>(s * 10))];
  const size_t most = std::max<size_t>(1, *std::ranges::max_element(tenths));
  std::string text;
  for (size_t i = 0; i < tenths.size(); ++i) {
    if (tenths[i] == 0) continue;
    text += fmt::format("  {:.1f} to {:.1f}  {:>6}  {}\n", 0.1 * static_cast<double>(i),
                        0.1 * static_cast<double>(i + 1), tenths[i],
                        std::string((tenths[i] * 40 + most - 1) / most, '#'));
  }
  return text;
}

struct PictureResult {
  std::string file;
  std::vector<float> scores;
  absl::Status status;
};

void PrintReport(const ModelSpec& spec, const ModelCheckReport& report,
                 const std::vector<std::string>& warnings) {
  const ReadingReport& found = report.described;
  PrintOut("\n{}: {} results in {} pictures, {} pictures ({:.0f} %) with none; {}\n", spec.name,
           found.scores.size(), found.pictures, found.pictures_without,
           found.pictures == 0 ? 0.0
                               : 100.0 * static_cast<double>(found.pictures_without) /
                                     static_cast<double>(found.pictures),
           ScoreWords(found.scores));
  Write(Histogram(found.scores));
  if (!found.status.ok()) PrintOut("as described it fails: {}\n", MessageOf(found.status));
  PrintOut("\nread in other ways              results  agreed confidence\n");
  PrintOut("  {:<28}  {:>7}  {:>17.2f}\n", "as described", found.scores.size(), found.agreed_sum());
  for (const ReadingReport& other : report.others) {
    const std::string lines = fmt::format("{}", fmt::join(other.reading.lines, ", "));
    if (!other.status.ok()) {
      PrintOut("  {}: {}\n", lines, MessageOf(other.status));
      continue;
    }
    const ReadingComparison comparison = CompareReadings(found, other);
    PrintOut("  {:<28}  {:>7}  {:>17.2f}  {:+.0f} %\n", lines, other.scores.size(),
             other.agreed_sum(), 100 * std::min(comparison.gain, 99.99));
  }
  for (const std::string& warning : warnings) PrintOut("warning: {}\n", warning);
  if (warnings.empty()) PrintOut("nothing speaks against its description\n");
}

void PrintJson(const ModelSpec& spec, const ModelCheckReport& report,
               const std::vector<PictureResult>& pictures,
               const std::vector<std::string>& warnings) {
  ordered_json json = {{"model", spec.name}, {"described", ReadingJson(report.described)}};
  json["readings"] = ordered_json::array();
  for (const ReadingReport& other : report.others) {
    const ReadingComparison comparison = CompareReadings(report.described, other);
    ordered_json reading = {{"key", other.reading.key}, {"lines", other.reading.lines}};
    reading.update(ReadingJson(other));
    reading["gain"] = comparison.gain;
    reading["certainty"] = comparison.certainty;
    reading["better"] = comparison.better;
    json["readings"].push_back(std::move(reading));
  }
  json["warnings"] = warnings;
  json["pictures"] = ordered_json::array();
  for (const PictureResult& picture : pictures) {
    ordered_json line = {{"picture", picture.file},
                         {"results", picture.scores.size()},
                         {"scores", ScoreJson(picture.scores)}};
    if (!picture.status.ok()) line["error"] = std::string(MessageOf(picture.status));
    json["pictures"].push_back(std::move(line));
  }
  PrintOut("{}\n", JsonText(json));
}

std::vector<float> ScoresOf(const Detections& found) {
  std::vector<float> scores;
  for (const Detection& d : found.items) scores.push_back(d.confidence);
  if (!found.classes.empty()) scores.push_back(found.classes[0].confidence);
  std::ranges::sort(scores, std::greater<>());
  return scores;
}

absl::Status CheckPicture(const std::string& file, ModelCheck& check, DrawnFolder& folder,
                          PictureResult* result) {
  SL_ASSIGN_OR_RETURN(DecodedImage image, ReadImage(file));
  Frame frame = FrameOfBgr(image.width, image.height, std::move(image.bgr));
  frame.meta.picture = std::make_shared<const std::string>(file);
  Detections found;
  SL_RETURN_IF_ERROR(check.Look(frame, &found));
  result->scores = ScoresOf(found);
  SourceInfo source;
  source.container = "image";
  DrawnOutput drawn(&folder, file, source);
  SL_RETURN_IF_ERROR(drawn.Add(frame, found));
  return drawn.Close();
}

absl::StatusOr<std::vector<std::string>> FileWarnings(const ModelSpec& spec) {
  SL_ASSIGN_OR_RETURN(const OnnxFileInfo info, InspectOnnx(spec.file));
  std::vector<std::string> warnings;
  if (!info.weights_as_inputs.empty()) {
    warnings.push_back(fmt::format(
        "{} weights are listed among the graph's inputs, which makes the model up to 2.4 times "
        "slower: `sightline models add {} --replace` mends that",
        info.weights_as_inputs.size(), spec.file));
  }
  return warnings;
}

absl::Status Check(const CheckOptions& options) {
  SL_ASSIGN_OR_RETURN(const ModelSpec spec, WantedSpec(options));
  SL_ASSIGN_OR_RETURN(const std::vector<std::string> files, PicturesOf(options));
  SL_ASSIGN_OR_RETURN(InferenceBackend * backend, DefaultBackend());
  SL_ASSIGN_OR_RETURN(std::vector<std::string> warnings, FileWarnings(spec));
  SL_ASSIGN_OR_RETURN(const std::unique_ptr<ModelCheck> check, ModelCheck::Create(spec, *backend));
  const std::string out = options.no_pictures    ? ""
                          : !options.out.empty() ? options.out
                                                 : "out/check/" + spec.name;
  SL_ASSIGN_OR_RETURN(const std::unique_ptr<DrawnFolder> folder,
                      DrawnFolder::Create(out, files, spec.file));
  std::vector<PictureResult> pictures;
  size_t failed = 0;
  for (const std::string& file : files) {
    PictureResult& result = pictures.emplace_back();
    result.file = file;
    result.status = CheckPicture(file, *check, *folder, &result);
    failed += !result.status.ok();
    if (options.json) continue;
    if (result.status.ok()) {
      PrintOut("{}: {} results, {}\n", file, result.scores.size(), ScoreWords(result.scores));
    } else {
      PrintOut("{}: {}\n", file, MessageOf(result.status));
    }
  }
  const ModelCheckReport report = check->Report();
  warnings.insert(warnings.end(), report.warnings.begin(), report.warnings.end());
  if (options.json) {
    PrintJson(spec, report, pictures, warnings);
  } else {
    PrintReport(spec, report, warnings);
    if (folder->wanted()) PrintOut("drawn into {}\n", out);
  }
  if (failed == files.size()) {
    return DataLoss("none of {} pictures could be judged: {}", files.size(),
                    MessageOf(pictures[0].status));
  }
  return absl::OkStatus();
}

}  // namespace

void AddModelsCheckCommand(CLI::App& models, int& exit_code) {
  auto options = std::make_shared<CheckOptions>();
  CLI::App* check = models.add_subcommand(
      "check", "Run a model over pictures; say how sure it is, and whether its description fits");
  check->add_option("MODEL", options->model, "name, package folder or ONNX file")->required();
  check->add_option("IMAGES", options->images, "pictures, folders, globs")->required();
  check->add_option("--out", options->out, "folder for drawn pictures (default: out/check/MODEL)")
      ->check(NotEmpty());
  check->add_flag("--no-pictures", options->no_pictures, "draw nothing");
  check->add_option("--limit", options->limit, "how many pictures at most, evenly chosen")
      ->check(WholeBetween(1, kMostPictures))
      ->capture_default_str();
  check
      ->add_option("--set", options->sets,
                   "KEY=VALUE of model.yaml, for this check alone, such as input.channels=rgb")
      ->allow_extra_args(false);
  check->add_flag("--json", options->json, "one JSON object");
  check->footer(
      "Examples:\n"
      "  sightline models check yolox_nano pictures/\n"
      "  sightline models check face a.jpg b.jpg c.jpg --out drawn\n"
      "Without truth: what is found in a picture should be found in its mirror image, too. Ten and "
      "more pictures\n"
      "with objects in them are needed to judge; none of them has to be labelled.");
  check->callback([options, &exit_code] { exit_code = ReportFailure(Check(*options)); });
}

}  // namespace sightline::cli
