#include "media/video_writer.h"

#include <unistd.h>

extern "C" {
#include <libavutil/opt.h>
}

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <optional>

#include "base/allocation_scope.h"
#include "base/log.h"
#include "base/whole_file.h"
#include "media/av_internal.h"
#include "media/av_log.h"
#include "media/picture_adapter.h"

namespace sightline {
namespace {

constexpr int kMaxSide = 16384;         // libx264's own limit
constexpr double kFragmentSeconds = 2;  // chosen: what a kill may cost
constexpr int kIoBytes = 1 << 16;

// Fills the columns and rows from (width, height) on with copies of the last.
void PadPlane(uint8_t* plane, int stride, int width, int height, int padded_width,
              int padded_height) {
  for (int y = 0; y < height && padded_width > width; ++y) {
    uint8_t* row = plane + static_cast<int64_t>(y) * stride;
    std::memset(row + width, row[width - 1], static_cast<size_t>(padded_width - width));
  }
  for (int y = height; y < padded_height; ++y) {
    std::memcpy(plane + static_cast<int64_t>(y) * stride,
                plane + static_cast<int64_t>(height - 1) * stride,
                static_cast<size_t>(padded_width));
  }
}

// The picture's rows from `first` (even) on.
void CopyRows(const ImageView& image, int first, PictureMemory* to) {
  to->Allocate(image.format, image.width, image.height - first);
  for (int p = 0; p < PlaneCount(image.format); ++p) {
    const auto bytes = static_cast<size_t>(PlaneRowBytes(image.format, p, image.width));
    const int rows = PlaneRows(image.format, p, image.height);
    const int above = PlaneRows(image.format, p, first);
    for (int y = above; y < rows; ++y) {
      std::memcpy(to->planes[p] + static_cast<int64_t>(y - above) * to->strides[p],
                  image.planes[p] + static_cast<int64_t>(y) * image.strides[p], bytes);
    }
  }
}

}  // namespace

class VideoWriter::Impl {
 public:
  Impl(const Options& options, std::unique_ptr<PartialFile> file)
      : options_(options),
        file_(std::move(file)),
        fps_(std::isfinite(options.fps) && options.fps > 0 ? std::clamp(options.fps, 0.01, 1000.0)
                                                           : 25) {}

  absl::Status Open();
  absl::Status Write(const ImageView& image, int64_t pts_us);
  absl::Status Close();
  const std::string& codec() const { return codec_name_; }
  const std::string& path() const { return options_.path; }

 private:
  static int OnWrite(void* self, uint8_t* data, int size);
  static int64_t OnSeek(void* self, int64_t offset, int whence);

  absl::Status OpenEncoder();
  absl::Status OpenFile();
  absl::Status Fail(int code, std::string_view doing);
  absl::Status FillPicture(const ImageView& image);
  absl::Status Convert(const ImageView& image, AVFrame* to);
  absl::Status Encode(const AVFrame* picture);
  int64_t NextTick(int64_t pts_us);

  const Options options_;
  std::unique_ptr<PartialFile> file_;
  const double fps_;
  std::string codec_name_;
  int write_errno_ = 0;  // of the first write that failed
  AvioContextPtr io_;
  AvOutputPtr output_;
  AVStream* stream_ = nullptr;  // owned by output_
  AvCodecContextPtr encoder_;
  AvFramePtr picture_{av_frame_alloc()};
  AvPacketPtr packet_{av_packet_alloc()};
  bool header_written_ = false;
  bool closed_ = false;
  absl::Status status_;

  std::optional<int64_t> last_us_;  // as written
  int64_t shift_us_ = 0;            // added since the stamps stepped back
  std::optional<int64_t> last_tick_;

