// A decoded picture and when it was taken. Immutable once sent on; copying shares the pixels.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "types/camera.h"

namespace sightline {

struct Truth;  // types/truth.h

// 8 bits a sample. The 4:2:0 and 4:2:2 chroma planes are (width+1)/2 wide, those of 4:2:0 also
// (height+1)/2 high. Sources convert anything else (10 bit, RGBA, 4:1:1) before it gets here.
enum class PixelFormat : uint8_t {
  kI420,   // planes Y, U, V
  kI422,   // planes Y, U, V
  kI444,   // planes Y, U, V
  kNv12,   // planes Y, interleaved UV
  kBgr24,  // one plane, B G R
  kRgb24,  // one plane, R G B
  kGray8   // one plane
};
enum class ColorMatrix : uint8_t { kBt601, kBt709 };
enum class ColorRange : uint8_t { kLimited, kFull };  // Y 16-235 and C 16-240, or 0-255

std::string_view ToString(PixelFormat format);

constexpr bool IsYuv(PixelFormat format) {
  return format == PixelFormat::kI420 || format == PixelFormat::kI422 ||
         format == PixelFormat::kI444 || format == PixelFormat::kNv12;
}
// 0 for a value that is none of them.
constexpr int PlaneCount(PixelFormat format) {
  if (format == PixelFormat::kNv12) return 2;
  if (IsYuv(format)) return 3;
  return format <= PixelFormat::kGray8 ? 1 : 0;
}
// The bytes of a row and the rows of plane `plane` (< PlaneCount) of a picture of that size.
constexpr int PlaneRowBytes(PixelFormat format, int plane, int width) {
  switch (format) {
    case PixelFormat::kI420:
    case PixelFormat::kI422:
      return plane == 0 ? width : (width + 1) / 2;
    case PixelFormat::kNv12:
      return plane == 0 ? width : (width + 1) / 2 * 2;
    case PixelFormat::kBgr24:
    case PixelFormat::kRgb24:
      return width * 3;
    case PixelFormat::kI444:
    case PixelFormat::kGray8:
      return width;
  }
  return 0;
}
constexpr int PlaneRows(PixelFormat format, int plane, int height) {
  const bool halved = format == PixelFormat::kI420 || format == PixelFormat::kNv12;
  return plane > 0 && halved ? (height + 1) / 2 : height;
}

// Borrowed pixels. Strides are in bytes, at least the row's length, and may be odd. Nothing may be
// read beyond the last row's last pixel.
struct ImageView {
  PixelFormat format = PixelFormat::kBgr24;
  ColorMatrix matrix = ColorMatrix::kBt601;  // meaningful for YUV only
  ColorRange range = ColorRange::kLimited;   // meaningful for YUV only
  int width = 0;
  int height = 0;
  std::array<const uint8_t*, 3> planes{};
  std::array<int, 3> strides{};
};

enum class ClockSource : uint8_t {
  kConfigured,  // the camera's start_time in the configuration + PTS
  kContainer,   // the container's creation_time + PTS
  kEpoch,       // a recording that says nothing: 1970-01-01T00:00:00Z + PTS
  kSender,      // RTSP sender reports
  kArrival      // this machine's clock when the frame arrived
};
std::string_view ToString(ClockSource source);

// pts_us: microseconds since the first frame of the epoch, on the stream's own clock.
// epoch: starts at 0; a discontinuity of the stream (PTS jump back or far ahead) starts the next.
// capture_utc_us: when the picture was taken; for recordings never the wall clock of today.
struct FrameTime {
  int64_t pts_us = 0;
  uint32_t epoch = 0;
  int64_t capture_utc_us = 0;
  ClockSource clock = ClockSource::kEpoch;
};

// What every record made from a frame carries on.
struct FrameMeta {
  std::shared_ptr<const CameraInfo> camera;
  uint64_t ordinal = 0;  // 0, 1, 2 ... over every frame of the source, skipped ones included
  FrameTime time;
  int width = 0;   // px of the source picture
  int height = 0;  // px
  // Of the pictures of a folder or glob: the path of this one. Null for everything else.
  std::shared_ptr<const std::string> picture = nullptr;
};

struct Frame {
  FrameMeta meta;
  ImageView image;
  std::shared_ptr<const void> pixels;  // keeps the memory behind `image`
  // What the picture really shows; null but for simulated cameras.
  std::shared_ptr<const Truth> truth = nullptr;
};

}  // namespace sightline
