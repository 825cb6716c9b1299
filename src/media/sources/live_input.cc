#include "media/sources/live_input.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/allocation_scope.h"
#include "base/log.h"
#include "media/av_log.h"
#include "media/sources/device_library.h"
#include "media/sources/name_lookup.h"

namespace sightline {
namespace {

// What a camera or its playlist may be. Not in it: whatever opens further files or is a script.
constexpr const char* kFormats =
    "rtsp,hls,mpjpeg,mjpeg,mpegts,flv,live_flv,mov,matroska,ogg,avi,asf,h264,hevc,m4v,mpegvideo,"
    "mpeg,jpeg_pipe,png_pipe,aac,mp3,ac3,eac3,webvtt,video4linux2";

// Bounds of libav's own buffers; chosen.
constexpr int64_t kProbeBytes = 4 << 20;           // a key frame of an 8K camera
constexpr int64_t kAnalyzeUs = 1'000'000;          // ends earlier as soon as the video is known
constexpr int64_t kReorderPackets = 256;           // RTP over UDP: 0.4 MB
constexpr int64_t kSocketBytes = 1 << 20;          // the kernel may grant less
constexpr int64_t kUdpFifoPackets = 4 << 20 >> 8;  // of 188 bytes: 3 MB

constexpr std::string_view kSending = "Sending:";
constexpr std::string_view kRequest = "request:";
constexpr std::string_view kUnresolved = "Failed to resolve hostname";
constexpr std::string_view kRedirecting = "Status %d: Redirecting";
constexpr std::array<std::string_view, 3> kUntrusted = {"Unable to verify peer certificate",
                                                        "Peer certificate failed verification",
                                                        "The certificate's owner does not match"};

}  // namespace

// Looks over libav's shoulder while it runs.
class LiveInput::Watch final : public AvLogWatch {
 public:
  explicit Watch(LiveInput* input) : input_(*input) {}
  bool Wants(std::string_view format) const override {
    for (const std::string_view one : kUntrusted) {
      if (format.starts_with(one)) return true;
    }
    return format.starts_with(kSending) || format.starts_with(kRequest) ||
           format.starts_with(kUnresolved) || format.starts_with(kRedirecting);
  }
  void OnMessage(std::string_view format, std::string_view text) override {
    if (format.starts_with(kUnresolved)) {
      input_.notes_.unresolved = true;
    } else if (format.starts_with(kRedirecting)) {
      if (input_.address_.tls) input_.interrupt_.Stop(LiveInterrupt::Cause::kLeftEncryption);
    } else if (format.starts_with(kSending) || format.starts_with(kRequest)) {
      OnRequest(text);
    } else {
      input_.notes_.untrusted = true;
    }
  }

 private:
  void OnRequest(std::string_view text) {
    input_.phases_.OnRequest(text, input_.NowUs());
    const bool basic = text.find("Authorization: Basic") != std::string_view::npos;
    if (basic && !input_.address_.tls && !input_.options_.allow_basic_without_tls) {
      input_.interrupt_.Stop(LiveInterrupt::Cause::kBasicInClear);
    }
    // Of a description without video libav sets nothing up, and plays it all the same.
    if (text.find("\nSETUP ") != std::string_view::npos) input_.notes_.set_up = true;
    if (text.find("\nPLAY ") != std::string_view::npos && !input_.notes_.set_up) {
      input_.notes_.no_video = true;
    }
  }

