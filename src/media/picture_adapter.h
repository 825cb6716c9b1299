// libav's decoded pictures as ImageViews: by reference where the pixel format is one of ours,
// converted into pooled memory where it is not. Internal to this module.
#pragma once

#include <memory>
#include <vector>

#include "base/object_pool.h"
#include "base/status.h"
#include "media/av_internal.h"
#include "media/orientation.h"
#include "types/frame.h"

namespace sightline {

// The memory behind a Frame: libav's reference-counted picture, or pixels of our own.
struct PictureMemory {
  PictureMemory() : frame(av_frame_alloc()) {}
  void OnReturn() {
    if (frame) av_frame_unref(frame.get());  // the decoder may reuse its buffer at once
  }
  // Room for a picture, rows aligned to 64 bytes, and 64 more behind the last; grows, never shrinks.
  void Allocate(PixelFormat format, int width, int height);

  AvFramePtr frame;
  std::vector<uint8_t> bytes;
  std::array<uint8_t*, 3> planes{};
  std::array<int, 3> strides{};
};

// What a picture's own words say of its colours. Unspecified means BT.601, limited range, at every
// size, as swscale (and with it OpenCV's VideoCapture) assumes; BT.2020 and SMPTE 240M are taken
// for BT.709, the nearest of the two. Gray is full range, as swscale reads it.
ColorMatrix MatrixOf(const AVFrame& frame);
ColorRange RangeOf(const AVFrame& frame);

// libav's limited-range name of one of our formats.
AVPixelFormat LibavFormat(PixelFormat format);

// Threads: one per adapter; the pictures handed out may be used and released on any thread.
class PictureAdapter {
 public:
  explicit PictureAdapter(Orientation orientation) : orientation_(orientation) {}

  struct Picture {
    ImageView image;
    std::shared_ptr<const void> memory;
  };
  // Takes the picture out of `frame` (which is then blank). Errors: a format that swscale cannot
  // read, or no memory.
  absl::StatusOr<Picture> Adapt(AVFrame* frame);

 private:
  absl::StatusOr<Picture> Convert(const AVFrame& frame);
  Picture Turn(const Picture& picture);

  Orientation orientation_;
  ObjectPool<PictureMemory> pool_;
  SwsContextPtr scaler_;
  // What scaler_ was made for.
  struct Key {
    int width = 0;
    int height = 0;
    int format = -1;
    ColorMatrix matrix = ColorMatrix::kBt601;
    ColorRange range = ColorRange::kLimited;
    bool operator==(const Key&) const = default;
  } key_;
};

// A scaler that changes the pixel format alone, the same on every CPU; null when libav cannot.
// `matrix` and `range` are those of the YUV side; RGB is full range.
SwsContextPtr MakeConverter(int width, int height, AVPixelFormat from, AVPixelFormat to,
                            ColorMatrix matrix, ColorRange range);

}  // namespace sightline
