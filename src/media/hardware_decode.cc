extern "C" {
#include <libavutil/hwcontext.h>
}

#include <array>
#include <map>
#include <optional>

#include "base/allocation_scope.h"
#include "base/mutex.h"
#include "base/status.h"
#include "media/av_log.h"
#include "media/hardware_decode_internal.h"

namespace sightline {
namespace {

// In the order in which "auto" tries them. The rest of libav's kinds cannot decode or want another
// decoder of their own (qsv).
constexpr std::array kKinds = {AV_HWDEVICE_TYPE_VAAPI, AV_HWDEVICE_TYPE_CUDA,
                               AV_HWDEVICE_TYPE_VDPAU};

struct Device {
  AVBufferRef* context = nullptr;  // kept until the process ends
  int error = 0;
};

const Device& DeviceOf(AVHWDeviceType kind) {
  struct Devices {
    Mutex mutex;
    std::map<AVHWDeviceType, Device> by_kind GUARDED_BY(mutex);
  };
  static Devices& devices = *new Devices;
  const MutexLock lock(devices.mutex);
  const auto [at, is_new] = devices.by_kind.try_emplace(kind);
  if (is_new) {
    RouteAvLog();
    const LibraryAllocations library;
    at->second.error = av_hwdevice_ctx_create(&at->second.context, kind, nullptr, nullptr, 0);
  }
  return at->second;  // nodes of a map stay where they are
}

// The pictures' format when `codec` is decoded by that kind of device.
std::optional<AVPixelFormat> FormatOn(const AVCodec* codec, AVHWDeviceType kind) {
  for (int i = 0; codec != nullptr; ++i) {
    const AVCodecHWConfig* config = avcodec_get_hw_config(codec, i);
    if (config == nullptr) break;
    const bool by_device = (config->methods & AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX) != 0;
    if (by_device && config->device_type == kind) return config->pix_fmt;
  }
  return std::nullopt;
}

struct Found {
  HardwareChoice choice;
  AVHWDeviceType kind = AV_HWDEVICE_TYPE_NONE;
  AVPixelFormat format = AV_PIX_FMT_NONE;
};

Found Find(std::string_view wish, const AVCodec* codec) {
  Found found;
  if (wish.empty() || wish == "none") {
    found.choice.why = "software was asked for";
    return found;
  }
  bool known = wish == "auto";
  for (const AVHWDeviceType kind : kKinds) {
    const std::string name = av_hwdevice_get_type_name(kind);
    if (wish != "auto" && wish != name) continue;
    known = true;
    const std::optional<AVPixelFormat> format = FormatOn(codec, kind);
    if (!found.choice.why.empty()) found.choice.why += "; ";
    if (!format) {
      found.choice.why += fmt::format("{} cannot decode {}", name,
                                      codec != nullptr ? codec->name : "an unknown codec");
      continue;
    }
    const Device& device = DeviceOf(kind);
    if (device.context == nullptr) {
      found.choice.why += fmt::format("no {} device: {}", name, AvErrorText(device.error));
      continue;
    }
    return {{name, wish == "auto" ? "the first that works" : "asked for"}, kind, *format};
  }
  if (!known) {
    found.choice.why = fmt::format(
        "there is no hardware decoder called {}; none, auto, vaapi, "
        "cuda and vdpau are known",
        wish);
  }
  return found;
}

// libav offers its formats, the devices' first; asked again without one whose set-up failed.
AVPixelFormat ChooseFormat(AVCodecContext* decoder, const AVPixelFormat* offered) {
  const auto wanted = static_cast<AVPixelFormat>(reinterpret_cast<intptr_t>(decoder->opaque));
  for (const AVPixelFormat* at = offered; *at != AV_PIX_FMT_NONE; ++at) {
    if (*at == wanted) return wanted;
  }
  return avcodec_default_get_format(decoder, offered);
}

}  // namespace

std::vector<HardwareAbility> ProbeHardwareDecoders() {
  const AVCodec* codec = avcodec_find_decoder(AV_CODEC_ID_H264);
  std::vector<HardwareAbility> abilities;
  for (const AVHWDeviceType kind : kKinds) {
    if (!FormatOn(codec, kind)) continue;
    HardwareAbility ability;
    ability.name = av_hwdevice_get_type_name(kind);
    const Device& device = DeviceOf(kind);
    ability.usable = device.context != nullptr;
    if (!ability.usable) ability.why = AvErrorText(device.error);
    abilities.push_back(std::move(ability));
  }
  return abilities;
}

HardwareChoice ChooseHardwareDecode(std::string_view wish, std::string_view codec) {
  const AVCodecDescriptor* known = avcodec_descriptor_get_by_name(std::string(codec).c_str());
  return Find(wish, known != nullptr ? avcodec_find_decoder(known->id) : nullptr).choice;
}

HardwareChoice SetUpHardware(std::string_view wish, AVCodecContext* decoder,
                             AVPixelFormat* format) {
  Found found = Find(wish, decoder->codec);
  *format = found.format;
  if (found.kind == AV_HWDEVICE_TYPE_NONE) return found.choice;
  decoder->hw_device_ctx = av_buffer_ref(DeviceOf(found.kind).context);
  decoder->opaque = reinterpret_cast<void*>(static_cast<intptr_t>(found.format));
  decoder->get_format = &ChooseFormat;
  return found.choice;
}

int FetchFromDevice(AVFrame* picture) {
  const LibraryAllocations library;
  const AvFramePtr copy(av_frame_alloc());
  if (!copy) return AVERROR(ENOMEM);
  int code = av_hwframe_transfer_data(copy.get(), picture, 0);
  if (code >= 0) code = av_frame_copy_props(copy.get(), picture);
  if (code < 0) return code;
  av_frame_unref(picture);
  av_frame_move_ref(picture, copy.get());
  return 0;
}

}  // namespace sightline
