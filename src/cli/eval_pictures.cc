#include "cli/eval_pictures.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>

#include "base/json_text.h"
#include "cli/checks.h"
#include "cli/eval_augment.h"
#include "cli/eval_model.h"
#include "cli/eval_plots.h"
#include "cli/eval_print.h"
#include "cli/run_options.h"
#include "cli/standard_output.h"
#include "evaluate/class_names.h"
#include "evaluate/labelled_pictures.h"
#include "evaluate/perturb.h"

namespace sightline::cli {
namespace {

using nlohmann::ordered_json;

absl::StatusOr<evaluate::LabelledPictures> ReadTruth(const PictureEvalArguments& arguments) {
  const std::string& path =
      arguments.with_results() ? arguments.detections.first : arguments.images;
  SL_ASSIGN_OR_RETURN(
      evaluate::LabelledPictures truth,
      evaluate::ReadLabelledPictures(path, {.format = arguments.format, .split = arguments.split},
                                     PictureFileAccess()));
  SL_RETURN_IF_ERROR(evaluate::KeepClasses(arguments.classes, &truth));
  for (const std::string& remark : truth.remarks) Note(remark);
  return truth;
}

// A model and how it looks at the pictures of the truth.
class ModelJudge {
 public:
  static absl::StatusOr<ModelJudge> Create(const PictureEvalArguments& arguments,
                                           const evaluate::LabelledPictures& truth);
  // What it finds in the pictures; in perturbed ones when `perturb` says how.
  absl::StatusOr<evaluate::FoundInPictures> Find(
      const evaluate::LabelledPictures& truth,
      const std::optional<evaluate::PerturbOptions>& perturb);

 private:
  ModelJudge(StartedModel model, JudgedClasses classes, std::vector<Look> looks, MergeBy merge)
      : model_(std::move(model)),
        classes_(std::move(classes)),
        looks_(std::move(looks)),
        merge_(merge) {}

