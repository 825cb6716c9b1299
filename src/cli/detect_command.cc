// `sightline detect`: pictures and videos in, boxes out; no tracking, no database.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "base/redact.h"
#include "base/thread.h"
#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/drawn_output.h"
#include "cli/prompt_options.h"
#include "cli/run_options.h"
#include "cli/sources.h"
#include "cli/standard_output.h"
#include "cli/started_model.h"
#include "cli/stop_signal.h"
#include "pipeline/reorder_window.h"
#include "store/jsonl_format.h"

namespace sightline::cli {
namespace {

struct DetectOptions {
  std::string model;
  std::string backend;
  std::vector<std::string> inputs;
  std::string out;
  double confidence = -1;
  double nms_iou = -1;
  int threads = 0;
  uint64_t max_frames = 0;
  bool json = false;
  PromptOptions prompts;
};

// One model for all inputs: the same batcher, runners and window as a run's.
class DetectJobs {
 public:
  static absl::StatusOr<std::unique_ptr<DetectJobs>> Create(const DetectOptions& options,
                                                            std::vector<Prompt> prompts);
  // Reads one input to its end, or until `stop`, in order.
  absl::Status Process(const std::string& input, const DetectOptions& options, DrawnFolder* folder,
                       const std::atomic<bool>& stop);

 private:
  absl::Status Print(const std::string& input, const FrameSlot& slot, const DetectOptions& options,
                     DrawnOutput* drawn);

