// Parts of perceptual_hash.h. Internal to vision.
#pragma once

#include <vector>

#include "types/frame.h"
#include "vision/hash_kernels.h"
#include "vision/perceptual_hash.h"
#include "vision/row_kernels.h"

namespace sightline {

// The rows of a picture as grey (Pillow's "L") or as PDQ's luma, one at a time.
class LumaRows {
 public:
  // Checked.
  explicit LumaRows(const ImageView& image);

  // width + kRowSlack bytes can be read; valid until the next call.
  const uint8_t* Grey(int y);
  // Writes up to kHashLanes floats beyond the width.
  void Luma(int y, float* to);

 private:
  const uint8_t* Row(int y) const {
    return image_.planes[0] + static_cast<ptrdiff_t>(y) * image_.strides[0];
  }
  void Split(int y);

  const ImageView image_;
  const bool is_packed_;
  bool is_stretched_ = false;  // luma of limited range
  const RowKernels& rows_ = BestRowKernels();
  const HashKernels& hashes_ = BestHashKernels();
  std::vector<uint8_t> planes_;      // R, G, B (or B, G, R), grey
  std::array<uint8_t*, 3> split_{};  // R, G, B
  uint8_t* grey_ = nullptr;
  std::array<uint8_t, 256> full_{};
};

PerceptualHash PdqHash(const ImageView& image);  // checked

}  // namespace sightline
