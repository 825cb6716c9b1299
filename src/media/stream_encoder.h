// Pictures into coded pictures for a live stream: one in, one out, without delay.
//
// H.264 (libx264) and H.265 (libx265) in Annex B byte streams (ITU-T H.264, H.265), parameter sets
// before every key frame, no B frames; or MJPEG, each picture a baseline JPEG of its own (ITU-T T.81)
// with the standard's example Huffman tables, as RFC 2435 wants them. 4:2:0 with even sides; an odd
// width or height gets one more column or row, a copy of the last.
//
// Threads: one at a time; libx265 has threads of its own. Cost: the encoder's fastest settings.
// Memory: a few pictures; nothing is allocated per picture beyond what libav does.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "types/frame.h"

namespace sightline {

enum class StreamCodec : uint8_t { kH264, kH265, kMjpeg };

class StreamEncoder {
 public:
  struct Options {
    StreamCodec codec = StreamCodec::kH264;
    int width = 0;          // px of the pictures that will be given
    int height = 0;         // px
    double fps = 25;        // about how many a second
    int key_interval = 25;  // pictures from one key frame to the next; of no meaning for MJPEG
    int quality = 26;       // constant rate factor of H.264 and H.265: 0 best, 51 worst; chosen
  };

  struct Packet {
    std::span<const uint8_t> bytes;  // until the next call
    bool key = false;
  };

  // InvalidArgument for impossible sizes, Unimplemented when this machine's libavcodec has no such
  // encoder.
  static absl::StatusOr<std::unique_ptr<StreamEncoder>> Create(const Options& options);
  ~StreamEncoder();

  // An I420 picture of the size given at the start; `pts_us` must rise. Errors: InvalidArgument for
  // another kind of picture, Internal for what the encoder says.
  absl::StatusOr<Packet> Encode(const ImageView& image, int64_t pts_us);

 private:
  class Impl;
  explicit StreamEncoder(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sightline
