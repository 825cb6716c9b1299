#include "cli/eval_labels.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/json_text.h"
#include "cli/checks.h"
#include "cli/eval_plots.h"
#include "cli/eval_print.h"
#include "cli/standard_output.h"
#include "evaluate/coco_masks.h"
#include "evaluate/key_points.h"
#include "evaluate/label_files.h"
#include "evaluate/semantic_accuracy.h"
#include "media/image_codec.h"
#include "media/label_map.h"

namespace sightline::cli {
namespace {

using nlohmann::ordered_json;

absl::Status EvalClasses(const LabelEvalArguments& arguments) {
  SL_ASSIGN_OR_RETURN(const evaluate::LabelTruth truth,
                      evaluate::ReadLabelTruth(arguments.labels.first, [](const std::string& path) {
                        return HasImageExtension(path);
                      }));
  SL_ASSIGN_OR_RETURN(const evaluate::LabelOutcome outcome,
                      evaluate::CompareLabels(truth, arguments.labels.second, arguments.top_k));
  if (outcome.report.without_label > 0) {
    Note(fmt::format("{} pictures have no label in the results; they count as wrong",
                     outcome.report.without_label));
  }
  if (outcome.strange_labels > 0) {
    Note(fmt::format("{} labels are of classes that the truth lacks; they count as wrong",
                     outcome.strange_labels));
  }
  if (!arguments.plots.empty()) {
    SL_RETURN_IF_ERROR(WriteLabelPlots(arguments.plots, arguments.labels.second, truth.class_names,
                                       outcome.report));
  }
  if (arguments.json) {
    PrintOut("{}\n",
             JsonText(ordered_json{{"labels", LabelJson(outcome.report, truth.class_names)}}));
    return absl::OkStatus();
  }
  Write(LabelTable(outcome.report, truth.class_names));
  return absl::OkStatus();
}

absl::Status EvalSegments(const LabelEvalArguments& arguments) {
  const auto read = [](const std::string& path) -> absl::StatusOr<evaluate::LabelMap> {
    SL_ASSIGN_OR_RETURN(DecodedLabels labels, ReadLabelMap(path));
    return evaluate::LabelMap{
        .width = labels.width, .height = labels.height, .classes = std::move(labels.classes)};
  };
  SL_ASSIGN_OR_RETURN(
      const evaluate::SemanticOutcome outcome,
      evaluate::CompareLabelMaps(arguments.segments.first, arguments.segments.second,
                                 arguments.ignored_value, read));
  if (outcome.report.pixels == 0) Note("no pixel of the truth counts: all carry the ignored value");
  if (arguments.json) {
    PrintOut(
        "{}\n",
        JsonText(ordered_json{{"segments", SegmentJson(outcome.report, outcome.class_names)}}));
    return absl::OkStatus();
  }
  Write(SegmentTable(outcome.report, outcome.class_names));
  return absl::OkStatus();
}

absl::Status EvalKeyPoints(const LabelEvalArguments& arguments) {
  SL_ASSIGN_OR_RETURN(
      const evaluate::KeyPointOutcome outcome,
      evaluate::CompareKeyPoints(arguments.key_points.first, arguments.key_points.second));
  if (outcome.points != 17) {
    Note(fmt::format("objects have {} key points, not COCO's 17: all sigmas are 1/{}",
                     outcome.points, outcome.points));
  }
  if (arguments.json) {
    PrintOut("{}\n",
             JsonText(ordered_json{{"key_points", BoxJson(outcome.report, outcome.class_names)}}));
    return absl::OkStatus();
  }
  PrintOut("{} pictures\n", outcome.report.pictures);
  Write(BoxTable(outcome.report, outcome.class_names, "key points"));
  return absl::OkStatus();
}

absl::Status EvalMasks(const LabelEvalArguments& arguments) {
  SL_ASSIGN_OR_RETURN(const evaluate::MaskOutcome outcome,
                      evaluate::CompareMasks(arguments.masks.first, arguments.masks.second));
  if (arguments.json) {
    PrintOut("{}\n",
             JsonText(ordered_json{{"masks", BoxJson(outcome.report, outcome.class_names)}}));
    return absl::OkStatus();
  }
  PrintOut("{} pictures\n", outcome.report.pictures);
  Write(BoxTable(outcome.report, outcome.class_names, "masks"));
  return absl::OkStatus();
}

}  // namespace

void AddLabelEvalOptions(CLI::App& command, LabelEvalArguments& arguments) {
  CLI::Option* const labels = command.add_option(
      "--labels", arguments.labels,
      "Classes of whole pictures: a folder with one folder for every class, or CSV or JSON lines "
      "(image, label), and results as CSV or JSON lines (image, label, score)");
  labels->type_name("TRUTH RESULTS");
  command.add_option("--top", arguments.top_k, "With --labels: the k of top-k")
      ->check(CLI::Range(1, 1000))
      ->needs(labels)
      ->capture_default_str();
  CLI::Option* const segments =
      command.add_option("--segments", arguments.segments,
                         "Classes of every pixel: two folders of PNG label maps of the same names");
  segments->type_name("TRUTH RESULTS");
  command
      .add_option("--ignore", arguments.ignored_value,
                  "With --segments: the value of pixels that do not count")
      ->check(CLI::Range(0, 65535))
      ->needs(segments)
      ->capture_default_str();
  command.add_option("--keypoints", arguments.key_points, "Key points in COCO's JSON")
      ->type_name("TRUTH RESULTS");
  command.add_option("--masks", arguments.masks, "Outlines of objects in COCO's JSON")
      ->type_name("TRUTH RESULTS");
}

absl::Status EvalLabels(const LabelEvalArguments& arguments) {
  if (!arguments.labels.first.empty()) return EvalClasses(arguments);
  if (!arguments.segments.first.empty()) return EvalSegments(arguments);
  if (!arguments.masks.first.empty()) return EvalMasks(arguments);
  return EvalKeyPoints(arguments);
}

}  // namespace sightline::cli
