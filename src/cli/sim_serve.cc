#include "cli/sim_serve.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/json_text.h"
#include "base/log.h"
#include "base/redact.h"
#include "base/time.h"
#include "cli/checks.h"
#include "cli/commands.h"
#include "cli/standard_output.h"
#include "cli/stop_signal.h"
#include "sim/rtsp/load_rtsp_server.h"
#include "sim/rtsp/scene_stream.h"

namespace sightline::cli {
namespace {

struct ServeArguments {
  std::vector<std::string> scenes;
  std::string address = "127.0.0.1";
  int port = 8554;
  std::string codec = "h264";
  std::string key_interval = "1s";
  int quality = 26;
  std::string user;
  std::string password_env;
  bool json = false;
};

std::atomic<bool> stop{false};

// Values of StreamCodec and RtspCodec are the same by name.
const std::map<std::string, std::pair<StreamCodec, sim::RtspCodec>> kCodecs = {
    {"h264", {StreamCodec::kH264, sim::RtspCodec::kH264}},
    {"h265", {StreamCodec::kH265, sim::RtspCodec::kH265}},
    {"mjpeg", {StreamCodec::kMjpeg, sim::RtspCodec::kMjpeg}}};

struct Scene {
  std::string name;  // the path
  std::string url;
  sim::SimOptions options;
};

bool IsPathName(std::string_view name) {
  constexpr size_t kLongest = 50;
  constexpr std::string_view kAllowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
  return !name.empty() && name.size() <= kLongest &&
         name.find_first_not_of(kAllowed) == std::string_view::npos;
}

bool IsTaken(const std::vector<Scene>& scenes, std::string_view name) {
  return std::any_of(scenes.begin(), scenes.end(),
                     [&](const Scene& scene) { return scene.name == name; });
}

// The scene's own name, numbered from the second on: street, street2, ...
std::string NameFor(const std::vector<Scene>& scenes, const std::string& url) {
  const std::string base = url.substr(6, url.find('?') - 6);
  std::string name = base;
  for (int i = 2; IsTaken(scenes, name); ++i) name = base + std::to_string(i);
  return name;
}

absl::Status CheckScene(const Scene& scene, const ServeArguments& arguments) {
  const sim::SimOptions& options = scene.options;
  if (!options.render) {
    return InvalidArgument("{}: render=none has no pictures to send; leave it out", scene.url);
  }
  if (!options.paced) {
    return InvalidArgument("{}: a stream goes by the clock; leave pace=none out", scene.url);
  }
  if (options.start_utc_us) {
    return InvalidArgument(
        "{}: a stream's capture times are this machine's clock; leave start= out", scene.url);
  }
  std::vector<std::pair<int, int>> sizes = {{options.width, options.height}};
  for (const sim::Fault& fault : options.faults) {
    if (fault.kind == sim::FaultKind::kResize) sizes.emplace_back(fault.width, fault.height);
    if (fault.kind == sim::FaultKind::kClockStep || fault.kind == sim::FaultKind::kWrap) {
      return InvalidArgument(
          "{}: the faults clockstep and wrap are not possible in a served stream", scene.url);
    }
  }
  for (const auto& [width, height] : sizes) {
    const absl::Status tried = StreamEncoder::Create({.codec = kCodecs.at(arguments.codec).first,
                                                      .width = width,
                                                      .height = height,
                                                      .fps = options.fps})
                                   .status();
    SL_RETURN_IF_ERROR(WithContext(tried, scene.url));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Scene>> ScenesOf(const ServeArguments& arguments) {
  std::vector<Scene> scenes;
  for (const std::string& text : arguments.scenes) {
    Scene scene;
    scene.url = text;
    const size_t equals = text.find('=');
    if (equals < text.find("://")) {
      scene.name = text.substr(0, equals);
      scene.url = text.substr(equals + 1);
      if (!IsPathName(scene.name)) {
        return InvalidArgument(
            "{}: a name of 1 to 50 letters, digits, _ . - is wanted before the =", text);
      }
      if (IsTaken(scenes, scene.name)) {
        return InvalidArgument("two scenes have the name {}", scene.name);
      }
    }
    SL_ASSIGN_OR_RETURN(scene.options, sim::ParseSimUrl(scene.url));
    if (scene.name.empty()) scene.name = NameFor(scenes, scene.url);
    SL_RETURN_IF_ERROR(CheckScene(scene, arguments));
    scenes.push_back(std::move(scene));
  }
  return scenes;
}

absl::StatusOr<sim::RtspServer::Options> ServerOptionsOf(const ServeArguments& arguments) {
  sim::RtspServer::Options options;
  options.address = arguments.address;
  options.port = arguments.port;
  if (arguments.user.empty() != arguments.password_env.empty()) {
    return InvalidArgument("--user and --password-env belong together");
  }
  if (arguments.user.empty()) return options;
  const char* password = std::getenv(arguments.password_env.c_str());
  if (password == nullptr || *password == '\0') {
    return InvalidArgument("--password-env {}: there is no such variable in the environment",
                           arguments.password_env);
  }
  options.user = arguments.user;
  options.password = password;
  HideSecret(password, "***");
  return options;
}

// One stream of the server, as a scene knows it.
class Outlet final : public sim::StreamOutlet {
 public:
  Outlet(sim::RtspServer& server, size_t stream) : server_(server), stream_(stream) {}
  bool Watched() const override { return server_.Watched(stream_); }
  void Send(const sim::CodedPicture& picture) override { server_.Send(stream_, picture); }
  void Admit(sim::Admission admission) override { server_.Admit(stream_, admission); }

 private:
  sim::RtspServer& server_;
  const size_t stream_;
};

struct Served {
  std::unique_ptr<Outlet> outlet;
  std::unique_ptr<sim::SceneStream> stream;
  absl::Status status;
  std::atomic<bool> over{false};
  std::thread thread;
};

void Print(const ServeArguments& arguments, const std::vector<Scene>& scenes,
           const std::vector<std::unique_ptr<Served>>& served, int port) {
  const bool ipv6 = arguments.address.find(':') != std::string::npos;
  const std::string host = ipv6 ? "[" + arguments.address + "]" : arguments.address;
  nlohmann::ordered_json streams = nlohmann::ordered_json::array();
  for (size_t i = 0; i < scenes.size(); ++i) {
    const sim::SimOptions& scene = scenes[i].options;
    const std::string url = fmt::format("rtsp://{}:{}/{}", host, port, scenes[i].name);
    const std::string born = FormatUtc(served[i]->stream->birth().utc_us);
    streams.push_back({{"name", scenes[i].name},
                       {"url", url},
                       {"scene", scenes[i].url},
                       {"codec", arguments.codec},
                       {"width", scene.width},
                       {"height", scene.height},
                       {"fps", scene.fps},
                       {"started_utc", born}});
    if (!arguments.json) {
      PrintOut("{}  {}x{}, {} fps, {}; frame 1 of its truth was at {}\n", url, scene.width,
               scene.height, scene.fps, arguments.codec, born);
    }
  }
  if (arguments.json) {
    PrintOut("{}\n", JsonText(nlohmann::ordered_json{{"port", port}, {"streams", streams}}));
  } else {
    PrintOut("Ctrl-C ends it.\n");
  }
  std::fflush(stdout);
}

// Until all have ended, one has failed or somebody says stop.
void Wait(const std::vector<std::unique_ptr<Served>>& served) {
  const auto goes_on = [&] {
    if (stop.load(std::memory_order_relaxed)) return false;
    bool any = false;
    for (const auto& one : served) {
      if (!one->over) any = true;
      if (one->over && !one->status.ok()) return false;
    }
    return any;
  };
  while (goes_on()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

absl::Status Serve(const ServeArguments& arguments) {
  SL_ASSIGN_OR_RETURN(const std::vector<Scene> scenes, ScenesOf(arguments));
  const absl::StatusOr<int64_t> key_interval_us = ParseDurationUs(arguments.key_interval);
  SL_RETURN_IF_ERROR(WithContext(key_interval_us.status(), "--key-interval"));
  SL_ASSIGN_OR_RETURN(const sim::RtspServer::Options options, ServerOptionsOf(arguments));
  SL_ASSIGN_OR_RETURN(const std::unique_ptr<sim::RtspServer> server, sim::LoadRtspServer(options));
  std::vector<std::unique_ptr<Served>> served;
  for (size_t i = 0; i < scenes.size(); ++i) {
    auto one = std::make_unique<Served>();
    one->outlet = std::make_unique<Outlet>(*server, i);
    one->stream = std::make_unique<sim::SceneStream>(
        sim::SceneStreamOptions{.scene = scenes[i].options,
                                .codec = kCodecs.at(arguments.codec).first,
                                .key_interval_us = *key_interval_us,
                                .quality = arguments.quality},
        *one->outlet);
    const std::string error = server->AddStream(scenes[i].name, kCodecs.at(arguments.codec).second,
                                                one->stream->birth().monotonic_us);
    if (!error.empty()) return FailedPrecondition("{}: {}", scenes[i].url, error);
    served.push_back(std::move(one));
  }
  if (const std::string error = server->Start(); !error.empty()) {
    return FailedPrecondition("{}; choose another with --port and --address", error);
  }
  for (const auto& one : served) {
    one->thread = std::thread([&one = *one] {
      one.status = one.stream->Run();
      one.over = true;
    });
  }
  Print(arguments, scenes, served, server->port());
  Wait(served);
  absl::Status status;
  for (const auto& one : served) one->stream->Stop();
  for (const auto& one : served) {
    one->thread.join();
    if (status.ok()) status = one->status;
  }
  return status;
}

}  // namespace

void AddSimServe(CLI::App& sim, int& exit_code) {
  CLI::App* const serve = sim.add_subcommand("serve", "Offer scenes as real RTSP streams");
  auto arguments = std::make_shared<ServeArguments>();
  serve
      ->add_option("SCENE", arguments->scenes,
                   "sim://street?people=20&seed=7, or NAME=sim://... to choose the stream's path")
      ->required()
      ->check(NotEmpty());
  serve->add_option("--port", arguments->port, "TCP port to listen on; 0: any that is free")
      ->check(WholeBetween(0, 65535))
      ->capture_default_str();
  serve
      ->add_option("--address", arguments->address,
                   "address to listen on; 0.0.0.0: whoever can reach this machine")
      ->check(NotEmpty())
      ->capture_default_str();
  serve->add_option("--codec", arguments->codec, "h264, h265 or mjpeg")
      ->check(CLI::IsMember({"h264", "h265", "mjpeg"}))
      ->capture_default_str();
  serve
      ->add_option("--key-interval", arguments->key_interval,
                   "time from one key frame to the next, such as 500ms")
      ->check(NotEmpty())
      ->capture_default_str();
  serve->add_option("--quality", arguments->quality, "of h264 and h265: 0 best to 51 worst")
      ->check(WholeBetween(0, 51))
      ->capture_default_str();
  serve->add_option("--user", arguments->user, "ask for this name and a password (digest)")
      ->check(NotEmpty());
  serve
      ->add_option("--password-env", arguments->password_env,
                   "the environment's variable that holds the password")
      ->check(NotEmpty());
  serve->add_flag("--json", arguments->json, "one JSON line on standard output: port and streams");
  serve->footer(
      "Examples:\n"
      "  sightline sim serve 'sim://street?people=20&seed=7'\n"
      "  sightline run --source rtsp://127.0.0.1:8554/street          in another terminal\n"
      "  sightline sim serve 'gate=sim://street?seed=1' 'yard=sim://street?seed=2&night=1' --port "
      "0 "
      "--json\n"
      "  CAMERA_PW=secret sightline sim serve 'sim://street' --user viewer --password-env "
      "CAMERA_PW\n"
      "  sightline sim serve 'sim://street?faults=cut@20s+3s,freeze@40s+15s'\n"
      "Frame k of `sightline sim truth` for the same scene has RTP time stamp 90000 (k - 1) / fps "
      "and\n"
      "was taken at started_utc + (k - 1) / fps. Faults and more: docs/simulated_cameras.md.");
  serve->callback([arguments, &exit_code] {
    const StopSignal signal({.stop = [] { stop = true; }});
    exit_code = Report(Serve(*arguments));
  });
}

}  // namespace sightline::cli
