#include "cli/composition.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/whole_file.h"
#include "cli/model_settings.h"
#include "cli/model_trial.h"
#include "cli/sources.h"
#include "detect/detector_factory.h"
#include "infer/model_store.h"
#include "media/image_codec.h"
#include "media/video_writer.h"
#include "observe/report_sink.h"
#include "observe/video_sink.h"
#include "remote/vision_language_model.h"
#include "sim/truth_detector.h"
#include "store/jsonl_sink.h"
#include "store/sqlite_sink.h"

namespace sightline::cli {
namespace {

namespace fs = std::filesystem;

// What the outputs of one run have in common.
struct RunFiles {
  std::string only_camera;
  std::shared_ptr<FinishedFiles> finished = std::make_shared<FinishedFiles>();
  // Paths of videos, for as long as their sinks live. One at a time makes sinks, any may end them.
  std::vector<std::pair<std::string, std::weak_ptr<void>>> videos;

  bool IsWriting(const std::string& path) {
    std::erase_if(videos, [](const auto& video) { return video.second.expired(); });
    return std::any_of(videos.begin(), videos.end(),
                       [&](const auto& video) { return video.first == path; });
  }
};
using RunFilesRef = std::shared_ptr<RunFiles>;

std::string InFolder(const std::string& folder, const std::string& path) {
  return fs::path(path).is_absolute() ? path : (fs::path(folder) / path).string();
}

// The encoder of media, as observe knows it.
class EncodedPictures final : public PictureWriter {
 public:
  explicit EncodedPictures(std::unique_ptr<VideoWriter> writer) : writer_(std::move(writer)) {}
  absl::Status Write(const ImageView& picture, int64_t pts_us) override {
    return writer_->Write(picture, pts_us);
  }
  absl::Status Close() override { return writer_->Close(); }

