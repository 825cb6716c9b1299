// A frame as it is sent to a model elsewhere: scaled to fit, upright as it is, as a JPEG.
//
// The longer side is brought down to the largest that may be sent; of tiny crops it is brought up to
// kSmallestSidePx, since models refuse pictures below a patch or two. Scaling is OpenCV's area average.
// Threads: one at a time per instance. Memory: the scaled picture. Internal to this module.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/status.h"
#include "base/uuid.h"
#include "remote/chat_endpoint.h"
#include "vision/preprocess.h"

namespace sightline {

class QuestionPicture {
 public:
  static constexpr int kSmallestSidePx = 64;  // chosen: two patches of 28 px and a little

  QuestionPicture(int max_side_px, int jpeg_quality)
      : max_side_px_(max_side_px), jpeg_quality_(jpeg_quality) {}

  // Scales `image`. InvalidArgument for a picture without pixels.
  absl::Status Prepare(const ImageView& image);
  // Of the scaled pixels and their size.
  Hash128 key() const;
  absl::StatusOr<SentPicture> Encode() const;

 private:
  const int max_side_px_;
  const int jpeg_quality_;
  std::optional<Preprocessor> preprocessor_;  // to the size of the last picture
  std::vector<uint8_t> bgr_;
  int width_ = 0;
  int height_ = 0;
};

}  // namespace sightline
