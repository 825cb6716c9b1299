// sightline sim: what a simulated camera really shows, as truth files and as a clip.
#include <array>
#include <atomic>
#include <charconv>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/json_text.h"
#include "base/time.h"
#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/sim_serve.h"
#include "cli/standard_output.h"
#include "cli/stop_signal.h"
#include "media/video_writer.h"
#include "media/y4m_writer.h"
#include "sim/sim_source.h"
#include "sim/truth_files.h"

namespace sightline::cli {
namespace {

struct SimArguments {
  std::string url;
  std::string out;
  std::string length;
  std::vector<std::string> lines;
  bool json = false;
};

std::atomic<bool> stop{false};

// "x1,y1,x2,y2" in px
absl::StatusOr<sim::NamedLine> ParseLine(const std::string& text, size_t index) {
  std::array<float, 4> numbers{};
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  for (size_t i = 0; i < numbers.size(); ++i) {
    const auto [next, error] = std::from_chars(at, end, numbers[i]);
    const bool more = i + 1 < numbers.size();
    // Far beyond any picture; keeps out infinity and NaN.
    const bool sane = error == std::errc() && numbers[i] >= -1e5F && numbers[i] <= 1e5F;
    if (!sane || (more ? next == end || *next != ',' : next != end)) {
      return InvalidArgument("--line {}: x1,y1,x2,y2 in pixels are wanted, such as 320,0,320,360",
                             text);
    }
    at = next + 1;
  }
  sim::NamedLine line{.name = "line" + std::to_string(index + 1),
                      .a_px = {numbers[0], numbers[1]},
                      .b_px = {numbers[2], numbers[3]}};
  if (line.a_px == line.b_px) {
    return InvalidArgument("--line {}: both ends are the same point", text);
  }
  return line;
}

// How much of the stream: --for, else the URL's duration, else a minute.
absl::StatusOr<int64_t> LengthOf(const SimArguments& arguments, const sim::SimOptions& sim) {
  constexpr int64_t kUsualUs = 60'000'000;
  if (arguments.length.empty()) return sim.duration_us > 0 ? sim.duration_us : kUsualUs;
  SL_ASSIGN_OR_RETURN(const int64_t length, ParseFor(arguments.length));
  return sim.duration_us > 0 ? std::min(length, sim.duration_us) : length;
}

void Print(const SimArguments& arguments, const sim::TruthSummary& summary) {
  if (arguments.json) {
    nlohmann::ordered_json lines = nlohmann::ordered_json::array();
    for (const auto& line : summary.lines) {
      lines.push_back(
          {{"name", line.name}, {"forward", line.forward}, {"backward", line.backward}});
    }
    const nlohmann::ordered_json all = {{"frames", summary.frames},
                                        {"boxes", summary.boxes},
                                        {"objects", summary.objects},
                                        {"lines", lines},
                                        {"out", arguments.out}};
    PrintOut("{}\n", JsonText(all));
    return;
  }
  PrintOut("{} frames, {} objects, {} boxes in {}\n", summary.frames, summary.objects,
           summary.boxes, arguments.out);
  for (const auto& line : summary.lines) {
    PrintOut("{}: {} forward, {} backward\n", line.name, line.forward, line.backward);
  }
}

int WriteTruth(const SimArguments& arguments) {
  const absl::StatusOr<sim::SimOptions> sim = sim::ParseSimUrl(arguments.url);
  if (!sim.ok()) return Report(sim.status());
  sim::TruthFileOptions options;
  options.folder = arguments.out;
  options.name = arguments.url;
  const absl::StatusOr<int64_t> length = LengthOf(arguments, *sim);
  if (!length.ok()) return Report(length.status());
  options.length_us = *length;
  for (size_t i = 0; i < arguments.lines.size(); ++i) {
    absl::StatusOr<sim::NamedLine> line = ParseLine(arguments.lines[i], i);
    if (!line.ok()) return Report(line.status());
    options.lines.push_back(*std::move(line));
  }
  options.stop = [] { return stop.load(std::memory_order_relaxed); };
  const absl::StatusOr<sim::TruthSummary> summary = sim::WriteTruthFiles(*sim, options);
  if (!summary.ok()) return Report(summary.status());
  Print(arguments, *summary);
  return 0;
}

// Where the pictures go: an MP4, or as they are.
struct Clip {
  std::function<absl::Status(const Frame&)> write;
  std::function<absl::Status()> close;
};

absl::StatusOr<Clip> OpenClip(const std::string& path, const sim::SimOptions& sim) {
  if (path.ends_with(".y4m")) {
    SL_ASSIGN_OR_RETURN(
        std::unique_ptr<Y4mWriter> made,
        Y4mWriter::Create(
            {.path = path, .width = sim.width, .height = sim.height, .fps = sim.fps}));
    const std::shared_ptr<Y4mWriter> writer = std::move(made);
    return Clip{[writer](const Frame& frame) { return writer->Write(frame.image); },
                [writer] { return writer->Close(); }};
  }
  SL_ASSIGN_OR_RETURN(
      std::unique_ptr<VideoWriter> made,
      VideoWriter::Create(
          {.path = path, .width = sim.width, .height = sim.height, .fps = sim.fps}));
  const std::shared_ptr<VideoWriter> writer = std::move(made);
  return Clip{
      [writer](const Frame& frame) { return writer->Write(frame.image, frame.meta.time.pts_us); },
      [writer] { return writer->Close(); }};
}

absl::StatusOr<int64_t> RenderClip(const SimArguments& arguments) {
  SL_ASSIGN_OR_RETURN(sim::SimOptions sim, sim::ParseSimUrl(arguments.url));
  SL_ASSIGN_OR_RETURN(sim.duration_us, LengthOf(arguments, sim));
  sim.paced = false;
  sim.render = true;
  std::erase_if(sim.faults, [](const sim::Fault& fault) {
    // A file has one size, and ends with an error of its source.
    return fault.kind == sim::FaultKind::kCut || fault.kind == sim::FaultKind::kRefuse ||
           fault.kind == sim::FaultKind::kResize;
  });
  SL_ASSIGN_OR_RETURN(const Clip clip, OpenClip(arguments.out, sim));
  FrameLedger ledger;
  SourceOptions options;
  options.camera =
      std::make_shared<const CameraInfo>(CameraInfo{.id = "sim", .source = arguments.url});
  SL_ASSIGN_OR_RETURN(
      const std::unique_ptr<sim::SimSource> source,
      sim::SimSource::Create(options, ledger, {.camera = std::make_shared<sim::SimCamera>(sim)}));
  int64_t frames = 0;
  for (; !stop.load(std::memory_order_relaxed); ++frames) {
    SL_ASSIGN_OR_RETURN(const std::optional<Frame> frame, source->Next());
    if (!frame) break;
    SL_RETURN_IF_ERROR(clip.write(*frame));
  }
  SL_RETURN_IF_ERROR(clip.close());
  return frames;
}

int Render(const SimArguments& arguments) {
  const absl::StatusOr<int64_t> frames = RenderClip(arguments);
  if (!frames.ok()) return Report(frames.status());
  if (arguments.json) {
    PrintOut("{}\n", JsonText(nlohmann::ordered_json{{"frames", *frames}, {"out", arguments.out}}));
  } else {
    PrintOut("{} frames in {}\n", *frames, arguments.out);
  }
  return 0;
}

void AddOptions(CLI::App& command, const std::shared_ptr<SimArguments>& arguments,
                const char* out) {
  command
      .add_option("URL", arguments->url,
                  "sim://street?people=20&seed=7 (docs/simulated_cameras.md)")
      ->required()
      ->check(NotEmpty());
  command.add_option("--out", arguments->out, out)->required()->check(NotEmpty());
  command
      .add_option("--for", arguments->length,
                  "how much of the stream (default: its duration, or 60s)")
      ->check(NotEmpty());
  command.add_flag("--json", arguments->json, "a JSON summary on standard output");
}

}  // namespace

void AddSimCommand(CLI::App& app, int& exit_code) {
  CLI::App* const sim = app.add_subcommand(
      "sim", "Simulated cameras: what they really show, as truth, as a clip or as a stream");
  sim->require_subcommand(1);
  auto arguments = std::make_shared<SimArguments>();
  CLI::App* const truth = sim->add_subcommand(
      "truth", "Write the true boxes in MOTChallenge format, and who crosses which line");
  AddOptions(*truth, arguments, "folder for gt/gt.txt, seqinfo.ini and crossings.csv");
  truth->add_option("--line", arguments->lines, "x1,y1,x2,y2 in pixels; may be repeated")
      ->allow_extra_args(false);
  truth->footer(
      "Example:\n"
      "  sightline sim truth 'sim://street?people=20&seed=7' --for 60s --line 320,0,320,360 --out "
      "truth");
  truth->callback([arguments, &exit_code] {
    const StopSignal signal({.stop = [] { stop = true; }});
    exit_code = WriteTruth(*arguments);
  });
  CLI::App* const render = sim->add_subcommand("render", "Write what the camera shows as a clip");
  AddOptions(*render, arguments, "the clip: .mp4, or .y4m for the pictures as they are");
  render->footer(
      "Example:\n"
      "  sightline sim render 'sim://street?people=20&seed=7&night=0.8' --for 20s --out "
      "street.mp4");
  render->callback([arguments, &exit_code] {
    const StopSignal signal({.stop = [] { stop = true; }});
    exit_code = Render(*arguments);
  });
  AddSimServe(*sim, exit_code);
}

}  // namespace sightline::cli
