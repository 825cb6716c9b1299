// Still pictures to BGR one after the other, into memory that is used again, and no larger than needed: a JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, for less than the whole costs.
//
// Pixels at full size are those of image_codec.h. At a part of it each block of 8x8 pixels becomes one of
// 4x4, 2x2 or 1x1, by the low frequencies of its cosine transform alone (libjpeg-turbo, "scaled
// decoding"), so that small things do not alias.
//
// Only JPEG, PNG and WebP are taken. Safety as in image_codec.h. Threads: one at a time an instance.
// Memory: the largest picture so far, up to kKeptBytes; beyond that it is given back with the next
// picture. Cost: that of the codec; nothing else is allocated for pictures no larger than an earlier one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/status.h"
#include "media/media_limits.h"
#include "types/frame.h"

namespace sightline {

// A decoded picture and its place in the whole one: pixel x of it begins at pixel
// x * step + offset_x of the whole, and the same down. `offset_*` are 0 or less: of pictures that are
// turned the last, narrower column or row of blocks comes to lie first.
struct DecodedPicture {
  ImageView view;  // BGR, upright; the decoder's memory
  int width = 0;   // px of the whole picture, upright
  int height = 0;
  int step = 1;  // 1, 2, 4 or 8
  int offset_x = 0;
  int offset_y = 0;
};

class PictureDecoder {
 public:
  static constexpr size_t kKeptBytes = size_t{12} << 20;  // 1920x1080 and its turned copy; chosen
  static constexpr int kLargestStep = 8;

  PictureDecoder();
  ~PictureDecoder();
  PictureDecoder(PictureDecoder&&) noexcept;
  PictureDecoder& operator=(PictureDecoder&&) noexcept;

  // Reads no more than the header. `bytes` must live until Decode(). Errors as ReadImageHeader(), and
  // InvalidArgument for other formats.
  absl::Status Open(std::span<const uint8_t> bytes, const MediaLimits& limits = {});
  // Of the opened picture, upright.
  int width() const;
  int height() const;
  // Whether steps of more than 1 are possible: of JPEG alone.
  bool CanShrink() const;

  // The opened picture at 1/step of its size. Its pixels live until the next Open() or Decode(). Errors
  // as DecodeImage().
  absl::StatusOr<DecodedPicture> Decode(int step = 1);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