 private:
  std::unique_ptr<VideoWriter> writer_;
};

template <typename Sink>
absl::StatusOr<std::unique_ptr<ResultSink>> Upcast(absl::StatusOr<std::unique_ptr<Sink>> sink) {
  if (!sink.ok()) return sink.status();
  return std::unique_ptr<ResultSink>(*std::move(sink));
}

// Zones and lines as the pictures show them.
std::vector<ReportRule> DrawnRulesOf(const CameraRules& camera) {
  std::vector<ReportRule> rules;
  for (const ZoneSpec& zone : camera.zones) {
    rules.push_back({.name = zone.name, .points_px = zone.polygon_px});
  }
  for (const LineSpec& line : camera.lines) {
    rules.push_back({.name = line.name,
                     .points_px = {line.a_px, line.b_px},
                     .is_line = true,
                     .forward_name = line.forward_name,
                     .backward_name = line.backward_name});
  }
  return rules;
}

RulesForSize DrawnRulesOf(const CameraOutline& camera) {
  return [rules = camera.rules](int width, int height) {
    const absl::StatusOr<CameraRules> in_pixels = rules(width, height);
    // What is wrong with them the camera itself says.
    return in_pixels.ok() ? DrawnRulesOf(*in_pixels) : std::vector<ReportRule>();
  };
}

absl::StatusOr<std::unique_ptr<ResultSink>> MakeVideoSink(const CameraOutline& camera,
                                                          const std::string& path, int crf,
                                                          const RunFilesRef& run,
                                                          std::shared_ptr<OutputWait> wait) {
  VideoSinkOptions options;
  options.camera_id = camera.camera->id;
  options.rules = DrawnRulesOf(camera);
  struct Taken {
    std::unique_ptr<PartialFile> file;
  };
  const auto taken = std::make_shared<Taken>();
  const auto take = [path, finished = run->finished](Taken& to) -> absl::Status {
    SL_ASSIGN_OR_RETURN(to.file, PartialFile::Open(path, finished));
    return absl::OkStatus();
  };
  // Taken now: that another run is writing it shows before a frame is read. When it is this run, for
  // the camera's life before this one, that video is closed by the first frame.
  if (!run->IsWriting(path)) SL_RETURN_IF_ERROR(take(*taken));
  run->videos.emplace_back(path, taken);
  options.open = [taken, take, path, crf, fps = camera.source.fps, wait = std::move(wait)](
                     int width, int height) -> absl::StatusOr<std::unique_ptr<PictureWriter>> {
    if (!taken->file) SL_RETURN_IF_ERROR(take(*taken));
    return OpenVideo(path, width, height, fps, crf, std::move(taken->file), wait);
  };
  return VideoSink::Create(std::move(options));
}

absl::StatusOr<std::unique_ptr<ResultSink>> MakeReportSink(const CameraOutline& camera,
                                                           const std::string& path,
                                                           const RunFilesRef& run,
                                                           std::shared_ptr<OutputWait> wait) {
  ReportSinkOptions options;
  options.path = path;
  options.finished = run->finished;
  options.wait = std::move(wait);
  options.encode_png = [](const ImageView& bgr) { return EncodePng(bgr); };
  options.cameras.push_back({.camera_id = camera.camera->id,
                             .title = {},
                             .source = camera.camera->source,
                             .model = camera.config->model,
                             .rules = DrawnRulesOf(camera)});
  return ReportSink::Create(std::move(options));
}

// A sink behind the folder that it writes into.
SinkPlan PlanOf(
    const Config& config, std::string lane, const std::string& path, std::string what,
    std::function<absl::StatusOr<std::unique_ptr<ResultSink>>(const SinkContext&)> make) {
  return {.lane = std::move(lane),
          .path = path,
          .what = std::move(what),
          .make = [folder = config.outputs.dir, make = std::move(make)](
                      const SinkContext& context) -> absl::StatusOr<std::unique_ptr<ResultSink>> {
            SL_RETURN_IF_ERROR(MakeFolder(folder));
            return make(context);
          }};
}

// The sinks of all cameras.
std::vector<SinkPlan> PlanSinks(const Config& config, bool live, const RunFilesRef& run) {
  const OutputPaths paths = PathsOf(config, run->only_camera);
  std::vector<SinkPlan> plans;
  if (!paths.database.empty()) {
    plans.push_back(PlanOf(config, "rows", paths.database, "sqlite " + paths.database,
                           [path = paths.database](const SinkContext& context) {
                             SqliteSinkOptions options;
                             options.path = path;
                             options.clock = context.clock;
                             options.wait = context.wait;
                             return Upcast(SqliteSink::Create(options));
                           }));
  }
  if (!paths.json_lines.empty()) {
    plans.push_back(PlanOf(config, "rows", paths.json_lines, "lines " + paths.json_lines,
                           [path = paths.json_lines, live, run](const SinkContext& context) {
                             JsonlSinkOptions options;
                             options.path = path;
                             options.append = live;
                             options.finished = run->finished;
                             options.clock = context.clock;
                             options.wait = context.wait;
                             return Upcast(JsonlSink::Create(options));
                           }));
  }
  return plans;
}

// Those of one camera: what shows pictures.
std::vector<SinkPlan> PlanCameraSinks(const Config& config, const CameraOutline& camera,
                                      const RunFilesRef& run) {
  const OutputPaths paths = PathsOf(config, run->only_camera);
  const std::string& id = camera.camera->id;
  std::vector<SinkPlan> plans;
  for (const auto& [of_camera, path] : paths.reports) {
    if (of_camera != id) continue;
    // The page names source and model: with others it is another one.
    plans.push_back(PlanOf(config, "report", path,
                           fmt::format("report {} {} {} life {}", path, camera.camera->source,
                                       camera.config->model, camera.camera->life),
                           [camera, path = path, run](const SinkContext& context) {
                             return MakeReportSink(camera, path, run, context.wait);
                           }));
  }
  for (const auto& [of_camera, path] : paths.videos) {
    if (of_camera != id) continue;
    plans.push_back(PlanOf(
        config, "video-" + id, path, fmt::format("video {} life {}", path, camera.camera->life),
        [camera, path = path, crf = config.outputs.video.crf, run](const SinkContext& context) {
          return MakeVideoSink(camera, path, crf, run, context.wait);
        }));
  }
  return plans;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PictureWriter>> OpenVideo(const std::string& path, int width,
                                                         int height, double fps, int crf,
                                                         std::unique_ptr<PartialFile> file,
                                                         std::shared_ptr<OutputWait> wait) {
  SL_ASSIGN_OR_RETURN(std::unique_ptr<VideoWriter> writer,
                      VideoWriter::Create({.path = path,
                                           .width = width,
                                           .height = height,
                                           .fps = fps,
                                           .quality = crf,
                                           .wait = std::move(wait)},
                                          std::move(file)));
  return std::make_unique<EncodedPictures>(std::move(writer));
}

absl::StatusOr<std::string> ModelFileOf(const std::string& model) {
  if (fs::exists(model)) return model;
  SL_ASSIGN_OR_RETURN(const ModelPackage package, ModelStore::Default().Find(model));
  return package.spec.file;
}

namespace {

absl::StatusOr<DetectorFactory> OpenConfiguredVisionLanguage(
    const ModelConfig& model, std::shared_ptr<net::CancelSignal> cancel) {
  const VisionLanguageConfig& config = *model.vision_language;
  VisionLanguageOptions options;
  options.name = model.name;
  options.endpoint = config.endpoint;
  options.model = config.model;
  options.api_key = config.key.Reveal();
  options.tls.ca_file = config.ca_file;
  options.labels = model.labels;
  options.question = config.ask;
  options.answer = config.answer == VisionLanguageConfig::Answer::kOne ? AnswerKind::kOneLabel
                   : config.answer == VisionLanguageConfig::Answer::kSeveral
                       ? AnswerKind::kSeveralLabels
                       : AnswerKind::kBoxes;
  options.may_find_none = config.may_find_none;
  options.box_unit = config.box_unit == VisionLanguageConfig::BoxUnit::kPixels
                         ? BoxUnit::kPixels
                         : BoxUnit::kThousandths;
  options.max_boxes = config.max_boxes;
  options.max_picture_side_px = config.max_side;
  options.timeout_us = config.timeout_us;
  options.connect_timeout_us = std::min(options.connect_timeout_us, config.timeout_us);
  options.max_at_once = config.max_at_once;
  options.max_waiting = 10'000;  // detectors wait for their answers: no more than their batches
  options.budget = {.requests_per_minute = config.requests_per_minute,
                    .requests_per_hour = config.requests_per_hour,
                    .requests_per_day = config.requests_per_day,
                    .tokens_per_day = config.tokens_per_day};
  options.cache_entries = static_cast<size_t>(config.cache_entries);
  options.cache_ttl_us = config.cache_ttl_us;
  options.cancel = std::move(cancel);
  return OpenVisionLanguageModel(options);
}

}  // namespace

absl::StatusOr<DetectorFactory> OpenConfiguredDetector(const ModelConfig& model) {
  return OpenPromptedDetector(model, {});
}

absl::StatusOr<DetectorFactory> OpenPromptedDetector(const ModelConfig& model,
                                                     std::vector<Prompt> prompts) {
  if (model.vision_language && prompts.empty()) return OpenConfiguredVisionLanguage(model, nullptr);
  if (sim::IsTruthModel(model.reference) && prompts.empty()) {
    return sim::MakeTruthDetectorFactory(model.reference, model.confidence);
  }
  DetectorRequest request;
  request.model = model.reference;
  request.confidence = model.confidence;
  request.nms_kind = model.nms.kind;
  request.nms_iou = model.nms.iou;
  request.nms_sigma = model.nms.sigma;
  request.nms_class_aware = model.nms.class_aware;
  request.max_detections = model.nms.max_detections;
  request.labels = model.labels;
  request.prompts = std::move(prompts);
  request.max_batch = model.max_batch.value_or(1);
  request.threads = model.threads.value_or(1);
  request.parallel_detectors =
      InstancesOf(model, static_cast<int>(std::thread::hardware_concurrency()));
  request.providers = model.providers;
  request.trial = TrialWith(model.backend);
  return OpenDetector(request, [backend = model.backend, model = model.reference] {
    return BackendFor(backend, model);
  });
}

std::string OnlyCameraOf(const Config& first) {
  return first.cameras.size() == 1 ? first.cameras[0].id : "";
}

OutputPaths PathsOf(const Config& config, const std::string& only) {
  const OutputConfig& outputs = config.outputs;
  OutputPaths paths;
  if (outputs.sqlite.enabled) paths.database = InFolder(outputs.dir, outputs.sqlite.path);
  if (outputs.jsonl.enabled) paths.json_lines = InFolder(outputs.dir, outputs.jsonl.path);
  if (outputs.report.enabled) {
    const std::string report = InFolder(outputs.dir, "report.png");
    for (const CameraConfig& camera : config.cameras) {
      paths.reports.emplace_back(camera.id,
                                 ReportPathOf(report, camera.id, camera.id == only ? 1 : 2));
    }
  }
  if (outputs.video.enabled) {
    for (const CameraConfig& camera : config.cameras) {
      paths.videos.emplace_back(camera.id, InFolder(outputs.dir, camera.id + ".mp4"));
    }
  }
  return paths;
}

EngineFactories MakeFactories(const Config& first) {
  const auto run = std::make_shared<RunFiles>();
  run->only_camera = OnlyCameraOf(first);
  const auto look = std::make_shared<HttpLook>();
  // Of the run: who ends it shall not wait for models on other machines.
  const auto cancel = std::make_shared<net::CancelSignal>();
  return {
      .open_source = OpenRecording,
      .open_live = [look](const SourceOptions& options, const LiveConfig& live,
                          FrameLedger& ledger) { return OpenLive(options, live, ledger, *look); },
      .before_opening = [look](auto cameras) { look->Ask(cameras); },
      .open_detector = [cancel](const ModelConfig& model) -> absl::StatusOr<DetectorFactory> {
        if (model.vision_language) return OpenConfiguredVisionLanguage(model, cancel);
        return OpenConfiguredDetector(model);
      },
      .stop_asked = [cancel] { cancel->Cancel(); },
      .plan_sinks = [run](const Config& config, bool live) { return PlanSinks(config, live, run); },
      .plan_camera_sinks =
          [run](const Config& config, const CameraOutline& camera) {
            return PlanCameraSinks(config, camera, run);
          },
  };
}

EngineFactories MakeDryFactories(const Config& first) {
  // A sink that only has a name.
  class NamedSink final : public ResultSink {
   public:
    NamedSink(std::string name, bool pixels) : name_(std::move(name)), pixels_(pixels) {}
    std::string_view name() const override { return name_; }
    bool wants_pixels() const override { return pixels_; }
    absl::Status Write(const FrameResult&) override { return absl::OkStatus(); }
    absl::Status Close() override { return absl::OkStatus(); }

   private:
    const std::string name_;
    const bool pixels_;
  };
  const auto dry = [](std::vector<SinkPlan> plans) {
    for (SinkPlan& plan : plans) {
      plan.make = [path = plan.path, pixels = plan.lane != "rows"](const SinkContext&) {
        return absl::StatusOr<std::unique_ptr<ResultSink>>(
            std::make_unique<NamedSink>(path, pixels));
      };
    }
    return plans;
  };
  EngineFactories factories = MakeFactories(first);
  factories.plan_sinks = [dry, real = factories.plan_sinks](const Config& config, bool live) {
    return dry(real(config, live));
  };
  factories.plan_camera_sinks = [dry, real = factories.plan_camera_sinks](
                                    const Config& config, const CameraOutline& camera) {
    return dry(real(config, camera));
  };
  return factories;
}

}  // namespace sightline::cli