  StartedModel model_;
  std::string line_;
};

absl::StatusOr<std::unique_ptr<DetectJobs>> DetectJobs::Create(const DetectOptions& options,
                                                               std::vector<Prompt> prompts) {
  auto jobs = std::make_unique<DetectJobs>();
  SL_ASSIGN_OR_RETURN(jobs->model_, StartModel({.model = options.model,
                                                .backend = options.backend,
                                                .confidence = options.confidence,
                                                .nms_iou = options.nms_iou,
                                                .threads = options.threads,
                                                .prompts = std::move(prompts)}));
  return jobs;
}

// What a live camera lost on the way is no failure, but said.
void ReportLosses(const std::string& input, const FrameCounts& counts) {
  for (size_t i = 0; i < kDropReasonNames.size(); ++i) {
    if (counts.dropped[i] == 0) continue;
    Log().warn("{}: {} frames dropped ({})", input, counts.dropped[i], kDropReasonNames[i]);
  }
}

absl::Status DetectJobs::Process(const std::string& input, const DetectOptions& options,
                                 DrawnFolder* folder, const std::atomic<bool>& stop) {
  // Passwords in URLs, and bytes that would tear a line.
  HideSecret(input, ShownSource(MaskSecrets(input)));
  FrameLedger ledger;
  SourceOptions source_options;
  source_options.camera =
      std::make_shared<const CameraInfo>(CameraInfo{.id = "detect", .source = input});
  source_options.url = input;
  SL_ASSIGN_OR_RETURN(const std::unique_ptr<FrameSource> source,
                      OpenOnce(source_options, ledger, [&stop] { return stop.load(); }));
  const bool live = source->info().live;
  DrawnOutput drawn(folder, input, source->info());
  ReorderWindow window(model_.in_flight);
  absl::Status read_status;
  const auto read_all = [&] {
    for (uint64_t read = 0; !stop && (options.max_frames == 0 || read < options.max_frames) &&
                            !(options.out.empty() && OutputFailed());
         ++read) {
      absl::StatusOr<std::optional<Frame>> frame = source->Next();
      if (!frame.ok()) read_status = frame.status();
      if (!frame.ok() || !frame->has_value()) break;
      FrameSlot* slot = live ? window.TryReserve() : window.Reserve();
      if (slot == nullptr) {  // a camera does not wait
        ledger.CountDropped(DropReason::kLate);
        continue;
      }
      slot->frame = std::move(**frame);
      if (const absl::Status status = model_.batcher->Submit(slot); !status.ok())
        slot->Done(status);
    }
    window.Close();
  };
  SL_ASSIGN_OR_RETURN(std::thread reader, StartThread("read", read_all));
  absl::Status first;
  while (FrameSlot* slot = window.NextInOrder()) {
    const absl::Status status =
        slot->status.ok() ? Print(input, *slot, options, &drawn) : slot->status;
    if (first.ok()) first = status;
    window.Release(slot);
  }
  reader.join();
  if (const absl::Status closed = drawn.Close(); first.ok()) first = closed;
  if (first.ok()) first = read_status;
  if (live) {
    ReportLosses(input, ledger.Snapshot());
  } else if (first.ok() && ledger.Snapshot().total_dropped() > 0) {
    first = DataLoss("{}: {} of {} pictures could not be read", input,
                     ledger.Snapshot().total_dropped(), ledger.Snapshot().frames_in);
  }
  return first;
}

// What was said of the whole picture, for people.
void AddPictureWords(const Detections& detections, std::vector<std::string>* words) {
  for (const ClassScore& score : detections.classes) {
    words->push_back(fmt::format("{} {:.1f} %", detections.labels->NameOf(score.class_id),
                                 100 * score.confidence));
  }
  if (!detections.embedding.empty()) {
    words->push_back(fmt::format("an embedding of {} numbers", detections.embedding.size()));
  }
  if (detections.anomaly.width > 0) {
    words->push_back(fmt::format("anomaly {:.4g}", detections.anomaly.score));
  }
  if (detections.class_map.width > 0) {
    std::map<uint16_t, size_t> cells;
    for (const uint16_t id : detections.class_map.class_ids) ++cells[id];
    for (const auto& [id, count] : cells) {
      words->push_back(fmt::format("{} on {:.1f} %", detections.labels->NameOf(id),
                                   100.0 * static_cast<double>(count) /
                                       static_cast<double>(detections.class_map.class_ids.size())));
    }
  }
}

absl::Status DetectJobs::Print(const std::string& input, const FrameSlot& slot,
                               const DetectOptions& options, DrawnOutput* drawn) {
  // Of a folder or glob: which of its pictures.
  const std::string& name = slot.frame.meta.picture ? *slot.frame.meta.picture : input;
  Detections detections = slot.detections;
  detections.frame = slot.frame.meta;
  detections.labels = model_.labels;
  if (options.json) {
    line_.clear();
    AppendDetectLine(name, detections, line_);
    Write(line_);
  } else {
    std::map<std::string, int> found;
    for (const Detection& detection : detections.items)
      ++found[model_.labels->NameOf(detection.class_id)];
    std::vector<std::string> words;
    for (const auto& [name, count] : found) words.push_back(fmt::format("{} {}", count, name));
    AddPictureWords(detections, &words);
    PrintOut("{} frame {}: {}\n", name, slot.frame.meta.ordinal,
             words.empty() ? "nothing" : fmt::format("{}", fmt::join(words, ", ")));
  }
  return drawn->Add(slot.frame, detections);
}

int Detect(const DetectOptions& options) {
  absl::StatusOr<std::vector<Prompt>> prompts = PromptsOf(options.prompts);
  if (!prompts.ok()) return Report(prompts.status());
  const absl::StatusOr<std::unique_ptr<DetectJobs>> jobs =
      DetectJobs::Create(options, *std::move(prompts));
  if (!jobs.ok()) return ReportFailure(jobs.status());
  const absl::StatusOr<std::unique_ptr<DrawnFolder>> folder =
      DrawnFolder::Create(options.out, options.inputs, options.model);
  if (!folder.ok()) return Report(folder.status());
  static std::atomic<bool> stop{false};
  const StopSignal signal({.stop = [] { stop = true; }});
  int exit_code = 0;
  size_t begun = 0;
  for (const std::string& input : options.inputs) {
    if (stop || (options.out.empty() && OutputFailed())) break;
    const absl::Status status = (*jobs)->Process(input, options, folder->get(), stop);
    if (!stop || !absl::IsCancelled(status)) {
      exit_code = std::max(exit_code, ReportFailure(status));
    }
    ++begun;
  }
  if (stop) {
    Report(Cancelled("stopped at input {} of {}, as asked; what was found so far is written", begun,
                     options.inputs.size()));
  }
  return exit_code;
}

}  // namespace

void AddDetectCommand(CLI::App& app, int& exit_code) {
  CLI::App* detect = app.add_subcommand(
      "detect", "Find objects in pictures or videos; boxes as text, JSON or drawn");
  auto options = std::make_shared<DetectOptions>();
  detect
      ->add_option("INPUT", options->inputs,
                   "pictures, videos, folders, globs, live addresses (rtsp://...)")
      ->required();
  detect
      ->add_option("--model", options->model,
                   "people, motion, faces, truth (sim:// only), a package of `sightline models "
                   "list`, or an ONNX, TensorFlow Lite or TorchScript file")
      ->required()
      ->check(NotEmpty());
  AddBackendOption(*detect, options->backend);
  detect->add_option("--confidence", options->confidence, "least confidence")->check(Between(0, 1));
  detect
      ->add_option("--nms", options->nms_iou, "IoU above which the weaker of two boxes is dropped")
      ->check(Between(0, 1));
  detect->add_option("--threads", options->threads, "inference threads (default: one a core)")
      ->check(CLI::Range(1, 1024));
  detect
      ->add_option("--max-frames", options->max_frames,
                   "read at most this many frames of each input")
      ->check(WholeBetween(1, 1'000'000'000'000'000));
  AddPromptOptions(*detect, options->prompts);
  CLI::Option* json =
      detect->add_flag("--json", options->json, "one JSON line a frame on standard output");
  detect->add_option("--out", options->out, "folder for the pictures with boxes drawn")
      ->excludes(json)
      ->check(NotEmpty());
  detect->footer(
      "Examples:\n"
      "  sightline detect --model people street.jpg\n"
      "  sightline detect --model yolox.onnx --json photos/ > boxes.jsonl\n"
      "  sightline detect --model faces --out drawn party.jpg\n"
      "  sightline detect --model people --max-frames 100 rtsp://camera/stream\n"
      "  sightline detect --model sam --point 320,200 --outside 40,40 --out drawn street.jpg\n"
      "A live address is read until --max-frames or Ctrl-C, in one connection; `sightline run` "
      "connects again.\n"
      "An input that cannot be read is reported; the others are still done, and the exit code is "
      "1.");
  detect->callback([options, &exit_code] { exit_code = Detect(*options); });
}

}  // namespace sightline::cli
