#include "observe/report_sink.h"

#include <algorithm>
#include <filesystem>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/whole_file.h"
#include "observe/report_render.h"
#include "vision/color.h"

namespace sightline {
namespace {

// The picture is shown some 760 px wide; twice that stays sharp.
constexpr int kLongestSidePx = 1520;

}  // namespace

ReportSink::ReportSink(ReportSinkOptions options)
    : options_(std::move(options)), started_us_(options_.clock->NowMonotonicUs()) {
  for (const ReportCamera& camera : options_.cameras) {
    cameras_.emplace(camera.camera_id, Camera{camera, ReportData({})});
  }
}

absl::StatusOr<std::unique_ptr<ReportSink>> ReportSink::Create(ReportSinkOptions options) {
  if (options.path.empty()) return InvalidArgument("the report needs a path");
  if (options.cameras.empty()) return InvalidArgument("the report {} needs a camera", options.path);
  if (!options.encode_png)
    return InvalidArgument("the report {} needs a PNG encoder", options.path);
  const size_t cameras = options.cameras.size();
  auto sink = std::unique_ptr<ReportSink>(new ReportSink(std::move(options)));
  if (sink->cameras_.size() != cameras) {
    return InvalidArgument("the report {} has a camera twice", sink->options_.path);
  }
  return sink;
}

ReportSink::Camera* ReportSink::Find(const CameraInfo* camera) {
  if (SL_BUG_IF(camera == nullptr, "a result without a camera reached the report")) return nullptr;
  const auto found = cameras_.find(camera->id);
  return found == cameras_.end() ? nullptr : &found->second;
}

absl::Status ReportSink::Write(const FrameResult& result) {
  Camera* camera = Find(result.frame.meta.camera.get());
  if (camera == nullptr) return absl::OkStatus();
  if (camera->about.rules && camera->rules_version != result.rules_version) {
    const FrameMeta& frame = result.frame.meta;
    camera->data.SetRules(camera->about.rules(frame.width, frame.height));
    camera->rules_version = result.rules_version;
  }
  camera->data.Add(result);
  if (camera->data.WantsPicture() && result.frame.pixels != nullptr) {
    KeepPicture(result, camera->data);
  }
  return absl::OkStatus();
}

void ReportSink::KeepPicture(const FrameResult& result, ReportData& data) {
  const ImageView& image = result.frame.image;
  if (const absl::Status status = ToBgr(image, &bgr_); !status.ok()) {
    if (!std::exchange(warned_, true)) Log().warn("report: {}", MessageOf(status));
    return;
  }
  const int longest = std::max(image.width, image.height);
  if (longest <= kLongestSidePx) {
    data.KeepPicture(bgr_, image.width, image.height);
    return;
  }
  const double scale = static_cast<double>(kLongestSidePx) / longest;
  const int width = std::max(1, static_cast<int>(image.width * scale));
  const int height = std::max(1, static_cast<int>(image.height * scale));
  std::vector<uint8_t> smaller(static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
  const cv::Mat from(image.height, image.width, CV_8UC3, bgr_.data());
  cv::Mat to(height, width, CV_8UC3, smaller.data());
  cv::resize(from, to, to.size(), 0, 0, cv::INTER_AREA);
  data.KeepPicture(std::move(smaller), width, height);
}

absl::Status ReportSink::WriteTrack(const TrackSummary& track) {
  if (Camera* camera = Find(track.camera.get())) camera->data.AddTrack(track);
  return absl::OkStatus();
}

absl::Status ReportSink::WriteLedger(const CameraInfo& info, const FrameCounts& counts) {
  if (Camera* camera = Find(&info)) camera->data.SetLedger(counts);
  return absl::OkStatus();
}

std::string ReportPathOf(const std::string& report, const std::string& camera_id, size_t cameras) {
  if (cameras == 1) return report;
  const std::filesystem::path path(report);
  return (path.parent_path() / (path.stem().string() + "-" + camera_id + path.extension().string()))
      .string();
}

std::string ReportSink::PathOf(const std::string& camera_id) const {
  return ReportPathOf(options_.path, camera_id, cameras_.size());
}

absl::Status ReportSink::WriteReport(const Camera& camera, double wall_s) {
  const ReportCamera& about = camera.about;
  const ReportPage page =
      RenderReport(camera.data, {.title = about.title.empty() ? about.camera_id : about.title,
                                 .source = about.source,
                                 .model = about.model,
                                 .wall_s = wall_s});
  ImageView view;
  view.format = PixelFormat::kBgr24;
  view.width = page.width;
  view.height = page.height;
  view.planes[0] = page.bgr.data();
  view.strides[0] = page.width * 3;
  SL_ASSIGN_OR_RETURN(const std::vector<uint8_t> png, options_.encode_png(view));
  const std::string path = PathOf(about.camera_id);
  if (options_.finished) SL_RETURN_IF_ERROR(options_.finished->MakeWay(path));
  const auto write = [&] { return WriteWholeFile(path, std::span<const uint8_t>(png)); };
  SL_RETURN_IF_ERROR(WriteOrWait(options_.wait.get(), write));
  if (options_.finished) options_.finished->Add(path);
  return absl::OkStatus();
}

absl::Status ReportSink::Abandon() {
  closed_ = true;
  return absl::OkStatus();
}

absl::Status ReportSink::Close() {
  if (std::exchange(closed_, true)) return absl::OkStatus();
  const double wall_s = static_cast<double>(options_.clock->NowMonotonicUs() - started_us_) * 1e-6;
  absl::Status first;
  for (const auto& [id, camera] : cameras_) {
    absl::Status status;
    try {
      status = WriteReport(camera, wall_s);
    } catch (const cv::Exception& error) {
      status = MakeError(absl::StatusCode::kInternal, "drawing the report {}: {}", PathOf(id),
                         error.err);
    }
    if (first.ok()) first = status;
  }
  return first;
}

}  // namespace sightline
