// sightline eval: how well a run, a detector or a tracker did, where the truth is known.
#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/json_text.h"
#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/eval_labels.h"
#include "cli/eval_pictures.h"
#include "cli/eval_print.h"
#include "cli/standard_output.h"
#include "evaluate/mot_files.h"
#include "evaluate/run_accuracy.h"

namespace sightline::cli {
namespace {

using nlohmann::ordered_json;

struct EvalArguments {
  std::vector<std::pair<std::string, std::string>> mot;
  std::pair<std::string, std::string> truth;
  PictureEvalArguments pictures;
  LabelEvalArguments labels;
  std::string rules = "auto";
  std::string camera;
  std::vector<std::string> classes;
  std::vector<std::string> lines;
  std::string plots;
  double least_visibility = -1;
  double tolerance_s = 1;
  bool all_frames = false;
  bool json = false;
};

// A short name for a sequence: of MOTChallenge's folders the sequence's, else the file's.
std::string SequenceName(const std::string& truth) {
  namespace fs = std::filesystem;
  const fs::path file = evaluate::MotTruthFile(truth);
  if (file.filename() == "gt.txt") {
    const fs::path folder = fs::absolute(file).parent_path();
    const fs::path sequence = folder.filename() == "gt" ? folder.parent_path() : folder;
    if (sequence.has_filename()) return sequence.filename().string();
  }
  return file.stem().string();
}

absl::StatusOr<NamedMotReport> CompareSequence(const std::string& truth_path,
                                               const std::string& result_path,
                                               const EvalArguments& arguments) {
  static const std::map<std::string, evaluate::MotRules> kRules = {
      {"auto", evaluate::MotRules::kAuto},
      {"mot15", evaluate::MotRules::kMot15},
      {"mot17", evaluate::MotRules::kMot17},
      {"mot20", evaluate::MotRules::kMot20}};
  SL_ASSIGN_OR_RETURN(const auto truth, evaluate::ReadMotTable(evaluate::MotTruthFile(truth_path)));
  SL_ASSIGN_OR_RETURN(const auto found, evaluate::ReadMotTable(result_path));
  evaluate::MotComparison comparison;
  comparison.rules = kRules.at(arguments.rules);
  if (arguments.least_visibility >= 0) comparison.least_visibility = arguments.least_visibility;
  const absl::StatusOr<evaluate::MotOutcome> outcome =
      evaluate::CompareMot(truth, found, comparison);
  if (!outcome.ok()) {
    return WithContext(outcome.status(), fmt::format("{} and {}", truth_path, result_path));
  }
  const std::string name = SequenceName(truth_path);
  if (outcome->last_found_frame > outcome->last_true_frame) {
    Note(
        fmt::format("{}: results go on to frame {}, the truth ends at {}; what is found later is "
                    "false",
                    name, outcome->last_found_frame, outcome->last_true_frame));
  }
  if (outcome->report.truth_boxes == 0) {
    Note(fmt::format("{}: the truth has no box to be found under the rules {}", name,
                     outcome->rules == evaluate::MotRules::kMot15   ? "mot15"
                     : outcome->rules == evaluate::MotRules::kMot17 ? "mot17"
                                                                    : "mot20"));
  }
  return NamedMotReport{name, outcome->report};
}

absl::Status EvalMot(const EvalArguments& arguments) {
  std::vector<NamedMotReport> rows;
  std::vector<evaluate::MotReport> reports;
  for (const auto& [truth, results] : arguments.mot) {
    SL_ASSIGN_OR_RETURN(NamedMotReport row, CompareSequence(truth, results, arguments));
    reports.push_back(row.report);
    rows.push_back(std::move(row));
  }
  const NamedMotReport all{"all", evaluate::Combine(reports)};
  if (arguments.json) {
    ordered_json sequences = ordered_json::array();
    for (const NamedMotReport& row : rows) sequences.push_back(TrackJson(row));
    PrintOut("{}\n", JsonText(ordered_json{{"tracks", TrackJson(all)}, {"sequences", sequences}}));
    return absl::OkStatus();
  }
  if (rows.size() > 1) rows.push_back(all);
  Write(TrackTable(rows));
  return absl::OkStatus();
}

absl::StatusOr<evaluate::RunComparison> ComparisonOf(const EvalArguments& arguments) {
  evaluate::RunComparison comparison;
  comparison.camera = arguments.camera;
  comparison.classes = arguments.classes;
  comparison.all_frames = arguments.all_frames;
  comparison.crossing_tolerance_s = arguments.tolerance_s;
  if (arguments.least_visibility >= 0) comparison.least_visibility = arguments.least_visibility;
  for (const std::string& line : arguments.lines) {
    const size_t equals = line.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == line.size()) {
      return InvalidArgument("--line {}: expected TRUTH=RULE, such as line1=gate", line);
    }
    comparison.line_names[line.substr(0, equals)] = line.substr(equals + 1);
  }
  return comparison;
}

void PrintRun(const evaluate::RunOutcome& outcome, const EvalArguments& arguments,
              const std::map<int32_t, std::string>& names) {
  std::vector<NamedMotReport> rows;
  for (const auto& [class_id, report] : outcome.tracks) {
    if (report.truth_boxes > 0 || report.found_boxes > 0) {
      rows.push_back({names.at(class_id), report});
    }
  }
  const NamedMotReport all{"all", outcome.all_tracks};
  if (arguments.json) {
    ordered_json json = {{"camera", outcome.camera},
                         {"true_frames", outcome.true_frames},
                         {"judged_frames", outcome.judged_frames},
                         {"frames_without_result", outcome.frames_without_result},
                         {"frames_beyond_truth", outcome.frames_beyond_truth},
                         {"boxes", BoxJson(outcome.boxes, names)}};
    if (outcome.has_tracks) {
      json["tracks"] = TrackJson(all);
      json["tracks_by_class"] = ordered_json::array();
      for (const NamedMotReport& row : rows) json["tracks_by_class"].push_back(TrackJson(row));
    }
    if (outcome.has_crossings) json["crossings"] = CrossingJson(outcome.crossings);
    json["classes_not_judged"] = outcome.strange_classes;
    PrintOut("{}\n", JsonText(json));
    return;
  }
  PrintOut("{}: {} of {} frames judged\n\n", outcome.camera, outcome.judged_frames,
           outcome.true_frames);
  Write(BoxTable(outcome.boxes, names));
  if (outcome.has_tracks) {
    rows.push_back(all);
    Write("\n" + TrackTable(rows));
  }
  if (outcome.has_crossings) Write("\n" + CrossingTable(outcome.crossings));
}

absl::Status EvalRun(const EvalArguments& arguments) {
  SL_ASSIGN_OR_RETURN(const evaluate::RunComparison comparison, ComparisonOf(arguments));
  SL_ASSIGN_OR_RETURN(const evaluate::TruthSequence truth,
                      evaluate::ReadTruthSequence(arguments.truth.first));
  SL_ASSIGN_OR_RETURN(const evaluate::RunOutcome outcome,
                      evaluate::CompareRun(truth, arguments.truth.second, comparison));
  std::map<int32_t, std::string> names;
  for (size_t i = 0; i < outcome.classes.size(); ++i) {
    names[static_cast<int32_t>(i)] = outcome.classes[i];
  }
  PrintRun(outcome, arguments, names);
  if (outcome.frames_without_result > 0) {
    Note(
        fmt::format("{} frames of the truth have no result (skipped, dropped or after the end of "
                    "the run) and are {}",
                    outcome.frames_without_result,
                    arguments.all_frames ? "judged as frames in which nothing was found"
                                         : "not judged; --all-frames judges them, too"));
  }
  if (outcome.frames_beyond_truth > 0) {
    Note(fmt::format("{} frames come after the end of the truth and are not judged",
                     outcome.frames_beyond_truth));
  }
  for (const auto& [name, boxes] : outcome.strange_classes) {
    Note(fmt::format(
        "{} boxes of class \"{}\" are not judged: {}", boxes, name,
        arguments.classes.empty() ? "the truth knows no such class" : "it is none of --classes"));
  }
  return absl::OkStatus();
}

int RunEval(EvalArguments arguments) {
  PictureEvalArguments& pictures = arguments.pictures;
  pictures.classes = arguments.classes;
  pictures.json = arguments.json;
  pictures.plots = arguments.labels.plots = arguments.plots;
  arguments.labels.json = arguments.json;
  const bool truth = !arguments.truth.first.empty();
  const int given = (arguments.mot.empty() ? 0 : 1) + (pictures.with_results() ? 1 : 0) +
                    (pictures.with_model() ? 1 : 0) + (truth ? 1 : 0) + arguments.labels.given();
  if (given != 1) {
    return Report(
        InvalidArgument("eval wants one of --truth TRUTH RESULTS, --mot TRUTH RESULTS, "
                        "--detections TRUTH RESULTS or "
                        "--model MODEL --images TRUTH; sightline eval --help shows each"));
  }
  if (!arguments.classes.empty() && !truth && !pictures.with_results() && !pictures.with_model()) {
    return Report(InvalidArgument("--classes goes with --truth, --detections and --images only"));
  }
  const bool drawn =
      pictures.with_results() || pictures.with_model() || !arguments.labels.labels.first.empty();
  if (!arguments.plots.empty() && !drawn) {
    return Report(InvalidArgument("--plots goes with --detections, --images and --labels only"));
  }
  // Whatever is wrong with the files is a failure, not a mistake in the usage.
  if (!arguments.mot.empty()) return ReportFailure(EvalMot(arguments));
  if (arguments.labels.given() > 0) return ReportFailure(EvalLabels(arguments.labels));
  return ReportFailure(truth ? EvalRun(arguments) : EvalPictures(pictures));
}

}  // namespace

