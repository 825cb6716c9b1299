#include "observe/video_sink.h"

#include <algorithm>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <utility>

#include "base/allocation_scope.h"
#include "base/check.h"
#include "base/log.h"
#include "vision/color.h"

namespace sightline {

VideoSink::VideoSink(VideoSinkOptions options) : options_(std::move(options)), annotator_({}) {}

absl::StatusOr<std::unique_ptr<VideoSink>> VideoSink::Create(VideoSinkOptions options) {
  if (options.camera_id.empty() || !options.open) {
    return InvalidArgument("an annotated video needs a camera and an encoder");
  }
  return std::unique_ptr<VideoSink>(new VideoSink(std::move(options)));
}

int64_t VideoSink::OutputPts(const FrameTime& time) {
  if (first_ || time.epoch != epoch_) {
    offset_us_ = first_ ? 0 : last_pts_us_ + step_us_ - time.pts_us;
    epoch_ = time.epoch;
    first_ = false;
  }
  const int64_t pts_us = std::max(time.pts_us + offset_us_, last_pts_us_ + 1);
  if (last_pts_us_ >= 0) step_us_ = std::clamp<int64_t>(pts_us - last_pts_us_, 1, 1'000'000);
  last_pts_us_ = pts_us;
  return pts_us;
}

// The picture scaled into the middle of one of the output's size; nullptr when it has that size
// (its last odd row or column is passed over by the stride).
const uint8_t* VideoSink::FitToOutput(int width, int height) {
  if (width / 2 == width_ / 2 && height / 2 == height_ / 2 && width > 1 && height > 1) {
    return nullptr;
  }
  const double scale =
      std::min(static_cast<double>(width_) / width, static_cast<double>(height_) / height);
  const int inner_width = std::clamp(static_cast<int>(width * scale), 1, width_);
  const int inner_height = std::clamp(static_cast<int>(height * scale), 1, height_);
  fitted_.assign(static_cast<size_t>(width_) * static_cast<size_t>(height_) * 3, 0);
  const cv::Mat from(height, width, CV_8UC3, bgr_.data());
  cv::Mat page(height_, width_, CV_8UC3, fitted_.data());
  cv::Mat inner =
      page({(width_ - inner_width) / 2, (height_ - inner_height) / 2, inner_width, inner_height});
  cv::resize(from, inner, inner.size(), 0, 0, scale < 1 ? cv::INTER_AREA : cv::INTER_LINEAR);
  return fitted_.data();
}

absl::Status VideoSink::WritePicture(const FrameResult& result) {
  const ImageView& image = result.frame.image;
  if (const absl::Status status = ToBgr(image, &bgr_); !status.ok()) {
    if (!std::exchange(warned_, true)) Log().warn("annotated video: {}", MessageOf(status));
    return absl::OkStatus();
  }
  if (options_.rules && rules_version_ != result.rules_version) {
    annotator_.SetRules(options_.rules(image.width, image.height));
    rules_version_ = result.rules_version;
  }
  annotator_.Draw(result, {bgr_.data(), image.width, image.height, image.width * 3});
  if (writer_ == nullptr) {
    width_ = std::max(2, image.width & ~1);
    height_ = std::max(2, image.height & ~1);
    SL_ASSIGN_OR_RETURN(writer_, options_.open(width_, height_));
  }
  const uint8_t* fitted = FitToOutput(image.width, image.height);
  ImageView out;
  out.format = PixelFormat::kBgr24;
  out.width = width_;
  out.height = height_;
  out.planes[0] = fitted != nullptr ? fitted : bgr_.data();
  out.strides[0] = fitted != nullptr ? width_ * 3 : image.width * 3;
  return writer_->Write(out, OutputPts(result.frame.meta.time));
}

absl::Status VideoSink::Write(const FrameResult& result) {
  if (!failure_.ok()) return failure_;
  const FrameMeta& meta = result.frame.meta;
  if (meta.camera == nullptr || meta.camera->id != options_.camera_id) return absl::OkStatus();
  if (result.end_of_stream || result.frame.pixels == nullptr) return absl::OkStatus();
  if (SL_BUG_IF(closed_, "a frame for the annotated video after its end")) return absl::OkStatus();
  try {
    failure_ = WritePicture(result);
  } catch (const cv::Exception& error) {
    failure_ = MakeError(absl::StatusCode::kInternal, "drawing: {}", error.err);
  }
  if (!failure_.ok()) {
    failure_ = WithContext(failure_, "annotated video of " + options_.camera_id);
  }
  return failure_;
}

absl::Status VideoSink::Close() {
  if (std::exchange(closed_, true) || writer_ == nullptr) return failure_;
  const absl::Status status = writer_->Close();
  if (failure_.ok()) failure_ = WithContext(status, "annotated video of " + options_.camera_id);
  return failure_;
}

}  // namespace sightline