  LiveInput& input_;
};

int64_t LiveInput::NowUs() const { return options_.clock->NowMonotonicUs(); }

LiveInput::~LiveInput() {
  interrupt_.BeginClosing();
  const LibraryAllocations library;
  input_.reset();
}

std::string LiveInput::Protocols() const {
  switch (address_.kind) {
    case LiveKind::kRtsp:
      return "tcp,udp,rtp";  // TLS is the bridge's
    case LiveKind::kRtmp:
      return address_.tls ? "rtmps,tls,tcp" : "rtmp,tcp";
    case LiveKind::kHttp:
      return address_.tls ? "https,tls,tcp,httpproxy,crypto,data"
                          : "http,https,tls,tcp,httpproxy,crypto,data";
    case LiveKind::kUdp:
      return "udp";
    case LiveKind::kSrt:
      return "srt";
    case LiveKind::kDevice:
      break;
  }
  return "file";
}

void LiveInput::SetTlsOptions(AVDictionary** options) const {
  const TlsOptions& tls = options_.tls;
  av_dict_set_int(options, "tls_verify", tls.verify ? 1 : 0, 0);
  if (!tls.ca_file.empty()) av_dict_set(options, "ca_file", tls.ca_file.c_str(), 0);
  if (!tls.certificate_file.empty()) {
    av_dict_set(options, "cert_file", tls.certificate_file.c_str(), 0);
  }
  if (!tls.key_file.empty()) av_dict_set(options, "key_file", tls.key_file.c_str(), 0);
}

// What a kind does not know stays unused in the dictionary.
void LiveInput::SetOptions(AvDictionary* options) const {
  options->Set("format_whitelist", kFormats);
  options->Set("protocol_whitelist", Protocols().c_str());
  options->Set("probesize", kProbeBytes);
  options->Set("analyzeduration", kAnalyzeUs);
  if (!as_recording_) {
    options->Set("fpsprobesize", int64_t{0});  // else it waits for frames to measure their rate
  }
  // Not fflags=nobuffer: it throws away what was looked at, and with it the first key frame.
  switch (address_.kind) {
    case LiveKind::kRtsp:
      options->Set("rtsp_transport",
                   options_.rtsp_transport == RtspTransport::kUdp && !address_.tls ? "udp" : "tcp");
      options->Set("allowed_media_types", "video");
      options->Set("reorder_queue_size", kReorderPackets);
      options->Set("buffer_size", kSocketBytes);
      options->Set("user_agent", "Sightline");
      break;
    case LiveKind::kHttp:
      options->Set("user_agent", "Sightline");
      options->Set("http_persistent", int64_t{0});  // HLS: kept ones forget the TLS options
      if (as_recording_) {
        options->Set("live_start_index", int64_t{0});
        options->Set("reconnect", int64_t{1});  // goes on where the connection broke
        options->Set("reconnect_delay_max", int64_t{4});
      } else {
        options->Set("seekable", int64_t{0});
        options->Set("live_start_index", int64_t{-1});
      }
      break;
    case LiveKind::kRtmp:
      options->Set("rtmp_live", "live");
      break;
    case LiveKind::kUdp:
      options->Set("fifo_size", kUdpFifoPackets);
      options->Set("overrun_nonfatal", int64_t{1});
      options->Set("buffer_size", kSocketBytes);
      break;
    case LiveKind::kSrt:
    case LiveKind::kDevice:
      break;
  }
  if (address_.tls || address_.kind == LiveKind::kHttp) SetTlsOptions(options->address());
}

// Every connection that a demuxer opens by itself (HLS: playlists, keys, segments) comes through
// here, so that it has the same rules as the first.
int LiveInput::OpenNested(AVFormatContext* context, AVIOContext** io, const char* url, int flags,
                          AVDictionary** options) {
  auto* self = static_cast<LiveInput*>(context->opaque);
  const absl::StatusOr<LiveAddress> address = ParseLiveAddress(url, "");
  if (address.ok() && !self->LookUp(address->host).ok()) return AVERROR(EIO);
  AVDictionary* own = nullptr;
  AVDictionary** merged = options != nullptr ? options : &own;
  av_dict_set(merged, "protocol_whitelist", self->Protocols().c_str(), 0);
  if (self->address_.tls || self->address_.kind == LiveKind::kHttp) self->SetTlsOptions(merged);
  const int opened = avio_open2(io, url, flags, &context->interrupt_callback, merged);
  av_dict_free(&own);
  return opened;
}

// The URL that libav is given.
absl::StatusOr<std::string> LiveInput::PrepareUrl() {
  if (address_.kind != LiveKind::kRtsp || !address_.tls) return address_.url;
  absl::StatusOr<std::unique_ptr<TlsBridge>> bridge =
      TlsBridge::Open(address_.host, address_.port, options_.tls, name_,
                      [this] { return interrupt_.Poll() != LiveInterrupt::Cause::kNone; });
  if (!bridge.ok()) {
    const absl::Status interrupted = InterruptError();
    return interrupted.ok() ? bridge.status() : interrupted;
  }
  bridge_ = *std::move(bridge);
  return fmt::format("rtsp://{}{}127.0.0.1:{}{}", address_.credentials,
                     address_.credentials.empty() ? "" : "@", bridge_->port(), address_.rest);
}

// libav looks the name up again, and cannot be stopped while it does. Behind a proxy names are the
// proxy's to look up.
absl::Status LiveInput::LookUp(const std::string& host) {
  const bool proxied = address_.kind == LiveKind::kHttp && std::getenv("http_proxy") != nullptr;
  if (host.empty() || proxied) return absl::OkStatus();
  NameLookup& names = options_.names != nullptr ? *options_.names : NameLookup::System();
  const std::optional<int> code =
      names.Find(host, [this] { return interrupt_.Poll() != LiveInterrupt::Cause::kNone; });
  if (!code) return InterruptError();
  notes_.unresolved = *code != 0;
  return notes_.unresolved ? OpenError(AVERROR(EIO)) : absl::OkStatus();
}

absl::Status LiveInput::Open() {
  phases_.begun_us = NowUs();
  SL_RETURN_IF_ERROR(LookUp(address_.host));
  SL_ASSIGN_OR_RETURN(const std::string url, PrepareUrl());
  SL_RETURN_IF_ERROR(OpenContainer(url));
  return ChooseStream();
}

absl::Status LiveInput::OpenContainer(const std::string& url) {
  const LibraryAllocations library;
  Watch watch(this);
  const AVInputFormat* format = nullptr;
  if (address_.kind == LiveKind::kDevice) {
    SL_ASSIGN_OR_RETURN(format, VideoDeviceFormat(name_));
  }
  AVFormatContext* context = avformat_alloc_context();
  if (context == nullptr) return ResourceExhausted("{}: no memory to open it", name_);
  context->interrupt_callback = {&LiveInterrupt::Callback, &interrupt_};
  context->opaque = this;
  context->io_open = &OpenNested;
  if (address_.kind == LiveKind::kDevice) context->flags |= AVFMT_FLAG_NONBLOCK;
  AvDictionary options;
  SetOptions(&options);
  const int opened = avformat_open_input(&context, url.c_str(), format, options.address());
  if (opened < 0) return OpenError(opened);  // libav has freed the context
  input_.reset(context);
  phases_.opened_us = NowUs();
  if (!IsDescribed()) SL_RETURN_IF_ERROR(Probe());
  phases_.known_us = NowUs();
  return absl::OkStatus();
}

// Whether the server has said what the video is. Looking at frames to find out would hold them
// back, and then give them out all at once.
bool LiveInput::IsDescribed() const {
  const std::string_view format = container();
  if (format != "rtsp" && format != "mpjpeg") return false;
  for (unsigned i = 0; i < input_->nb_streams; ++i) {
    const AVCodecParameters& codec = *input_->streams[i]->codecpar;
    if (codec.codec_type == AVMEDIA_TYPE_VIDEO && codec.codec_id != AV_CODEC_ID_NONE) return true;
  }
  return false;
}

// Reads until libav knows what is in it.
absl::Status LiveInput::Probe() {
  AVFormatContext* const context = input_.get();
  // The probing decodes, too: the limit must hold there already.
  std::vector<AVDictionary*> per_stream(context->nb_streams, nullptr);
  const auto max_pixels =
      static_cast<int64_t>(limits_.max_video_side_px) * limits_.max_video_side_px;
  for (AVDictionary*& entry : per_stream) av_dict_set_int(&entry, "max_pixels", max_pixels, 0);
  const int probed =
      avformat_find_stream_info(context, per_stream.empty() ? nullptr : per_stream.data());
  for (AVDictionary*& entry : per_stream) av_dict_free(&entry);
  if (interrupt_.Poll() != LiveInterrupt::Cause::kNone) return InterruptError();
  if (probed < 0) return OpenError(probed);
  return absl::OkStatus();
}

absl::Status LiveInput::ChooseStream() {
  // Not av_find_best_stream, which wants more to be known than a late key frame has told yet.
  for (unsigned i = 0; i < input_->nb_streams; ++i) {
    AVStream* stream = input_->streams[i];
    const bool picture = (stream->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0;
    const bool video = stream->codecpar->codec_type == AVMEDIA_TYPE_VIDEO && !picture;
    const auto pixels = [](const AVStream& s) {
      return static_cast<int64_t>(s.codecpar->width) * s.codecpar->height;
    };
    if (video && (stream_ == nullptr || pixels(*stream) > pixels(*stream_))) stream_ = stream;
  }
  if (stream_ == nullptr) {
    return Unimplemented("{}: the stream ({}) has no video; choose another path of the camera",
                         name_, container());
  }
  for (unsigned i = 0; i < input_->nb_streams; ++i) {
    if (input_->streams[i] != stream_) input_->streams[i]->discard = AVDISCARD_ALL;
  }
  const AVCodecParameters& codec = *stream_->codecpar;
  if (codec.codec_id == AV_CODEC_ID_NONE) {
    return Unimplemented(
        "{}: its video codec is not known here; set the camera to H.264, H.265 or MJPEG", name_);
  }
  if (codec.width > limits_.max_video_side_px || codec.height > limits_.max_video_side_px) {
    return Unimplemented("{}: {}x{} pixels, more than {} a side are refused; set it lower", name_,
                         codec.width, codec.height, limits_.max_video_side_px);
  }
  return absl::OkStatus();
}

bool LiveInput::is_recording() const {
  if (address_.kind != LiveKind::kHttp) return false;
  const std::string_view format = container();
  if (format == "hls") return input_->duration > 0;  // its playlist has an end
  const bool pictures = format == "mpjpeg" || format.ends_with("_pipe");
  if (pictures || input_->pb == nullptr) return false;
  // A stream without an end has no length; servers that must state one state the largest there is.
  constexpr int64_t kMostBytes = int64_t{1} << 48;  // chosen
  const int64_t bytes = avio_size(input_->pb);
  return bytes > 0 && bytes < kMostBytes;
}

bool LiveInput::hands_on_late() const {
  if (address_.kind != LiveKind::kRtsp) return false;
  switch (stream_->codecpar->codec_id) {  // of those with need_parsing in libav's RTP
    case AV_CODEC_ID_H264:
    case AV_CODEC_ID_HEVC:
    case AV_CODEC_ID_H263:
    case AV_CODEC_ID_MPEG4:
    case AV_CODEC_ID_MPEG1VIDEO:
    case AV_CODEC_ID_MPEG2VIDEO:
      return true;
    default:
      return false;
  }
}

absl::StatusOr<bool> LiveInput::Read(AVPacket* packet) {
  constexpr int kMaxDamagedReads = 64;  // in a row; chosen, as for recordings
  const LibraryAllocations library;
  Watch watch(this);
  for (;;) {
    const int code = av_read_frame(input_.get(), packet);
    if (interrupt_.Poll() != LiveInterrupt::Cause::kNone) {
      if (code == 0) av_packet_unref(packet);
      return InterruptError();
    }
    if (code == 0) {
      damaged_reads_ = 0;
      if (packet->stream_index == stream_->index && packet->size > 0) return true;
      av_packet_unref(packet);
      continue;
    }
    if (code == AVERROR_EOF) return false;
    if (code == AVERROR(EAGAIN)) {  // a device without a picture yet
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      continue;
    }
    if (code == AVERROR_INVALIDDATA && ++damaged_reads_ < kMaxDamagedReads) continue;
    return Unavailable("{}: the connection broke: {}", name_, AvErrorText(code));
  }
}

absl::Status LiveInput::InterruptError() const {
  switch (interrupt_.cause()) {
    case LiveInterrupt::Cause::kNone:
      return absl::OkStatus();
    case LiveInterrupt::Cause::kCancelled:
      return Cancelled("{}: cancelled", name_);
    case LiveInterrupt::Cause::kGivenUp:
      return Cancelled("{}: given up", name_);
    case LiveInterrupt::Cause::kTimedOut:
      if (stream_ == nullptr) {
        return DeadlineExceeded(
            "{}: no video within {:.3g} s of connecting; check that the address and "
            "port are the camera's and that it is on",
            name_, static_cast<double>(interrupt_.timeout_us()) * 1e-6);
      }
      return DeadlineExceeded("{}: no picture for {:.3g} s; check the camera and the network",
                              name_, static_cast<double>(interrupt_.timeout_us()) * 1e-6);
    case LiveInterrupt::Cause::kBasicInClear:
      return Unauthenticated(
          "{}: the camera offers only basic authentication, which would send the "
          "password readable over the network; turn digest authentication on in the "
          "camera, or use {}",
          name_, address_.kind == LiveKind::kRtsp ? "rtsps://" : "https://");
    case LiveInterrupt::Cause::kLeftEncryption:
      return PermissionDenied(
          "{}: the camera redirects to another address, which is not followed out of "
          "TLS; give that address itself",
          name_);
  }
  return Internal("{}: interrupted without a cause", name_);
}

}  // namespace sightline
