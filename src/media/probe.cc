#include "media/probe.h"

#include <fmt/format.h>
#include <png.h>
#include <webp/decode.h>

#include <array>

#include "media/av_internal.h"
#include "media/av_log.h"

namespace sightline {
namespace {

std::string LibavVersion(const char* name, unsigned version) {
  return fmt::format("{} {}.{}.{}", name, AV_VERSION_MAJOR(version), AV_VERSION_MINOR(version),
                     AV_VERSION_MICRO(version));
}

}  // namespace

MediaAbilities ProbeMedia() {
  RouteAvLog();
  MediaAbilities abilities;
  const int webp = WebPGetDecoderVersion();
  abilities.libraries = {
      LibavVersion("libavformat", avformat_version()),
      LibavVersion("libavcodec", avcodec_version()),
      LibavVersion("libavutil", avutil_version()),
      LibavVersion("libswscale", swscale_version()),
      fmt::format("libpng {}", png_get_libpng_ver(nullptr)),
      fmt::format("libwebp {}.{}.{}", webp >> 16 & 255, webp >> 8 & 255, webp & 255),
  };
  constexpr std::array kDecoders = {
      AV_CODEC_ID_H264,       AV_CODEC_ID_HEVC,      AV_CODEC_ID_VP8,    AV_CODEC_ID_VP9,
      AV_CODEC_ID_AV1,        AV_CODEC_ID_MPEG4,     AV_CODEC_ID_MJPEG,  AV_CODEC_ID_MPEG2VIDEO,
      AV_CODEC_ID_MPEG1VIDEO, AV_CODEC_ID_MSMPEG4V3, AV_CODEC_ID_PRORES, AV_CODEC_ID_DVVIDEO,
  };
  for (const AVCodecID id : kDecoders) {
    const AVCodec* codec = avcodec_find_decoder(id);
    abilities.decoders.push_back({avcodec_get_name(id), codec != nullptr ? codec->name : ""});
  }
  constexpr std::array kEncoders = {"libx264", "mpeg4", "mjpeg"};
  for (const char* name : kEncoders) {
    const AVCodec* codec = avcodec_find_encoder_by_name(name);
    const bool x264 = std::string(name) == "libx264";
    abilities.encoders.push_back({x264 ? "h264" : name, codec != nullptr ? codec->name : ""});
  }
  return abilities;
}

}  // namespace sightline