  StartedModel model_;
  JudgedClasses classes_;
  std::vector<Look> looks_;
  MergeBy merge_;
};

absl::StatusOr<ModelJudge> ModelJudge::Create(const PictureEvalArguments& arguments,
                                              const evaluate::LabelledPictures& truth) {
  std::vector<Look> looks = LooksOf(arguments.tta);
  SL_ASSIGN_OR_RETURN(StartedModel model, StartModel({.model = arguments.model,
                                                      .backend = arguments.backend,
                                                      .confidence = arguments.confidence,
                                                      .nms_iou = arguments.nms_iou,
                                                      .threads = arguments.threads}));
  if (model.stateful) {
    return InvalidArgument(
        "the model {} follows a camera from frame to frame; single pictures tell nothing about it. "
        "Evaluate a run of it with --truth",
        arguments.model);
  }
  SL_ASSIGN_OR_RETURN(JudgedClasses classes,
                      JudgedClasses::Create(*model.labels, truth.class_names));
  if (!classes.unknown_to_model().empty()) {
    Note(fmt::format(
        "{} classes of the truth are none of the model's, so all of them is missed "
        "(--classes judges some only): {}",
        classes.unknown_to_model().size(), fmt::join(classes.unknown_to_model(), ", ")));
  }
  return ModelJudge(std::move(model), std::move(classes), std::move(looks),
                    arguments.merge == "nms" ? MergeBy::kNms : MergeBy::kWeightedBoxes);
}

absl::StatusOr<Frame> Perturbed(evaluate::PerturbOptions options, size_t picture,
                                const Frame& frame) {
  options.picture = picture;
  const uint8_t* const pixels = frame.image.planes[0];
  const auto width = static_cast<size_t>(frame.image.width);
  evaluate::BgrImage image{frame.image.width,
                           frame.image.height,
                           {pixels, pixels + width * 3 * static_cast<size_t>(frame.image.height)}};
  SL_ASSIGN_OR_RETURN(image, evaluate::Perturb(options, std::move(image), ThroughJpeg));
  return FrameOfBgr(image.width, image.height, std::move(image.bgr));
}

absl::StatusOr<evaluate::FoundInPictures> ModelJudge::Find(
    const evaluate::LabelledPictures& truth,
    const std::optional<evaluate::PerturbOptions>& perturb) {
  // Boxes of one object in several looks; as both merging methods' authors have it.
  const float merge_iou = merge_ == MergeBy::kWeightedBoxes ? 0.55f : 0.5f;
  evaluate::FoundInPictures found(truth.pictures.size());
  std::vector<std::vector<Detection>> by_look(looks_.size());
  std::vector<std::pair<int, int>> sizes(truth.pictures.size());
  Frame picture;  // of the looks that are read now
  const auto read = [&](size_t i) -> absl::StatusOr<Frame> {
    const size_t at = i / looks_.size();
    if (i % looks_.size() == 0) {
      SL_ASSIGN_OR_RETURN(picture, ReadLabelledPicture(truth.pictures[at]));
      if (perturb) {
        SL_ASSIGN_OR_RETURN(picture, Perturbed(*perturb, at, picture));
      }
    }
    return SeeAs(looks_[i % looks_.size()], picture);
  };
  const auto take = [&](size_t i, const Frame& frame, const std::vector<Detection>& detections) {
    const Look& look = looks_[i % looks_.size()];
    std::vector<Detection>& here = by_look[i % looks_.size()];
    here = detections;
    auto& [width, height] = sizes[i / looks_.size()];
    if (i % looks_.size() == 0)
      std::tie(width, height) = std::pair(frame.image.width, frame.image.height);
    if (looks_.size() > 1) ToPicture(look, width, height, &here);
    if (i % looks_.size() + 1 < looks_.size()) return absl::OkStatus();
    for (const Detection& one : MergeLooks(by_look, merge_, merge_iou)) {
      classes_.Take(one, &found[i / looks_.size()]);
    }
    return absl::OkStatus();
  };
  SL_RETURN_IF_ERROR(DetectInOrder(model_, truth.pictures.size() * looks_.size(), read, take));
  return found;
}

// The truth as it is in the perturbed pictures.
evaluate::LabelledPictures PerturbedTruth(evaluate::PerturbOptions options,
                                          const evaluate::LabelledPictures& truth) {
  evaluate::LabelledPictures perturbed = truth;
  for (size_t i = 0; i < truth.pictures.size(); ++i) {
    options.picture = i;
    evaluate::LabelledPicture& picture = perturbed.pictures[i];
    picture.truth =
        evaluate::PerturbTruth(options, picture.width, picture.height, truth.pictures[i].truth);
  }
  return perturbed;
}

std::vector<std::string> PerturbationWords() {
  std::vector<std::string> words = {"all"};
  for (const evaluate::Perturbation kind : evaluate::kPerturbations) {
    words.emplace_back(evaluate::ToString(kind));
  }
  return words;
}

// In their own order, each once.
std::vector<evaluate::Perturbation> KindsOf(const PictureEvalArguments& arguments) {
  const std::set<std::string_view> words(arguments.perturb.begin(), arguments.perturb.end());
  std::vector<evaluate::Perturbation> kinds;
  for (const evaluate::Perturbation kind : evaluate::kPerturbations) {
    if (words.contains("all") || words.contains(evaluate::ToString(kind))) kinds.push_back(kind);
  }
  return kinds;
}

absl::StatusOr<std::vector<RobustnessRow>> JudgeRobustness(const PictureEvalArguments& arguments,
                                                           const evaluate::LabelledPictures& truth,
                                                           ModelJudge& judge) {
  std::vector<RobustnessRow> rows;
  for (const evaluate::Perturbation kind : KindsOf(arguments)) {
    for (int severity = 1; severity <= evaluate::kSeverities; ++severity) {
      const evaluate::PerturbOptions options{
          .kind = kind, .severity = severity, .seed = arguments.seed};
      SL_ASSIGN_OR_RETURN(const evaluate::FoundInPictures found, judge.Find(truth, options));
      SL_ASSIGN_OR_RETURN(const evaluate::DetectionReport report,
                          CompareBoxes(PerturbedTruth(options, truth), found));
      rows.push_back({std::string(evaluate::ToString(kind)), severity, report});
    }
  }
  return rows;
}

absl::StatusOr<evaluate::FoundInPictures> FindInFile(const PictureEvalArguments& arguments,
                                                     const evaluate::LabelledPictures& truth) {
  SL_ASSIGN_OR_RETURN(evaluate::ReadBoxes read,
                      evaluate::ReadFoundBoxes(truth, arguments.detections.second));
  if (read.strange_boxes > 0) {
    Note(fmt::format("{} boxes are not judged: {}", read.strange_boxes,
                     arguments.classes.empty() ? "the truth has no such class"
                                               : "their class is none of --classes"));
  }
  return std::move(read.found);
}

}  // namespace

void AddPictureEvalOptions(CLI::App& command, PictureEvalArguments& arguments) {
  command
      .add_option("--detections", arguments.detections,
                  "Labelled pictures (a folder of YOLO, Pascal VOC or COCO, or COCO's JSON) and "
                  "results (COCO's JSON, or a folder of YOLO's text files with confidences)")
      ->type_name("TRUTH RESULTS");
  CLI::Option* const model = command.add_option(
      "--model", arguments.model, "With --images: the model to judge, as of `sightline detect`");
  CLI::Option* const images =
      command
          .add_option("--images", arguments.images,
                      "With --model: labelled pictures to run it over, as of --detections")
          ->needs(model);
  model->needs(images);
  command
      .add_option("--format", arguments.format,
                  "Of the labelled pictures, where a folder could be several")
      ->check(CLI::IsMember({"auto", "coco", "yolo", "voc"}))
      ->capture_default_str();
  command.add_option("--split", arguments.split,
                     "Which of the labelled pictures: train, val, test of data.yaml, a list of "
                     "ImageSets/Main, or all (default: val where data.yaml has it)");
  command
      .add_option("--confidence", arguments.confidence,
                  "With --model: least confidence; precision is averaged over the unsure, too")
      ->check(Between(0, 1))
      ->needs(model)
      ->capture_default_str();
  command
      .add_option("--nms", arguments.nms_iou, "With --model: IoU above which the weaker is dropped")
      ->check(Between(0, 1))
      ->needs(model);
  command
      .add_option(
          "--perturb", arguments.perturb,
          "With --model: judge it on worse pictures, too: all, or some of blur, noise, jpeg, "
          "brightness, rotation, fog, patches")
      ->delimiter(',')
      ->check(CLI::IsMember(PerturbationWords()))
      ->needs(model);
  command
      .add_option("--seed", arguments.seed,
                  "With --perturb: another seed gives other noise, fog, ...")
      ->check(WholeBetween(0, 1'000'000'000'000))
      ->needs(model)
      ->capture_default_str();
  command
      .add_option("--tta", arguments.tta,
                  "With --model: look at each picture several times and merge what is found: flip "
                  "(mirrored), scale (smaller)")
      ->delimiter(',')
      ->check(CLI::IsMember({"flip", "scale"}))
      ->needs(model);
  command
      .add_option("--merge", arguments.merge,
                  "With --tta: weighted boxes fusion, or non-maximum suppression")
      ->check(CLI::IsMember({"wbf", "nms"}))
      ->needs(model)
      ->capture_default_str();
  AddBackendOption(command, arguments.backend)->needs(model);
  command
      .add_option("--threads", arguments.threads,
                  "With --model: inference threads (default: one a core)")
      ->check(CLI::Range(1, 1024))
      ->needs(model);
}

absl::Status EvalPictures(const PictureEvalArguments& arguments) {
  SL_ASSIGN_OR_RETURN(const evaluate::LabelledPictures truth, ReadTruth(arguments));
  evaluate::FoundInPictures found;
  std::vector<RobustnessRow> rows;
  if (arguments.with_model()) {
    SL_ASSIGN_OR_RETURN(ModelJudge judge, ModelJudge::Create(arguments, truth));
    SL_ASSIGN_OR_RETURN(found, judge.Find(truth, std::nullopt));
    SL_ASSIGN_OR_RETURN(rows, JudgeRobustness(arguments, truth, judge));
  } else {
    SL_ASSIGN_OR_RETURN(found, FindInFile(arguments, truth));
  }
  SL_ASSIGN_OR_RETURN(const evaluate::DetectionReport report, CompareBoxes(truth, found));
  if (!arguments.plots.empty()) {
    const std::string& what =
        arguments.with_model() ? arguments.model : arguments.detections.second;
    SL_RETURN_IF_ERROR(WriteBoxPlots(arguments.plots, what, truth, found, report));
  }
  if (arguments.json) {
    ordered_json json = {{"truth", truth.format}, {"boxes", BoxJson(report, truth.class_names)}};
    if (!rows.empty()) json["robustness"] = RobustnessJson(report, rows);
    PrintOut("{}\n", JsonText(json));
    return absl::OkStatus();
  }
  PrintOut("{} pictures\n", report.pictures);
  Write(BoxTable(report, truth.class_names));
  if (!rows.empty()) Write("\n" + RobustnessTable(report, rows));
  return absl::OkStatus();
}

}  // namespace sightline::cli
