#include "cli/composition.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/log.h"
#include "base/whole_file.h"
#include "cli/sources.h"
#include "detect/detector_factory.h"
#include "infer/backends/onnxruntime/onnxruntime_backend.h"
#include "infer/model_store.h"
#include "media/image_codec.h"
#include "media/video_writer.h"
#include "observe/report_sink.h"
#include "observe/video_sink.h"
#include "sim/truth_detector.h"
#include "store/jsonl_sink.h"
#include "store/sqlite_sink.h"

namespace sightline::cli {
namespace {

namespace fs = std::filesystem;

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
                                                          const std::string& path, int crf) {
  VideoSinkOptions options;
  options.camera_id = camera.camera->id;
  options.rules = DrawnRulesOf(camera);
  // Taken now: that another run is writing it shows before a frame is read.
  SL_ASSIGN_OR_RETURN(std::unique_ptr<PartialFile> taken, PartialFile::Open(path));
  const auto file = std::make_shared<std::unique_ptr<PartialFile>>(std::move(taken));
  options.open = [file, path, crf, fps = camera.source.fps](int width, int height) {
    return OpenVideo(path, width, height, fps, crf, std::move(*file));
  };
  return VideoSink::Create(std::move(options));
}

absl::StatusOr<std::unique_ptr<ResultSink>> MakeReportSink(
    const std::string& path, const std::vector<CameraOutline>& cameras) {
  ReportSinkOptions options;
  options.path = path;
  options.encode_png = [](const ImageView& bgr) { return EncodePng(bgr); };
  for (const CameraOutline& camera : cameras) {
    options.cameras.push_back({.camera_id = camera.camera->id,
                               .title = {},
                               .source = camera.camera->source,
                               .model = camera.config->model,
                               .rules = DrawnRulesOf(camera)});
  }
  return ReportSink::Create(std::move(options));
}

absl::StatusOr<std::vector<LaneSpec>> MakeSinks(const Config& config,
                                                const std::vector<CameraOutline>& cameras) {
  SL_RETURN_IF_ERROR(MakeFolder(config.outputs.dir));
  const OutputPaths paths = PathsOf(config);
  std::vector<LaneSpec> lanes(1);
  lanes[0].name = "rows";
  if (!paths.database.empty()) {
    SqliteSinkOptions options;
    options.path = paths.database;
    SL_ASSIGN_OR_RETURN(std::unique_ptr<ResultSink> sink, SqliteSink::Create(options));
    lanes[0].sinks.push_back(std::move(sink));
  }
  if (!paths.json_lines.empty()) {
    JsonlSinkOptions options;
    options.path = paths.json_lines;
    options.append = std::any_of(cameras.begin(), cameras.end(),
                                 [](const CameraOutline& camera) { return camera.source.live; });
    SL_ASSIGN_OR_RETURN(std::unique_ptr<ResultSink> sink, JsonlSink::Create(options));
    lanes[0].sinks.push_back(std::move(sink));
  }
  if (!paths.report.empty()) {
    LaneSpec report;
    report.name = "report";
    SL_ASSIGN_OR_RETURN(std::unique_ptr<ResultSink> sink, MakeReportSink(paths.report, cameras));
    report.sinks.push_back(std::move(sink));
    lanes.push_back(std::move(report));
  }
  for (size_t i = 0; i < paths.videos.size(); ++i) {
    LaneSpec video;
    video.name = "video-" + paths.videos[i].first;
    SL_ASSIGN_OR_RETURN(std::unique_ptr<ResultSink> sink,
                        MakeVideoSink(cameras[i], paths.videos[i].second, config.outputs.video.crf));
    video.sinks.push_back(std::move(sink));
    lanes.push_back(std::move(video));
  }
  return lanes;
}

}  // namespace

absl::StatusOr<InferenceBackend*> DefaultBackend() { return OnnxRuntimeBackend(); }

absl::StatusOr<std::unique_ptr<PictureWriter>> OpenVideo(const std::string& path, int width,
                                                         int height, double fps, int crf,
                                                         std::unique_ptr<PartialFile> file) {
  SL_ASSIGN_OR_RETURN(std::unique_ptr<VideoWriter> writer,
                      VideoWriter::Create({.path = path,
                                           .width = width,
                                           .height = height,
                                           .fps = fps,
                                           .quality = crf},
                                          std::move(file)));
  return std::make_unique<EncodedPictures>(std::move(writer));
}

absl::StatusOr<std::string> ModelFileOf(const std::string& model) {
  if (fs::exists(model)) return model;
  SL_ASSIGN_OR_RETURN(const ModelPackage package, ModelStore::Default().Find(model));
  return package.spec.file;
}

absl::StatusOr<DetectorFactory> OpenConfiguredDetector(const ModelConfig& model) {
  if (sim::IsTruthModel(model.reference)) {
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
  request.max_batch = model.max_batch.value_or(1);
  request.threads = model.threads;
  request.providers = model.providers;
  return OpenDetector(request, [] { return DefaultBackend(); });
}

OutputPaths PathsOf(const Config& config) {
  const OutputConfig& outputs = config.outputs;
  OutputPaths paths;
  if (outputs.sqlite.enabled) paths.database = InFolder(outputs.dir, outputs.sqlite.path);
  if (outputs.jsonl.enabled) paths.json_lines = InFolder(outputs.dir, outputs.jsonl.path);
  if (outputs.report.enabled) {
    paths.report = InFolder(outputs.dir, "report.png");
    for (const CameraConfig& camera : config.cameras) {
      paths.reports.emplace_back(camera.id,
                                 ReportPathOf(paths.report, camera.id, config.cameras.size()));
    }
  }
  if (outputs.video.enabled) {
    for (const CameraConfig& camera : config.cameras) {
      paths.videos.emplace_back(camera.id, InFolder(outputs.dir, camera.id + ".mp4"));
    }
  }
  return paths;
}

EngineFactories MakeFactories(const Config& config) {
  return {
      .open_source = OpenRecording,
      .open_live = OpenLive,
      .open_detector = OpenConfiguredDetector,
      .make_sinks = [config](const std::vector<CameraOutline>& cameras) {
        return MakeSinks(config, cameras);
      },
  };
}

EngineFactories MakeDryFactories(const Config& config) {
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
  EngineFactories factories = MakeFactories(config);
  factories.make_sinks = [config](const std::vector<CameraOutline>&)
      -> absl::StatusOr<std::vector<LaneSpec>> {
    const OutputPaths paths = PathsOf(config);
    std::vector<LaneSpec> lanes;
    const auto add = [&](std::string lane, const std::string& path, bool pixels, bool same_lane) {
      if (path.empty()) return;
      if (!same_lane || lanes.empty()) lanes.push_back({.name = std::move(lane), .sinks = {}});
      lanes.back().sinks.push_back(std::make_unique<NamedSink>(path, pixels));
    };
    add("rows", paths.database, false, true);
    add("rows", paths.json_lines, false, true);
    add("report", paths.report, true, false);
    for (const auto& [camera, path] : paths.videos) add("video-" + camera, path, true, false);
    return lanes;
  };
  return factories;
}

}  // namespace sightline::cli
