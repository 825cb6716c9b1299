#include "media/demuxer.h"

#include <cmath>
#include <string_view>

#include "base/allocation_scope.h"
#include "base/log.h"
#include "base/time.h"
#include "base/whole_file.h"
#include "media/av_log.h"
#include "media/file_bytes.h"
#include "media/video_track.h"

namespace sightline {
namespace {

// Demuxers that open further files, or that are scripts.
constexpr std::string_view kRefusedFormats[] = {
    "hls",        "dash",   "concat", "sdp",   "rtsp",     "sap",         "rtp",
    "imf",        "image2", "vobsub", "lavfi", "avisynth", "vapoursynth", "webm_dash_manifest",
    "ffmetadata", "tty"};

// Every demuxer's name but the refused ones, as libav's format_whitelist wants it.
const std::string& AllowedFormats() {
  static const std::string& names = *[] {
    auto* list = new std::string;
    void* position = nullptr;
    while (const AVInputFormat* format = av_demuxer_iterate(&position)) {
      const std::string_view name = format->name;
      bool refused = false;
      for (const std::string_view bad : kRefusedFormats) refused = refused || name == bad;
      if (refused) continue;
      if (!list->empty()) *list += ',';
      *list += name;
    }
    return list;
  }();
  return names;
}

int IsCancelled(void* flag) {
  return static_cast<const std::atomic<bool>*>(flag)->load(std::memory_order_relaxed) ? 1 : 0;
}

absl::Status OpenError(const std::string& path, int code) {
  if (code == AVERROR_EXIT) return Cancelled("{}: opening was cancelled", path);
  if (code == AVERROR(EMFILE) || code == AVERROR(ENFILE)) {
    return FileError(AVUNERROR(code), "opening", path);
  }
  if (code == AVERROR(ENOMEM)) return ResourceExhausted("{}: no memory to open it", path);
  if (code == AVERROR_INVALIDDATA) {
    return DataLoss(
        "{}: not a video that can be read, or cut off before its index; check that it plays "
        "elsewhere and was copied whole",
        path);
  }
  if (code == AVERROR(EINVAL) || code == AVERROR_DEMUXER_NOT_FOUND) {
    return InvalidArgument(
        "{}: a playlist, script or other kind of file that is not opened here; give a "
        "video file",
        path);
  }
  return Unavailable("{}: cannot be opened: {}", path, AvErrorText(code));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Demuxer>> Demuxer::Open(const std::string& path,
                                                       const MediaLimits& limits) {
  RouteAvLog();
  SL_RETURN_IF_ERROR(CheckReadableFile(path));
  std::unique_ptr<Demuxer> demuxer(new Demuxer(path));
  AVFormatContext* context = avformat_alloc_context();
  if (context == nullptr) return ResourceExhausted("{}: no memory to open it", path);
  context->interrupt_callback = {&IsCancelled, &demuxer->cancelled_};
  AvDictionary options;
  options.Set("protocol_whitelist", "file");
  options.Set("format_whitelist", AllowedFormats().c_str());
  // "file:" keeps a colon in the path from being taken for a protocol.
  const int opened =
      avformat_open_input(&context, ("file:" + path).c_str(), nullptr, options.address());
  if (opened < 0) return OpenError(path, opened);  // libav has freed the context
  demuxer->input_.reset(context);
  // The probing decodes, too: the limit must hold there already.
  std::vector<AVDictionary*> per_stream(context->nb_streams, nullptr);
  const auto max_pixels = static_cast<int64_t>(limits.max_video_side_px) * limits.max_video_side_px;
  for (AVDictionary*& entry : per_stream) av_dict_set_int(&entry, "max_pixels", max_pixels, 0);
  const int probed =
      avformat_find_stream_info(context, per_stream.empty() ? nullptr : per_stream.data());
  for (AVDictionary*& entry : per_stream) av_dict_free(&entry);
  if (probed < 0) return OpenError(path, probed);
  SL_RETURN_IF_ERROR(demuxer->ChooseStream(limits));
  return demuxer;
}

absl::Status Demuxer::ChooseStream(const MediaLimits& limits) {
  const int index = av_find_best_stream(input_.get(), AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
  if (index < 0) {
    return InvalidArgument("{}: holds no video (read as {}); give a video file", path_,
                           input_->iformat->name);
  }
  stream_ = input_->streams[index];
  if ((stream_->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0) {
    return InvalidArgument("{}: holds sound and a cover picture, no video", path_);
  }
  for (unsigned i = 0; i < input_->nb_streams; ++i) {
    if (static_cast<int>(i) != index) input_->streams[i]->discard = AVDISCARD_ALL;
  }
  const AVCodecParameters& codec = *stream_->codecpar;
  if (codec.codec_id == AV_CODEC_ID_NONE) {
    return Unimplemented(
        "{}: its video codec is not known here; re-encode it, for example with ffmpeg", path_);
  }
  if (codec.width > limits.max_video_side_px || codec.height > limits.max_video_side_px) {
    return ResourceExhausted(
        "{}: {}x{} pixels, more than {} a side are refused; scale it down first", path_,
        codec.width, codec.height, limits.max_video_side_px);
  }
  if (codec.width <= 0 || codec.height <= 0) {
    return DataLoss(
        "{}: no picture of its {} stream could be read; the file is damaged or no video", path_,
        avcodec_get_name(codec.codec_id));
  }
  return absl::OkStatus();
}

int Demuxer::Read(AVPacket* packet) {
  // A bad entry in an index costs one frame, not the rest of the recording; at a cut-off end every
  // further read fails. The number is chosen.
  constexpr int kMaxFailuresInARow = 64;
  const LibraryAllocations library;
  for (int failures = 0;;) {
    const int code = av_read_frame(input_.get(), packet);
    if (code == AVERROR_EOF || code == AVERROR_EXIT) return code;
    if (code < 0) {
      if (!damage_logged_ && code != AVERROR(EAGAIN)) {
        Log().warn("{}: damaged or cut off: {}; going on with what can be read", path_,
                   AvErrorText(code));
        damage_logged_ = true;
      }
      if (++failures >= kMaxFailuresInARow) return AVERROR_EOF;
      continue;
    }
    if (packet->stream_index == stream_->index && packet->size > 0) return 0;
    av_packet_unref(packet);
    failures = 0;
    if (IsCancelled(input_->interrupt_callback.opaque) != 0) return AVERROR_EXIT;
  }
}

absl::StatusOr<Hash128> Demuxer::Fingerprint() { return FingerprintFile(path_); }

std::optional<int64_t> CreationTimeOf(const AVFormatContext& input, const AVStream& stream) {
  for (const AVDictionary* metadata : {input.metadata, stream.metadata}) {
    const AVDictionaryEntry* entry = av_dict_get(metadata, "creation_time", nullptr, 0);
    if (entry == nullptr) continue;
    const absl::StatusOr<int64_t> utc_us = ParseUtc(entry->value);
    // Writers that do not know put 0, which is 1904 or 1970.
    if (utc_us.ok() && *utc_us > 0) return *utc_us;
  }
  return std::nullopt;
}

SourceInfo DescribeRecording(const AVFormatContext& input, const AVStream& stream) {
  SourceInfo info;
  info.container = input.iformat->name;
  DescribeTrack(stream, &info);
  // The pictures' own where it is known: sound may go on after them.
  if (stream.duration > 0) {
    info.duration_us = av_rescale_q(stream.duration, stream.time_base, AVRational{1, 1'000'000});
  } else if (input.duration > 0) {
    info.duration_us = input.duration;
  }
  info.frames_estimate = stream.nb_frames;
  if (info.frames_estimate <= 0 && info.fps > 0) {
    info.frames_estimate = std::llround(static_cast<double>(info.duration_us) / 1e6 * info.fps);
  }
  return info;
}

}  // namespace sightline
