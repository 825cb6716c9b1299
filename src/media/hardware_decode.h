// Decoding by the machine's own circuits, where libav finds some and the stream's codec suits them;
// software otherwise, always with a word on why.
//
// Decoded pictures are copied back into main memory as NV12. They are those of the software decoder
// where the codec's standard is bit-exact (H.264, H.265) and the device keeps to it.
//
// A device is opened once a process and stays open. Threads: any.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sightline {

struct HardwareChoice {
  std::string name = "none";  // "none": software
  std::string why;            // for people
};

struct HardwareAbility {
  std::string name;  // "vaapi", "cuda", "vdpau" ...
  bool usable = false;
  std::string why;  // not usable: what is missing
};

// Every kind of device that this libavcodec could decode H.264 with, tried. Cost: up to a second on
// the first call (drivers are loaded), then microseconds.
std::vector<HardwareAbility> ProbeHardwareDecoders();

// What a stream of `codec` ("h264", "hevc" ...) gets when `wish` ("none", "auto" or a kind of
// device) is asked for.
HardwareChoice ChooseHardwareDecode(std::string_view wish, std::string_view codec);

}  // namespace sightline
