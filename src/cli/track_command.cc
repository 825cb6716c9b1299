// sightline track: detections in MOTChallenge format in, tracks in the same format out.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file_key.h"
#include "base/json_text.h"
#include "base/status.h"
#include "base/time.h"
#include "base/whole_file.h"
#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/standard_output.h"
#include "track/mot_file.h"
#include "track/tracker.h"

namespace sightline::cli {
namespace {

struct TrackArguments {
  std::string tracker = "bytetrack";
  std::string detections;
  std::string out;
  double frame_rate = 30;
  double track_thresh = 0.5;
  double match_thresh = 0.8;
  int track_buffer = 30;
  // On by default: who has MOT files wants to compare, and the reference is what one compares with.
  bool reference_quirks = true;
  bool json = false;
};

struct TrackOutcome {
  std::string text;  // of the output file
  int64_t last_frame = 0;
  size_t detections = 0;
  size_t rows = 0;
  TrackerStats stats;
};

TrackerOptions OptionsOf(const TrackArguments& arguments) {
  TrackerOptions options;
  options.frame_rate = arguments.frame_rate;
  options.track_threshold = arguments.track_thresh;
  options.match_threshold = arguments.match_thresh;
  options.track_buffer = arguments.track_buffer;
  options.reference_quirks = arguments.reference_quirks;
  return options;
}

// Frame n lies (n - 1) / frame_rate seconds after the first.
FrameMeta MetaOf(int64_t frame, double frame_rate) {
  FrameMeta meta;
  meta.ordinal = static_cast<uint64_t>(frame);  // the file's own number, for messages
  meta.time.pts_us = static_cast<int64_t>(static_cast<double>(frame - 1) * 1e6 / frame_rate);
  meta.time.capture_utc_us = meta.time.pts_us;
  return meta;
}

absl::Status TrackFrame(Tracker& tracker, const Detections& detections, int64_t frame,
                        Tracks* tracks, TrackOutcome* outcome) {
  SL_RETURN_IF_ERROR(tracker.Update(detections, tracks));
  AppendMotTracks(frame, *tracks, &outcome->text);
  outcome->rows += tracks->items.size();
  return absl::OkStatus();
}

absl::StatusOr<TrackOutcome> TrackAll(const std::vector<MotRow>& rows, Tracker& tracker,
                                      double frame_rate) {
  TrackOutcome outcome;
  outcome.detections = rows.size();
  outcome.last_frame = rows.empty() ? 0 : rows.back().frame;
  Detections detections;
  Tracks tracks;
  std::vector<TrackSummary> finished;
  size_t next = 0;
  for (int64_t frame = 1; frame <= outcome.last_frame; ++frame) {
    // Without tracks, empty frames change nothing (but the first: it is special to the reference).
    const bool idle = frame > 1 && tracker.stats().live_tracks == 0;
    if (idle && rows[next].frame > frame) frame = rows[next].frame;
    detections.frame = MetaOf(frame, frame_rate);
    detections.ClearResults();
    for (; next < rows.size() && rows[next].frame == frame; ++next) {
      detections.items.push_back(rows[next].detection);
    }
    SL_RETURN_IF_ERROR(
        WithContext(TrackFrame(tracker, detections, frame, &tracks, &outcome), "tracking"));
    finished.clear();
    tracker.TakeFinished(&finished);
  }
  outcome.stats = tracker.stats();
  return outcome;
}

void Notice(const std::vector<MotRow>& rows, const TrackOutcome& outcome) {
  float highest = 0;
  for (const MotRow& row : rows) highest = std::max(highest, row.detection.confidence);
  if (highest > 1) {
    std::fprintf(stderr,
                 "sightline: note: confidences up to %g, ByteTrack expects 0 to 1; its thresholds "
                 "and costs mean little beyond\n",
                 highest);
  }
  if (outcome.stats.rejected_boxes > 0) {
    std::fprintf(stderr, "sightline: note: %llu boxes without area left out\n",
                 static_cast<unsigned long long>(outcome.stats.rejected_boxes));
  }
  if (rows.empty()) std::fprintf(stderr, "sightline: note: no detections, so no tracks\n");
}

bool IsStandardOutput(const std::string& path) { return path == "-" || path == "/dev/stdout"; }

absl::Status WriteResult(const std::string& path, const std::string& text) {
  if (!IsStandardOutput(path)) return WriteWholeFile(path, text);
  Write(text);
  return absl::OkStatus();
}

void PrintSummary(const TrackArguments& arguments, const TrackOutcome& outcome, double wall_s) {
  // Where the tracks themselves take standard output, the summary makes room.
  std::FILE* const to = IsStandardOutput(arguments.out) ? stderr : stdout;
  if (arguments.json) {
    const nlohmann::ordered_json summary = {{"tracker", arguments.tracker},
                                            {"reference_quirks", arguments.reference_quirks},
                                            {"frames", outcome.last_frame},
                                            {"detections", outcome.detections},
                                            {"ignored_boxes", outcome.stats.rejected_boxes},
                                            {"tracks", outcome.stats.confirmed_tracks},
                                            {"boxes", outcome.rows},
                                            {"out", arguments.out},
                                            {"wall_s", wall_s}};
    std::fprintf(to, "%s\n", JsonText(summary).c_str());
    return;
  }
  std::fprintf(to, "%lld frames, %zu detections: %llu tracks, %zu boxes in %s (%.2f s)\n",
               static_cast<long long>(outcome.last_frame), outcome.detections,
               static_cast<unsigned long long>(outcome.stats.confirmed_tracks), outcome.rows,
               arguments.out.c_str(), wall_s);
}

absl::Status TrackFile(const TrackArguments& arguments, Tracker& tracker, int64_t start_us) {
  SL_ASSIGN_OR_RETURN(const std::vector<MotRow> rows, ReadMotDetections(arguments.detections));
  SL_ASSIGN_OR_RETURN(const TrackOutcome outcome, TrackAll(rows, tracker, arguments.frame_rate));
  SL_RETURN_IF_ERROR(WriteResult(arguments.out, outcome.text));
  Notice(rows, outcome);
  const int64_t wall_us = Clock::Real().NowMonotonicUs() - start_us;
  PrintSummary(arguments, outcome, static_cast<double>(wall_us) * 1e-6);
  return absl::OkStatus();
}

int RunTrack(const TrackArguments& arguments) {
  if (!IsStandardOutput(arguments.out) && FileKey(arguments.out) == FileKey(arguments.detections)) {
    return Report(InvalidArgument(
        "--out {} is the file of the detections; nothing was written; give it another name",
        arguments.out));
  }
  const int64_t start_us = Clock::Real().NowMonotonicUs();
  const auto tracker = MakeTracker(OptionsOf(arguments));
  if (!tracker.ok()) return Report(tracker.status());
  // Whatever is wrong with the file of detections is a failure, not a mistake in the usage.
  return ReportFailure(TrackFile(arguments, **tracker, start_us));
}

}  // namespace

void AddTrackCommand(CLI::App& app, int& exit_code) {
  auto arguments = std::make_shared<TrackArguments>();
  CLI::App* command = app.add_subcommand(
      "track",
      "Track recorded detections in MOTChallenge format (frame,id,x,y,w,h,confidence,...)");
  command->add_option("--tracker", arguments->tracker, "The tracker")
      ->check(CLI::IsMember({"bytetrack"}))
      ->capture_default_str();
  command->add_option("--detections", arguments->detections, "Detections to read (det.txt)")
      ->required();
  command
      ->add_option("--out", arguments->out,
                   "Tracks to write, the whole file or nothing; - is standard output")
      ->required();
  command->add_option("--frame-rate", arguments->frame_rate, "Frames a second of the sequence")
      ->check(Between(0.001, 10000))
      ->capture_default_str();
  command
      ->add_option("--track-thresh", arguments->track_thresh,
                   "Confidence above which a detection is matched first")
      ->check(Between(0, 1))
      ->capture_default_str();
  command
      ->add_option("--match-thresh", arguments->match_thresh,
                   "Greatest 1 - IoU x confidence of a first match")
      ->check(Between(0, 1))
      ->capture_default_str();
  command
      ->add_option("--track-buffer", arguments->track_buffer,
                   "How long a lost track is kept, in frames at 30 frames/s")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  command->add_flag("--reference-quirks,!--no-reference-quirks", arguments->reference_quirks,
                    "Ids equal to the reference implementation's, quirks and all (the default "
                    "here); with --no-reference-quirks as `sightline run` tracks");
  command->add_flag("--json", arguments->json, "Print the summary as one line of JSON");
  command->callback([arguments, &exit_code] { exit_code = RunTrack(*arguments); });
}

}  // namespace sightline::cli
