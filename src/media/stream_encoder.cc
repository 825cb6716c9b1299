#include "media/stream_encoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/allocation_scope.h"
#include "media/av_internal.h"
#include "media/av_log.h"

namespace sightline {
namespace {

constexpr int kMaxSide = 8192;  // of a plane; far above what RTSP cameras send
// RFC 2435 has a byte for each side, in blocks of 8 px.
constexpr int kMaxJpegSide = 2040;

const char* EncoderName(StreamCodec codec) {
  switch (codec) {
    case StreamCodec::kH264:
      return "libx264";
    case StreamCodec::kH265:
      return "libx265";
    case StreamCodec::kMjpeg:
      return "mjpeg";
  }
  return "";
}

// One plane, padded to the right and below with copies of the last column and row.
void CopyPlane(const uint8_t* from, int from_stride, int width, int height, uint8_t* to,
               int to_stride, int to_width, int to_height) {
  for (int y = 0; y < to_height; ++y) {
    const uint8_t* row = from + static_cast<int64_t>(std::min(y, height - 1)) * from_stride;
    uint8_t* out = to + static_cast<int64_t>(y) * to_stride;
    std::memcpy(out, row, static_cast<size_t>(width));
    if (to_width > width) {
      std::memset(out + width, row[width - 1], static_cast<size_t>(to_width - width));
    }
  }
}

}  // namespace

class StreamEncoder::Impl {
 public:
  explicit Impl(const Options& options) : options_(options) {}

  absl::Status Open();
  absl::StatusOr<Packet> Encode(const ImageView& image, int64_t pts_us);

 private:
  absl::Status Configure(AvDictionary* settings);

  const Options options_;
  AvCodecContextPtr encoder_;
  AvFramePtr picture_{av_frame_alloc()};
  AvPacketPtr packet_{av_packet_alloc()};
};

absl::Status StreamEncoder::Impl::Open() {
  RouteAvLog();
  const int most = options_.codec == StreamCodec::kMjpeg ? kMaxJpegSide : kMaxSide;
  if (options_.width < 16 || options_.height < 16 || options_.width > most ||
      options_.height > most) {
    return InvalidArgument("a stream of {}x{} pixels cannot be sent (16 to {} a side)",
                           options_.width, options_.height, most);
  }
  const LibraryAllocations library;
  const AVCodec* codec = avcodec_find_encoder_by_name(EncoderName(options_.codec));
  if (codec == nullptr) {
    return Unimplemented("this machine's libavcodec has no encoder {}; choose another codec",
                         EncoderName(options_.codec));
  }
  encoder_.reset(avcodec_alloc_context3(codec));
  if (!encoder_ || !picture_ || !packet_) return ResourceExhausted("no memory for an encoder");
  AvDictionary settings;
  SL_RETURN_IF_ERROR(Configure(&settings));
  int code = avcodec_open2(encoder_.get(), codec, settings.address());
  if (code < 0) return Internal("starting {} failed: {}", codec->name, AvErrorText(code));
  picture_->format = encoder_->pix_fmt;
  picture_->width = encoder_->width;
  picture_->height = encoder_->height;
  code = av_frame_get_buffer(picture_.get(), 0);
  return code < 0 ? ResourceExhausted("no memory for a picture") : absl::OkStatus();
}

absl::Status StreamEncoder::Impl::Configure(AvDictionary* settings) {
  AVCodecContext& encoder = *encoder_;
  const double fps = std::isfinite(options_.fps) ? std::clamp(options_.fps, 0.1, 240.0) : 25;
  encoder.width = (options_.width + 1) / 2 * 2;
  encoder.height = (options_.height + 1) / 2 * 2;
  encoder.time_base = AVRational{1, 90'000};  // RTP's
  encoder.framerate = av_d2q(fps, 100'000);
  encoder.gop_size = std::max(1, options_.key_interval);
  encoder.keyint_min = encoder.gop_size;
  encoder.max_b_frames = 0;
  encoder.thread_count = 1;
  encoder.pix_fmt = AV_PIX_FMT_YUV420P;
  encoder.color_range = AVCOL_RANGE_MPEG;
  encoder.colorspace = AVCOL_SPC_SMPTE170M;
  switch (options_.codec) {
    case StreamCodec::kH264:
      settings->Set("preset", "ultrafast");
      settings->Set("tune", "zerolatency");
      settings->Set("crf", std::clamp(options_.quality, 0, 51));
      settings->Set("forced-idr", 1);
      settings->Set("x264-params", "scenecut=0:sliced-threads=0");
      break;
    case StreamCodec::kH265:
      settings->Set("preset", "ultrafast");
      settings->Set("tune", "zerolatency");
      settings->Set("crf", std::clamp(options_.quality, 0, 51));
      settings->Set("x265-params",
                    "pools=1:frame-threads=1:scenecut=0:open-gop=0:repeat-headers=1:log-level=0");
      break;
    case StreamCodec::kMjpeg:
      // JPEG is full range by its own standard; the few grey levels between are not worth a copy.
      encoder.pix_fmt = AV_PIX_FMT_YUVJ420P;
      encoder.color_range = AVCOL_RANGE_JPEG;
      encoder.flags |= AV_CODEC_FLAG_QSCALE;
      encoder.global_quality = 4 * FF_QP2LAMBDA;  // chosen: few artefacts to be seen
      settings->Set("huffman", "default");
      break;
  }
  return absl::OkStatus();
}

absl::StatusOr<StreamEncoder::Packet> StreamEncoder::Impl::Encode(const ImageView& image,
                                                                  int64_t pts_us) {
  if (image.format != PixelFormat::kI420 || image.planes[0] == nullptr ||
      image.width != options_.width || image.height != options_.height) {
    return InvalidArgument("a picture of {}x{} pixels in a stream of {}x{}", image.width,
                           image.height, options_.width, options_.height);
  }
  const LibraryAllocations library;
  int code = av_frame_make_writable(picture_.get());
  if (code < 0) return ResourceExhausted("no memory for a picture");
  for (int p = 0; p < 3; ++p) {
    const int half = p == 0 ? 1 : 2;
    CopyPlane(image.planes[p], image.strides[p], (image.width + half - 1) / half,
              (image.height + half - 1) / half, picture_->data[p], picture_->linesize[p],
              picture_->width / half, picture_->height / half);
  }
  picture_->pts = av_rescale_q(pts_us, AVRational{1, 1'000'000}, encoder_->time_base);
  picture_->quality = encoder_->global_quality;
  code = avcodec_send_frame(encoder_.get(), picture_.get());
  av_packet_unref(packet_.get());
  if (code >= 0) code = avcodec_receive_packet(encoder_.get(), packet_.get());
  if (code < 0) return Internal("encoding failed: {}", AvErrorText(code));
  return Packet{.bytes = {packet_->data, static_cast<size_t>(packet_->size)},
                .key = (packet_->flags & AV_PKT_FLAG_KEY) != 0};
}

StreamEncoder::StreamEncoder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StreamEncoder::~StreamEncoder() = default;

absl::StatusOr<std::unique_ptr<StreamEncoder>> StreamEncoder::Create(const Options& options) {
  auto impl = std::make_unique<Impl>(options);
  SL_RETURN_IF_ERROR(impl->Open());
  return std::unique_ptr<StreamEncoder>(new StreamEncoder(std::move(impl)));
}

absl::StatusOr<StreamEncoder::Packet> StreamEncoder::Encode(const ImageView& image,
                                                            int64_t pts_us) {
  return impl_->Encode(image, pts_us);
}

}  // namespace sightline
