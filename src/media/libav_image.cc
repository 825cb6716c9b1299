// The rarer still formats, by libav's own decoders: the whole file is one packet.
#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "media/av_internal.h"
#include "media/av_log.h"
#include "media/image_formats.h"
#include "media/picture_adapter.h"

namespace sightline {
namespace {

// libav's name of the decoder for one of its still-picture demuxers.
std::string_view DecoderName(std::string_view format) {
  if (format == "j2k") return "jpeg2000";
  return format;
}

// Whether the first picture of a GIF is all there (GIF89a, section 15 on): libav decodes half of
// one without a word.
bool GifIsWhole(ByteSpan bytes) {
  constexpr size_t kScreenEnd = 13;
  const auto table_bytes = [](uint8_t flags) {
    return (flags & 0x80) != 0 ? size_t{3} << ((flags & 7) + 1) : size_t{0};
  };
  if (bytes.size() <= kScreenEnd) return false;
  size_t at = kScreenEnd + table_bytes(bytes[10]);
  while (at + 10 < bytes.size()) {
    const bool picture = bytes[at] == 0x2c;
    if (!picture && bytes[at] != 0x21) return false;
    // To the first block of data: behind an extension's label, or a picture's table and code size.
    at += picture ? 10 + table_bytes(bytes[at + 9]) + 1 : 2;
    while (at < bytes.size() && bytes[at] != 0) at += size_t{bytes[at]} + 1;
    if (picture) return at < bytes.size();
    ++at;
  }
  return false;
}

absl::Status CannotDecode(const std::string& format, const MediaLimits& limits) {
  return DataLoss("{} picture that is truncated, damaged, or beyond {} pixels a side", format,
                  limits.max_image_side_px);
}

absl::StatusOr<AvFramePtr> DecodeFrame(ByteSpan bytes, const std::string& format,
                                       const MediaLimits& limits) {
  if (format == "gif" && !GifIsWhole(bytes)) return CannotDecode(format, limits);
  const std::string name(DecoderName(format));
  const AVCodecDescriptor* descriptor = avcodec_descriptor_get_by_name(name.c_str());
  const AVCodec* codec = descriptor != nullptr ? avcodec_find_decoder(descriptor->id) : nullptr;
  if (codec == nullptr) return Unimplemented("{} pictures: no decoder in this libavcodec", format);
  const AvCodecContextPtr decoder(avcodec_alloc_context3(codec));
  const AvPacketPtr packet(av_packet_alloc());
  AvFramePtr frame(av_frame_alloc());
  if (!decoder || !packet || !frame || bytes.size() > static_cast<size_t>(INT32_MAX) / 2 ||
      av_new_packet(packet.get(), static_cast<int>(bytes.size())) < 0) {
    return ResourceExhausted("no memory to decode a {} picture", format);
  }
  std::memcpy(packet->data, bytes.data(), bytes.size());
  packet->flags |= AV_PKT_FLAG_KEY;
  decoder->thread_count = 1;
  decoder->max_pixels = static_cast<int64_t>(limits.max_image_side_px) * limits.max_image_side_px;
  if (avcodec_open2(decoder.get(), codec, nullptr) < 0) {
    return Unimplemented("{} pictures: the decoder cannot start", format);
  }
  if (avcodec_send_packet(decoder.get(), packet.get()) < 0) return CannotDecode(format, limits);
  avcodec_send_packet(decoder.get(), nullptr);
  if (avcodec_receive_frame(decoder.get(), frame.get()) < 0 || frame->decode_error_flags != 0 ||
      (frame->flags & AV_FRAME_FLAG_CORRUPT) != 0) {
    return CannotDecode(format, limits);
  }
  return frame;
}

}  // namespace

std::string StillFormatByLibav(ByteSpan bytes) {
  RouteAvLog();
  constexpr size_t kProbeBytes = 4096;
  constexpr std::string_view kSuffix = "_pipe";
  std::array<uint8_t, kProbeBytes + AVPROBE_PADDING_SIZE> start{};
  const size_t size = std::min(bytes.size(), kProbeBytes);
  std::copy_n(bytes.data(), size, start.data());
  const AVProbeData probe{.filename = "",
                          .buf = start.data(),
                          .buf_size = static_cast<int>(size),
                          .mime_type = nullptr};
  const AVInputFormat* format = av_probe_input_format(&probe, 1);
  if (format == nullptr) return "";
  std::string_view name = format->name;
  if (name == "gif") return "gif";
  // Drawings (SVG) may refer to other files; everything that is not one picture is none of ours.
  if (!name.ends_with(kSuffix) || name == "svg_pipe") return "";
  name.remove_suffix(kSuffix.size());
  return std::string(name);
}

absl::Status DecodeByLibav(ByteSpan bytes, const std::string& format, const MediaLimits& limits,
                           StoredImage* header, std::vector<uint8_t>* bgr) {
  SL_ASSIGN_OR_RETURN(const AvFramePtr frame, DecodeFrame(bytes, format, limits));
  const int width = frame->width;
  const int height = frame->height;
  if (width <= 0 || height <= 0 || width > limits.max_image_side_px ||
      height > limits.max_image_side_px) {
    return ResourceExhausted("{}x{} pixels, more than {} a side are refused; scale it down first",
                             width, height, limits.max_image_side_px);
  }
  const SwsContextPtr converter =
      MakeConverter(width, height, static_cast<AVPixelFormat>(frame->format), AV_PIX_FMT_BGR24,
                    MatrixOf(*frame), ColorRange::kFull);
  if (!converter) return Unimplemented("{} pictures with this kind of pixels are not read", format);
  PictureMemory memory;  // swscale writes whole vectors, beyond the end of a tight row
  memory.Allocate(PixelFormat::kBgr24, width, height);
  const std::array<uint8_t*, 4> planes{memory.planes[0], nullptr, nullptr, nullptr};
  const std::array<int, 4> strides{memory.strides[0], 0, 0, 0};
  if (sws_scale(converter.get(), frame->data, frame->linesize, 0, height, planes.data(),
                strides.data()) != height) {
    return Unimplemented("{} pictures with this kind of pixels are not read", format);
  }
  const auto row_bytes = static_cast<size_t>(width) * 3;
  bgr->resize(row_bytes * height);
  for (int y = 0; y < height; ++y) {
    std::memcpy(bgr->data() + y * row_bytes, planes[0] + static_cast<int64_t>(y) * strides[0],
                row_bytes);
  }
  *header = {width, height, format == "tiff" ? OrientationOfExif(bytes) : Orientation::kUpright};
  return absl::OkStatus();
}

}  // namespace sightline
