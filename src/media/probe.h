// What this machine's libav and picture libraries can do, for `sightline doctor`.
#pragma once

#include <string>
#include <vector>

namespace sightline {

struct CodecAbility {
  std::string codec;  // "h264"
  std::string by;     // the library's name of the decoder or encoder ("libdav1d"); empty: none
  bool available() const { return !by.empty(); }
};

struct MediaAbilities {
  std::vector<std::string> libraries;  // "libavcodec 59.37.100", "libpng 1.6.39" ...
  std::vector<CodecAbility> decoders;  // of the codecs that cameras and recordings use
  std::vector<CodecAbility> encoders;  // of those that we write: H.264, MPEG-4, MJPEG
};

// Threads: any. Cost: microseconds.
MediaAbilities ProbeMedia();

}  // namespace sightline