  // Conversion into the encoder's pictures; the second leg only for YUV of another matrix or range.
  struct Leg {
    SwsContextPtr scaler;
    AVPixelFormat from = AV_PIX_FMT_NONE;
    ColorMatrix matrix{};
    ColorRange range{};
  };
  Leg direct_;
  Leg to_rgb_;
  PictureMemory rgb_;
  PictureMemory last_rows_;
};

int VideoWriter::Impl::OnWrite(void* self, uint8_t* data, int size) {
  auto& writer = *static_cast<Impl*>(self);
  const std::string_view bytes(reinterpret_cast<const char*>(data), static_cast<size_t>(size));
  int64_t written = 0;
  int error = 0;
  const auto attempt = [&] {
    error = WriteAll(writer.file_->fd(), bytes.substr(static_cast<size_t>(written)), &written);
    return error == 0 ? absl::OkStatus() : FileError(error, "writing to", writer.options_.path);
  };
  if (WriteOrWait(writer.options_.wait.get(), attempt).ok()) return size;
  writer.write_errno_ = error;
  return AVERROR(error);
}

int64_t VideoWriter::Impl::OnSeek(void* self, int64_t offset, int whence) {
  if ((whence & AVSEEK_SIZE) != 0) return -1;
  const off_t at = ::lseek(static_cast<Impl*>(self)->file_->fd(), offset, whence & ~AVSEEK_FORCE);
  return at < 0 ? AVERROR(errno) : at;
}

absl::Status VideoWriter::Impl::Fail(int code, std::string_view doing) {
  if (write_errno_ != 0) {
    status_ = FileError(write_errno_, "writing to", options_.path);
  } else if (code == AVERROR(ENOMEM)) {
    status_ = ResourceExhausted("{}: no memory while {}", options_.path, doing);
  } else {
    status_ = Internal("{}: {} failed: {}", options_.path, doing, AvErrorText(code));
  }
  return status_;
}

absl::Status VideoWriter::Impl::Open() {
  RouteAvLog();
  const LibraryAllocations library;
  if (options_.width <= 0 || options_.height <= 0 || options_.width > kMaxSide ||
      options_.height > kMaxSide) {
    return InvalidArgument("{}: a video of {}x{} pixels cannot be written (1 to {} a side)",
                           options_.path, options_.width, options_.height, kMaxSide);
  }
  if (!picture_ || !packet_) return ResourceExhausted("{}: no memory for a video", options_.path);
  AVFormatContext* output = nullptr;
  if (avformat_alloc_output_context2(&output, nullptr, "mp4", nullptr) < 0) {
    return Unimplemented("{}: this machine's libavformat cannot write MP4", options_.path);
  }
  output_.reset(output);
  SL_RETURN_IF_ERROR(OpenEncoder());
  return OpenFile();
}

absl::Status VideoWriter::Impl::OpenEncoder() {
  const AVCodec* codec = avcodec_find_encoder_by_name("libx264");
  const bool h264 = codec != nullptr;
  if (!h264) codec = avcodec_find_encoder_by_name("mpeg4");
  if (codec == nullptr) {
    return Unimplemented("{}: this machine's libavcodec has neither libx264 nor mpeg4",
                         options_.path);
  }
  codec_name_ = codec->name;
  encoder_.reset(avcodec_alloc_context3(codec));
  if (!encoder_) return ResourceExhausted("{}: no memory for an encoder", options_.path);
  AVCodecContext& encoder = *encoder_;
  encoder.width = (options_.width + 1) / 2 * 2;
  encoder.height = (options_.height + 1) / 2 * 2;
  encoder.pix_fmt = AV_PIX_FMT_YUV420P;
  // Microseconds, so that stamps survive as they are; MPEG-4 has 16 bits for a second's ticks.
  encoder.time_base = h264 ? AVRational{1, 1'000'000} : AVRational{1, 50'000};
  encoder.framerate = av_d2q(fps_, 100'000);
  encoder.gop_size = std::max(1, static_cast<int>(std::lround(fps_ * kFragmentSeconds)));
  encoder.max_b_frames = 0;  // no delay: what was written is soon in the file
  encoder.thread_count = std::clamp(options_.threads, 1, 64);
  encoder.flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  const bool bt709 = options_.matrix == ColorMatrix::kBt709;
  encoder.colorspace = bt709 ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
  encoder.color_primaries = bt709 ? AVCOL_PRI_BT709 : AVCOL_PRI_SMPTE170M;
  encoder.color_trc = bt709 ? AVCOL_TRC_BT709 : AVCOL_TRC_SMPTE170M;
  encoder.color_range = options_.range == ColorRange::kFull ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
  AvDictionary settings;
  if (h264) {
    settings.Set("preset", "veryfast");
    settings.Set("crf", std::clamp(options_.quality, 0, 51));
    settings.Set("x264-params", "rc-lookahead=8:sync-lookahead=0");
  } else {
    encoder.flags |= AV_CODEC_FLAG_QSCALE;
    encoder.global_quality = 4 * FF_QP2LAMBDA;  // near crf 23 by eye (chosen)
  }
  const int code = avcodec_open2(&encoder, codec, settings.address());
  if (code < 0) return Fail(code, "starting the encoder");
  picture_->format = encoder.pix_fmt;
  picture_->width = encoder.width;
  picture_->height = encoder.height;
  const int got = av_frame_get_buffer(picture_.get(), 0);
  return got < 0 ? Fail(got, "making room for a picture") : absl::OkStatus();
}

absl::Status VideoWriter::Impl::OpenFile() {
  if (!file_) {
    SL_ASSIGN_OR_RETURN(file_, PartialFile::Open(options_.path));
  }
  auto* buffer = static_cast<unsigned char*>(av_malloc(kIoBytes));
  io_.reset(avio_alloc_context(buffer, kIoBytes, 1, this, nullptr, &OnWrite, &OnSeek));
  if (!io_) {
    av_free(buffer);
    return ResourceExhausted("{}: no memory for a video", options_.path);
  }
  output_->pb = io_.get();
  output_->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_FLUSH_PACKETS;
  stream_ = avformat_new_stream(output_.get(), nullptr);
  if (stream_ == nullptr) return ResourceExhausted("{}: no memory for a video", options_.path);
  avcodec_parameters_from_context(stream_->codecpar, encoder_.get());
  stream_->time_base = encoder_->time_base;
  stream_->avg_frame_rate = encoder_->framerate;
  AvDictionary settings;
  settings.Set("movflags", "frag_keyframe+empty_moov+default_base_moof");
  const int code = avformat_write_header(output_.get(), settings.address());
  if (code < 0) return Fail(code, "writing the header");
  header_written_ = true;
  avio_flush(io_.get());
  if (io_->error < 0) return Fail(io_->error, "writing the header");
  return absl::OkStatus();
}

// The picture's place on the file's clock, which never stands still.
int64_t VideoWriter::Impl::NextTick(int64_t pts_us) {
  constexpr int64_t kSane = int64_t{1} << 60;
  int64_t us = std::clamp(pts_us, -kSane, kSane) + shift_us_;
  if (last_us_ && us <= *last_us_) {
    const int64_t next = *last_us_ + std::max<int64_t>(1, std::llround(1e6 / fps_));
    shift_us_ += next - us;
    us = next;
  }
  last_us_ = us;
  int64_t tick = av_rescale_q(us, AVRational{1, 1'000'000}, encoder_->time_base);
  if (last_tick_ && tick <= *last_tick_) tick = *last_tick_ + 1;
  last_tick_ = tick;
  return tick;
}

absl::Status VideoWriter::Impl::Write(const ImageView& image, int64_t pts_us) {
  if (closed_) return FailedPrecondition("{}: is closed already", options_.path);
  if (!status_.ok()) return status_;
  if (image.width != options_.width || image.height != options_.height ||
      image.planes[0] == nullptr) {
    return InvalidArgument("{}: a picture of {}x{} pixels in a video of {}x{}", options_.path,
                           image.width, image.height, options_.width, options_.height);
  }
  const LibraryAllocations library;
  const int code = av_frame_make_writable(picture_.get());
  if (code < 0) return Fail(code, "making room for a picture");
  SL_RETURN_IF_ERROR(FillPicture(image));
  picture_->pts = NextTick(pts_us);
  picture_->pict_type = AV_PICTURE_TYPE_NONE;
  return Encode(picture_.get());
}

absl::Status VideoWriter::Impl::FillPicture(const ImageView& image) {
  SL_RETURN_IF_ERROR(Convert(image, picture_.get()));
  const int w = options_.width;
  const int h = options_.height;
  PadPlane(picture_->data[0], picture_->linesize[0], w, h, picture_->width, picture_->height);
  return absl::OkStatus();  // chroma is (w + 1) / 2 wide as it is
}

absl::Status VideoWriter::Impl::Convert(const ImageView& image, AVFrame* to) {
  ImageView source = image;
  const auto run = [&](Leg& leg, AVPixelFormat to_format, ColorMatrix matrix, ColorRange range,
                       uint8_t* const* planes, const int* strides) -> absl::Status {
    const AVPixelFormat from = LibavFormat(source.format);
    if (!leg.scaler || leg.from != from || leg.matrix != matrix || leg.range != range) {
      leg.scaler = MakeConverter(image.width, image.height, from, to_format, matrix, range);
      leg.from = from;
      leg.matrix = matrix;
      leg.range = range;
    }
    if (!leg.scaler) return Fail(AVERROR(EINVAL), "converting a picture");
    const auto scale = [&](const std::array<const uint8_t*, 3>& in,
                           const std::array<int, 3>& in_strides, int first_row, int rows) {
      const std::array<const uint8_t*, 4> in4{in[0], in[1], in[2], nullptr};
      const std::array<int, 4> in_strides4{in_strides[0], in_strides[1], in_strides[2], 0};
      sws_scale(leg.scaler.get(), in4.data(), in_strides4.data(), first_row, rows, planes, strides);
    };
    // swscale reads whole vectors, beyond the end of the last row; those are given from memory that
    // has room for it.
    const int first = (source.height - 1) / 2 * 2;  // even: a row of chroma has two of luma
    if (first > 0) scale(source.planes, source.strides, 0, first);
    CopyRows(source, first, &last_rows_);
    scale({last_rows_.planes[0], last_rows_.planes[1], last_rows_.planes[2]}, last_rows_.strides,
          first, source.height - first);
    return absl::OkStatus();
  };
  const bool other_yuv =
      IsYuv(image.format) && (image.matrix != options_.matrix || image.range != options_.range);
  if (other_yuv) {
    rgb_.Allocate(PixelFormat::kBgr24, image.width, image.height);
    const std::array<uint8_t*, 4> planes{rgb_.planes[0], nullptr, nullptr, nullptr};
    const std::array<int, 4> strides{rgb_.strides[0], 0, 0, 0};
    SL_RETURN_IF_ERROR(
        run(to_rgb_, AV_PIX_FMT_BGR24, image.matrix, image.range, planes.data(), strides.data()));
    source = {.format = PixelFormat::kBgr24, .width = image.width, .height = image.height};
    source.planes[0] = rgb_.planes[0];
    source.strides[0] = rgb_.strides[0];
  }
  return run(direct_, AV_PIX_FMT_YUV420P, options_.matrix, options_.range, to->data, to->linesize);
}

// Null: the end.
absl::Status VideoWriter::Impl::Encode(const AVFrame* picture) {
  int code = avcodec_send_frame(encoder_.get(), picture);
  if (code < 0) return Fail(code, "encoding");
  for (;;) {
    code = avcodec_receive_packet(encoder_.get(), packet_.get());
    if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return absl::OkStatus();
    if (code < 0) return Fail(code, "encoding");
    av_packet_rescale_ts(packet_.get(), encoder_->time_base, stream_->time_base);
    packet_->stream_index = stream_->index;
    code = av_write_frame(output_.get(), packet_.get());
    av_packet_unref(packet_.get());
    if (code < 0 || write_errno_ != 0) return Fail(code, "writing");
  }
}

absl::Status VideoWriter::Impl::Close() {
  if (std::exchange(closed_, true)) return status_;
  const LibraryAllocations library;
  if (header_written_) {
    if (status_.ok()) Encode(nullptr).IgnoreError();  // status_ has it
    const int code = av_write_trailer(output_.get());
    if (status_.ok() && (code < 0 || write_errno_ != 0))
      Fail(code, "ending the file").IgnoreError();
  }
  if (status_.ok() && file_) {
    avio_flush(io_.get());
    if (write_errno_ != 0) Fail(0, "ending the file").IgnoreError();
    if (status_.ok()) status_ = file_->Commit();
  }
  file_.reset();
  return status_;
}

VideoWriter::VideoWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

VideoWriter::~VideoWriter() {
  const absl::Status status = impl_->Close();
  if (!status.ok()) Log().error("{}", MessageOf(status));
}

absl::StatusOr<std::unique_ptr<VideoWriter>> VideoWriter::Create(
    const Options& options, std::unique_ptr<PartialFile> file) {
  auto impl = std::make_unique<Impl>(options, std::move(file));
  SL_RETURN_IF_ERROR(impl->Open());
  return std::unique_ptr<VideoWriter>(new VideoWriter(std::move(impl)));
}

absl::Status VideoWriter::Write(const ImageView& image, int64_t pts_us) {
  return impl_->Write(image, pts_us);
}
absl::Status VideoWriter::Close() { return impl_->Close(); }
const std::string& VideoWriter::codec() const { return impl_->codec(); }

}  // namespace sightline
