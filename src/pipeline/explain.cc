// The graph as it was built, in words and as JSON.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include <optional>

#include "base/json_text.h"
#include "base/thread.h"
#include "media/hardware_decode.h"
#include "media/sources/live_stream.h"
#include "pipeline/engine.h"

namespace sightline {
namespace {

using nlohmann::json;

json SelectionJson(const CameraConfig& camera) {
  json selection = {{"every_nth", camera.selection.every_nth},
                    {"target_fps", camera.selection.target_fps}};
  if (camera.motion) {
    selection["motion"] = {{"changed_area", camera.motion->changed_area},
                           {"hold_us", camera.motion->hold_us}};
  }
  return selection;
}

std::string SelectionText(const CameraConfig& camera) {
  std::string text;
  if (camera.selection.every_nth > 1)
    text += fmt::format(", every {}. frame", camera.selection.every_nth);
  if (camera.selection.target_fps > 0) {
    text += fmt::format(", at most {:g} frames/s", camera.selection.target_fps);
  }
  if (camera.motion) {
    text += fmt::format(", while {:g} % of the picture changes (and {:g} s after)",
                        camera.motion->changed_area * 100, camera.motion->hold_us * 1e-6);
  }
  return text.empty() ? ", every frame" : text;
}

std::string SourceText(const SourceInfo& source) {
  if (source.live) return "live; codec and size are known with the first frame";
  return fmt::format("{}, {} {}x{}, {:g} frames/s, time from {}", source.container, source.codec,
                     source.width, source.height, source.fps, ToString(source.clock));
}

std::string SupervisionText(const LiveConfig& live) {
  const std::string frozen =
      live.frozen_after_us > 0
          ? fmt::format("frozen after {:g} s of the same picture", live.frozen_after_us * 1e-6)
          : "frozen pictures are not looked for";
  return fmt::format(
      "  watch    stalled after {:g} s, {}; connected again after 0.25 s to {:g} s\n",
      live.stall_after_us * 1e-6, frozen, live.max_backoff_us * 1e-6);
}

// What decodes a live camera's H.264 and H.265; empty for sources that are not decoded like that.
struct DecodedBy {
  HardwareChoice h264;
  HardwareChoice h265;
};
std::optional<DecodedBy> DecodedByOf(const CameraConfig& camera) {
  if (!IsLiveAddress(camera.source.Reveal())) return std::nullopt;
  return DecodedBy{ChooseHardwareDecode(camera.live.hardware, "h264"),
                   ChooseHardwareDecode(camera.live.hardware, "hevc")};
}

std::string DecodedByText(const CameraConfig& camera, const SourceInfo& source) {
  if (!source.live) return "";
  const std::optional<DecodedBy> by = DecodedByOf(camera);
  if (!by) return "";
  const auto text = [](const HardwareChoice& choice) {
    return fmt::format("{} ({})", choice.name == "none" ? "software" : choice.name, choice.why);
  };
  const std::string h264 = text(by->h264);
  const std::string h265 = text(by->h265);
  if (h264 == h265) return fmt::format("  decode   {}\n", h264);
  return fmt::format("  decode   H.264: {}; H.265: {}\n", h264, h265);
}

json DecodedByJson(const CameraConfig& camera, const SourceInfo& source) {
  const std::optional<DecodedBy> by = source.live ? DecodedByOf(camera) : std::nullopt;
  if (!by) return nullptr;
  const auto entry = [](const HardwareChoice& choice) {
    return json{{"by", choice.name == "none" ? "software" : choice.name}, {"why", choice.why}};
  };
  return {{"h264", entry(by->h264)}, {"h265", entry(by->h265)}};
}

json RulesJson(const CameraConfig& camera) {
  json rules = json::array();
  for (const ZoneConfig& zone : camera.zones) rules.push_back({{"zone", zone.name}});
  for (const LineConfig& line : camera.lines) rules.push_back({{"line", line.name}});
  return rules;
}

}  // namespace

std::string Engine::ExplainJson() const {
  json cameras = json::array();
  for (const auto& camera : this->cameras()) {
    const CameraOutline& outline = camera->outline;
    const SourceInfo& source = outline.source;
    cameras.push_back({
        {"id", outline.camera->id},
        {"source",
         {{"url", outline.camera->source},
          {"container", source.container},
          {"codec", source.codec},
          {"width", source.width},
          {"height", source.height},
          {"fps", source.fps},
          {"frames_estimate", source.frames_estimate},
          {"live", source.live},
          {"clock", ToString(source.clock)},
          {"decode_threads", outline.config->decode_threads}}},
        {"decode", DecodedByJson(*outline.config, source)},
        {"select", SelectionJson(*outline.config)},
        {"window",
         {{"capacity", camera->pipeline->window_capacity()},
          {"policy", source.live ? "drop_newest" : "block"}}},
        {"model", camera->model->config.name},
        {"tracker", outline.config->tracker.kind == TrackerType::kNone ? "none" : "bytetrack"},
        {"rules", RulesJson(*outline.config)},
    });
  }
  json models = json::array();
  for (const auto& model : models_.InUse()) {
    json parts = json::array();
    ForEachPart(model->config,
                [&](const std::string& name, ConfigLocation) { parts.push_back(name); });
    const BatcherOptions options = model->batcher->options();
    models.push_back({{"name", model->config.name},
                      {"detector", model->info.describe},
                      {"parts", parts},
                      {"instances", model->instances},
                      {"max_batch", options.max_batch},
                      {"stateful", model->info.stateful},
                      {"labels", model->info.labels->names.size()},
                      {"queue",
                       {{"capacity", options.queue_capacity},
                        {"policy", "block"},
                        {"max_delay_us", options.max_delay_us}}}});
  }
  json lanes = json::array();
  for (const LaneSet::LaneOutline& lane : lanes_.Describe()) {
    lanes.push_back({{"name", lane.lane->name()},
                     {"sinks", lane.sinks},
                     {"queue", {{"capacity", lane.lane->capacity()}, {"policy", "block"}}}});
  }
  return JsonText(
      json{{"cameras", cameras}, {"models", models}, {"lanes", lanes}, {"threads", ThreadCount()}},
      2);
}

std::string Engine::Explain() const {
  std::string text;
  for (const auto& camera : this->cameras()) {
    const CameraOutline& outline = camera->outline;
    const CameraConfig& config = *outline.config;
    const SourceInfo& source = outline.source;
    const Model& model = *camera->model;
    const BatcherOptions options = model.batcher->options();
    text += fmt::format("camera {}\n", outline.camera->id);
    text += fmt::format("  read     {} ({}){}  [thread read-{}]\n", outline.camera->source,
                        SourceText(source), SelectionText(config), config.id);
    text += DecodedByText(config, source);
    if (source.live) text += SupervisionText(config.live);
    text += fmt::format("  order    at most {} frames in flight; {} when full\n",
                        camera->pipeline->window_capacity(),
                        source.live ? "the newest is dropped (late)" : "reading waits");
    text += fmt::format("  detect   {} x{}, {} classes: {}  [threads batch-{}]\n",
                        model.config.name, model.instances, model.info.labels->names.size(),
                        model.info.describe, model.config.name);
    text += source.live
                ? fmt::format(
                      "           {} of its frames wait, a newer one takes the oldest's place "
                      "(late); batches of at most {}\n",
                      camera->pipeline->live_waiting(), options.max_batch)
                : fmt::format(
                      "           queue of {} frames, batches of at most {}; submitting waits "
                      "when full\n",
                      options.queue_capacity, options.max_batch);
    text +=
        fmt::format("  track    {}  [thread cam-{}]\n",
                    config.tracker.kind == TrackerType::kNone ? "none" : "bytetrack", config.id);
    std::string rules;
    for (const ZoneConfig& zone : config.zones) rules += fmt::format(" zone {},", zone.name);
    for (const LineConfig& line : config.lines) rules += fmt::format(" line {},", line.name);
    if (!rules.empty()) rules.pop_back();
    text += fmt::format("  events  {}\n", rules.empty() ? " no zones or lines" : rules);
  }
  text += "deliver\n";
  for (const LaneSet::LaneOutline& lane : lanes_.Describe()) {
    text += fmt::format(
        "  {:<8} {}; queue of {} results; sending waits when full  [thread deliver-{}]\n",
        lane.lane->name(), fmt::join(lane.sinks, ", "), lane.lane->capacity(), lane.lane->name());
  }
  text += fmt::format("{} threads in all\n", ThreadCount());
  return text;
}

int Engine::ThreadCount() const {
  int threads = static_cast<int>(1 + 2 * cameras().size() + lanes_.Describe().size());
  for (const auto& model : models_.InUse()) threads += model->instances;
  return threads;
}

}  // namespace sightline
