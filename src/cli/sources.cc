#include "cli/sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "base/thread.h"
#include "media/open_source.h"
#include "media/sources/http_recording.h"
#include "media/sources/live_stream.h"
#include "sim/sim_source.h"
#include "sim/truth_detector.h"

namespace sightline::cli {
namespace {

bool IsSimulated(const std::string& url) { return url.starts_with("sim://"); }

LiveOptions LiveOptionsOf(const LiveConfig& config) {
  LiveOptions live;
  live.rtsp_transport =
      config.transport == LiveTransport::kUdp ? RtspTransport::kUdp : RtspTransport::kTcp;
  live.tls.verify = config.verify_tls;
  live.tls.ca_file = config.ca_file.value_or("");
  live.tls.certificate_file = config.certificate_file.value_or("");
  live.tls.key_file = config.key_file.value_or("");
  live.allow_basic_without_tls = config.allow_basic;
  live.hardware = config.hardware;
  live.connect_timeout_us = config.connect_timeout_us;
  live.read_timeout_us = 0;  // whoever supervises the stream asks for signs of life
  return live;
}

absl::StatusOr<std::unique_ptr<LiveStream>> Connected(const SourceOptions& options,
                                                      const LiveOptions& live,
                                                      FrameLedger& ledger) {
  SL_ASSIGN_OR_RETURN(std::unique_ptr<LiveStream> stream,
                      LiveStream::Create(options, ledger, {}, live));
  SL_RETURN_IF_ERROR(stream->Connect());
  if (!stream->is_recording()) return stream;
  // It was not there when the run began, and cannot become a recording under way: as a live stream
  // it would lose frames, and be read again and again.
  const std::string& name = options.camera->source;
  if (stream->info().container == "hls") {
    return Unavailable("{}: the stream has ended (its playlist says so)", name);
  }
  return Unimplemented(
      "{}: a recording, whose server did not answer when the run began; start the run again", name);
}

// The recording at an HTTP address; null when what is there is live.
absl::StatusOr<std::unique_ptr<FrameSource>> HttpRecordingOf(const SourceOptions& options,
                                                             const LiveOptions& live,
                                                             FrameLedger& ledger) {
  if (!IsHttpAddress(options.url)) return std::unique_ptr<FrameSource>();
  return OpenHttpRecording(options, ledger, {}, live);
}

bool IsHttpRecording(const SourceOptions& options, const LiveConfig& config) {
  constexpr int64_t kLongestLookUs = 3'000'000;  // chosen: cameras that are off hold up a start
  LiveOptions live = LiveOptionsOf(config);
  live.connect_timeout_us = live.connect_timeout_us > 0
                                ? std::min(live.connect_timeout_us, kLongestLookUs)
                                : kLongestLookUs;
  // Nobody supervises a look. Of silence: a server that sends a little now and then is asked for longer.
  live.read_timeout_us = kLongestLookUs;
  FrameLedger none;
  const auto recording = HttpRecordingOf(options, live, none);
  return recording.ok() && *recording != nullptr;
}

// One sentence; empty when all is well.
std::string WhatIsWrongWith(const CameraConfig& camera, const ModelConfig& model) {
  const std::string& url = camera.source.Reveal();
  const bool truth = sim::IsTruthModel(model.reference);
  if (IsSimulated(url)) {
    const absl::StatusOr<sim::SimOptions> parsed = sim::ParseSimUrl(url);
    if (!parsed.ok()) return std::string(MessageOf(parsed.status()));
    if (parsed->render) return "";
    if (!truth) {
      return fmt::format(
          "with render=none its frames have no pixels, which model {} needs; leave render=none "
          "out, or take model truth",
          model.name);
    }
    if (camera.motion) {
      return "with render=none its frames have no pixels, which motion needs; leave one of them "
             "out";
    }
    return "";
  }
  if (truth) {
    return fmt::format(
        "model truth knows what simulated cameras show (sim://street?people=20), not {}; choose "
        "another model",
        camera.source.shown());
  }
  if (!IsLiveAddress(url)) return "";
  FrameLedger none;
  SourceOptions options;
  options.url = url;
  options.camera = std::make_shared<const CameraInfo>(
      CameraInfo{.id = camera.id, .source = camera.source.shown()});
  const absl::Status status =
      LiveStream::Create(options, none, {}, LiveOptionsOf(camera.live)).status();
  return std::string(MessageOf(status));
}

absl::StatusOr<ConnectSource> OpenSimulated(const SourceOptions& options, FrameLedger& ledger) {
  SL_ASSIGN_OR_RETURN(sim::SimOptions parsed, sim::ParseSimUrl(options.url));
  if (!parsed.paced) return ConnectSource();  // as fast as it is read: a recording
  const auto camera = std::make_shared<sim::SimCamera>(std::move(parsed));
  return ConnectSource([options, &ledger, camera](const ConnectRequest& request)
                           -> absl::StatusOr<std::unique_ptr<FrameSource>> {
    return sim::SimSource::Create(options, ledger, {.give_up = request.give_up, .camera = camera});
  });
}

}  // namespace

void RegisterSources() {
  RegisterSourceScheme("sim", [](const SourceOptions& options, FrameLedger& ledger) {
    return sim::SimSource::Create(options, ledger);
  });
}

void HttpLook::Ask(std::span<const CameraConfig* const> cameras) {
  recordings_.clear();
  struct Question {
    const CameraConfig* camera;
    bool is_recording = false;
  };
  std::vector<Question> questions;
  for (const CameraConfig* camera : cameras) {
    if (IsHttpAddress(camera->source.Reveal())) questions.push_back({camera});
  }
  std::atomic<size_t> next{0};
  const auto ask = [&] {
    for (size_t i = next++; i < questions.size(); i = next++) {
      const CameraConfig& camera = *questions[i].camera;
      SourceOptions options;
      options.url = camera.source.Reveal();
      options.camera = std::make_shared<const CameraInfo>(
          CameraInfo{.id = camera.id, .source = camera.source.shown()});
      questions[i].is_recording = IsHttpRecording(options, camera.live);
    }
  };
  std::vector<std::thread> threads;
  while (threads.size() + 1 < std::min(questions.size(), kAtOnce)) {
    absl::StatusOr<std::thread> thread = StartThread("http-look", ask);
    if (!thread.ok()) break;  // then it takes longer
    threads.push_back(*std::move(thread));
  }
  ask();
  for (std::thread& thread : threads) thread.join();
  for (const Question& question : questions) {
    recordings_[{question.camera->id, question.camera->source.Reveal()}] = question.is_recording;
  }
}

bool HttpLook::IsRecording(const SourceOptions& options, const LiveConfig& live) {
  if (!IsHttpAddress(options.url)) return false;
  const auto known = recordings_.extract(std::pair(options.camera->id, options.url));
  return known ? known.mapped() : IsHttpRecording(options, live);
}

absl::StatusOr<ConnectSource> OpenLive(const SourceOptions& options, const LiveConfig& config,
                                       FrameLedger& ledger, HttpLook& look) {
  if (IsSimulated(options.url)) return OpenSimulated(options, ledger);
  if (!IsLiveAddress(options.url)) return ConnectSource();
  const LiveOptions live = LiveOptionsOf(config);
  SL_RETURN_IF_ERROR(LiveStream::Create(options, ledger, {}, live).status());
  if (look.IsRecording(options, config)) return ConnectSource();
  return ConnectSource(
      [options, &ledger,
       live](const ConnectRequest& request) -> absl::StatusOr<std::unique_ptr<FrameSource>> {
        LiveOptions now = live;
        now.give_up = request.give_up;
        now.last_capture_utc_us = request.last_capture_utc_us;
        return Connected(options, now, ledger);
      });
}

absl::StatusOr<std::unique_ptr<FrameSource>> OpenRecording(const SourceOptions& options,
                                                           const LiveConfig& config,
                                                           FrameLedger& ledger) {
  LiveOptions live = LiveOptionsOf(config);
  live.read_timeout_us = LiveOptions().read_timeout_us;
  SL_ASSIGN_OR_RETURN(std::unique_ptr<FrameSource> recording,
                      HttpRecordingOf(options, live, ledger));
  if (recording) return recording;
  return OpenSource(options, ledger);
}

absl::StatusOr<std::unique_ptr<FrameSource>> OpenOnce(const SourceOptions& options,
                                                      FrameLedger& ledger,
                                                      std::function<bool()> give_up) {
  if (IsSimulated(options.url)) {
    return sim::SimSource::Create(options, ledger, {.give_up = std::move(give_up)});
  }
  if (!IsLiveAddress(options.url)) return OpenSource(options, ledger);
  LiveOptions live;
  live.give_up = std::move(give_up);
  SL_ASSIGN_OR_RETURN(std::unique_ptr<FrameSource> recording,
                      HttpRecordingOf(options, live, ledger));
  if (recording) return recording;
  return Connected(options, live, ledger);
}

std::vector<ConfigError> CheckSources(const Config& config) {
  std::vector<ConfigError> errors;
  for (const CameraConfig& camera : config.cameras) {
    const std::string wrong = WhatIsWrongWith(camera, config.models[camera.model_index]);
    if (!wrong.empty()) {
      errors.push_back({camera.source_at, fmt::format("camera {}: {}", camera.id, wrong)});
    }
  }
  for (const ModelConfig& model : config.models) {
    if (!sim::IsTruthModel(model.reference)) continue;
    const absl::Status status =
        sim::MakeTruthDetectorFactory(model.reference, model.confidence).status();
    if (!status.ok()) errors.push_back({model.at, std::string(MessageOf(status))});
  }
  return errors;
}

}  // namespace sightline::cli