void AddEvalCommand(CLI::App& app, int& exit_code) {
  auto arguments = std::make_shared<EvalArguments>();
  CLI::App* command = app.add_subcommand(
      "eval", "How well a run, a tracker or a detector did, where truth is known");
  CLI::Option* const truth = command->add_option(
      "--truth", arguments->truth,
      "A clip's truth (folder with gt/gt.txt: sim truth writes it, annotation tools export it) and "
      "a run's folder: boxes, tracks and crossings");
  truth->type_name("TRUTH RESULTS");
  CLI::Option* const mot = command->add_option(
      "--mot", arguments->mot, "Truth and tracks in MOTChallenge format; may be repeated");
  mot->type_name("TRUTH RESULTS");
  AddPictureEvalOptions(*command, arguments->pictures);
  AddLabelEvalOptions(*command, arguments->labels);
  command
      ->add_option("--rules", arguments->rules,
                   "With --mot: what counts; auto looks whether the truth has classes")
      ->check(CLI::IsMember({"auto", "mot15", "mot17", "mot20"}))
      ->needs(mot)
      ->capture_default_str();
  command
      ->add_option("--min-visibility", arguments->least_visibility,
                   "Who shows less than this part need not be found (default: 0.1 with --truth, 0 "
                   "with --mot)")
      ->check(Between(0, 1));
  command->add_option("--camera", arguments->camera, "With --truth: which camera of the results")
      ->needs(truth);
  command
      ->add_option("--classes", arguments->classes,
                   "With --truth, --detections and --images: judge only these (person,car); "
                   "default: all that the truth knows")
      ->delimiter(',');
  command
      ->add_option("--line", arguments->lines,
                   "With --truth: LINE=RULE, the truth's line and the rule of that line in the "
                   "results, where their names differ; may be repeated")
      ->allow_extra_args(false)
      ->needs(truth);
  command
      ->add_option("--tolerance", arguments->tolerance_s,
                   "With --truth: how many seconds a crossing may be early or late")
      ->check(Between(0, 3600))
      ->needs(truth)
      ->capture_default_str();
  command
      ->add_flag("--all-frames", arguments->all_frames,
                 "With --truth: frames without results count as frames where nothing was found")
      ->needs(truth);
  command
      ->add_option("--plots", arguments->plots,
                   "With --detections, --images and --labels: folder for precision_recall.png and "
                   "confusion.png")
      ->check(NotEmpty());
  command->add_flag("--json", arguments->json, "All figures as one line of JSON");
  command->footer(
      "Examples:\n"
      "  sightline sim truth 'sim://street?seed=7' --for 60s --line 320,0,320,360 --out truth\n"
      "  sightline run --source 'sim://street?seed=7&pace=none&duration=60s' --model truth --out "
      "out\n"
      "  sightline eval --truth truth out\n"
      "  sightline eval --mot MOT17-02/gt/gt.txt tracks.txt\n"
      "  sightline eval --detections instances.json results.json\n"
      "  sightline eval --detections dataset/ runs/detect/val/labels\n"
      "  sightline eval --model yolox.onnx --images dataset/ --split val\n"
      "Figures: mAP as COCO (pycocotools), MOTA, IDF1 and HOTA as TrackEval.");
  command->callback([arguments, &exit_code] { exit_code = RunEval(*arguments); });
}

}  // namespace sightline::cli
