// ChooseHardwareDecode() carried out. Internal to this module.
#pragma once

#include <string_view>

#include "media/av_internal.h"
#include "media/hardware_decode.h"

namespace sightline {

// Sets `decoder`, which is not open yet, up for what ChooseHardwareDecode() says, and returns that.
// AV_PIX_FMT_NONE in `format` means software; else pictures of that format live on the device and
// are to be fetched with FetchFromDevice.
HardwareChoice SetUpHardware(std::string_view wish, AVCodecContext* decoder, AVPixelFormat* format);

// Replaces the picture by a copy in main memory. libav's error code.
int FetchFromDevice(AVFrame* picture);

}  // namespace sightline
