#include "media/video_track.h"

extern "C" {
#include <libavutil/display.h>
}

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/allocation_scope.h"
#include "media/av_log.h"

namespace sightline {
namespace {

constexpr int kMaxDecodeThreads = 64;

}  // namespace

double FrameRateOf(const AVStream& stream) {
  const auto believable = [](AVRational rate) {
    const double fps = rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0;
    return fps > 0 && fps <= 1000 ? fps : 0;  // 90000 a second is a time base, not a rate
  };
  const double average = believable(stream.avg_frame_rate);
  return average > 0 ? average : believable(stream.r_frame_rate);
}

Orientation OrientationOf(const AVStream& stream) {
  size_t size = 0;
  const uint8_t* data = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  if (data == nullptr || size < 9 * sizeof(int32_t)) return Orientation::kUpright;
  const double counter_clockwise = av_display_rotation_get(reinterpret_cast<const int32_t*>(data));
  if (!std::isfinite(counter_clockwise)) return Orientation::kUpright;
  const auto quarters = static_cast<int>(std::lround(-counter_clockwise / 90.0));
  switch ((quarters % 4 + 4) % 4) {
    case 1:
      return Orientation::kRotate90;
    case 2:
      return Orientation::kRotate180;
    case 3:
      return Orientation::kRotate270;
    default:
      return Orientation::kUpright;
  }
}

std::optional<int64_t> StampOf(int64_t value) {
  if (value == AV_NOPTS_VALUE) return std::nullopt;
  return value;
}

void DescribeTrack(const AVStream& stream, SourceInfo* info) {
  info->codec = avcodec_get_name(stream.codecpar->codec_id);
  info->width = stream.codecpar->width;
  info->height = stream.codecpar->height;
  if (SwapsSides(OrientationOf(stream))) std::swap(info->width, info->height);
  info->fps = FrameRateOf(stream);
}

absl::StatusOr<AvCodecContextPtr> MakeVideoDecoder(const AVStream& stream,
                                                   const MediaLimits& limits, int threads,
                                                   const std::string& name) {
  const LibraryAllocations library;
  const AVCodec* codec = avcodec_find_decoder(stream.codecpar->codec_id);
  if (codec == nullptr) {
    return Unimplemented(
        "{}: there is no decoder for {} in this machine's libavcodec; re-encode the video", name,
        avcodec_get_name(stream.codecpar->codec_id));
  }
  AvCodecContextPtr decoder(avcodec_alloc_context3(codec));
  if (!decoder || avcodec_parameters_to_context(decoder.get(), stream.codecpar) < 0) {
    return ResourceExhausted("{}: no memory for a decoder", name);
  }
  decoder->pkt_timebase = stream.time_base;
  decoder->max_pixels = static_cast<int64_t>(limits.max_video_side_px) * limits.max_video_side_px;
  decoder->thread_count = std::clamp(threads, 1, kMaxDecodeThreads);
  return decoder;
}

absl::Status OpenVideoDecoder(AVCodecContext* decoder, const std::string& name) {
  const LibraryAllocations library;
  const int opened = avcodec_open2(decoder, decoder->codec, nullptr);
  if (opened >= 0) return absl::OkStatus();
  return DataLoss("{}: the {} decoder cannot start: {}", name, avcodec_get_name(decoder->codec_id),
                  AvErrorText(opened));
}

absl::StatusOr<Frame> MakeFrame(AVFrame* picture, PictureAdapter& adapter,
                                const MediaLimits& limits, std::shared_ptr<const CameraInfo> camera,
                                uint64_t ordinal, const FrameTime& time) {
  if (picture->width > limits.max_video_side_px || picture->height > limits.max_video_side_px) {
    return ResourceExhausted("a picture of {}x{} pixels is beyond the limit of {} a side",
                             picture->width, picture->height, limits.max_video_side_px);
  }
  SL_ASSIGN_OR_RETURN(PictureAdapter::Picture adapted, adapter.Adapt(picture));
  Frame frame;
  frame.meta = {.camera = std::move(camera),
                .ordinal = ordinal,
                .time = time,
                .width = adapted.image.width,
                .height = adapted.image.height};
  frame.image = adapted.image;
  frame.pixels = std::move(adapted.memory);
  return frame;
}

}  // namespace sightline
