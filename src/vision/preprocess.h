// From a decoded picture straight into a model's input tensor, in one pass over the rows: colour
// conversion, resize, crop, channel order, normalisation, layout and padding. No full-size copy is
// made: only the source rows that the resize reads are touched, and when shrinking without
// antialias only the pixels; of a crop only what it shows is computed.
//
// The result is that of the chains which users and reference implementations run:
//   cv::cvtColor (YUV to BGR, see color.h)  ->  cv::resize on 8-bit pixels  ->  cv::copyMakeBorder
//   ->  (pixel - mean) * scale
//   Pillow's Image.resize on 8-bit pixels  ->  torchvision's CenterCrop  ->  the same
// From BGR, RGB and grey, nearest and bilinear are bit for bit those of OpenCV 4.6 (checked against
// 5.0 too); area and cubic are within 1 of 255, where OpenCV's float sums fall at the rounding
// edge. With antialias they are bit for bit those of Pillow, across first as in its versions up to
// 12; 13 goes down first where the height loses more than twice the pixels that the width loses
// (narrow portraits, mostly), and there bilinear is off by 1 at most and cubic by a few at hard
// edges. From YUV the colour of fewer than 1 pixel in 100 is off by 1 (see color.h), so that
// results are within 2 and off by 0.02 in the mean. All instruction sets give the same bits.
#pragma once

#include <cstddef>
#include <memory>

#include "base/status.h"
#include "types/frame.h"
#include "types/model_spec.h"

namespace sightline {

// Bytes of one image's tensor: width * height * 3 elements of the recipe's type.
size_t TensorBytes(const TensorRecipe& recipe);

// What is known of a tensor's padding: where the picture lay that was written last. One belongs to
// one tensor and one recipe; make a new one when anything else may have written into the tensor.
struct TensorPadding {
  int x = -1;
  int y = -1;
  int width = -1;
  int height = -1;
  bool operator==(const TensorPadding&) const = default;
};

// Threads: one thread at a time per instance; instances are independent.
// Memory: a few rows (with antialias as many as one row of the tensor sums, about 1 MiB at most),
// and tables for the last 16 source geometries (size and pixel format).
// Cost: no allocation once the geometry is known. 1920x1080 NV12 into 640x640 letterboxed takes
// about 0.27 ms, of which 0.08 ms is padding; 768x576 I420 into 416x416 about 0.2 ms, 1920x1080
// into 352x352 0.3 ms (one busy core of an AMD EPYC, AVX2; benchmarks/preprocess_bench measures).
class Preprocessor {
 public:
  // InvalidArgument for sides outside 1..8192, crop_from outside 0..8192, borders of half a side or
  // more, element types other than float32, float16 and uint8, and means or scales that are not
  // finite.
  static absl::StatusOr<Preprocessor> Create(const TensorRecipe& recipe);

  Preprocessor(Preprocessor&&) noexcept;
  Preprocessor& operator=(Preprocessor&&) noexcept;
  ~Preprocessor();

  // Fills the whole tensor, padding included: TensorBytes(recipe()) at `tensor`, aligned for its
  // element type. uint8 tensors hold (pixel - mean) * scale rounded to nearest even and clipped.
  // Grey pictures have B = G = R. `mapping` (may be null) is the way back for boxes.
  // With `padding` (may be null) the padding is written only when it is not there yet; in a
  // letterbox of video that is a third of the tensor.
  // InvalidArgument, with the tensor untouched, for pictures that CheckImage() refuses.
  absl::Status Run(const ImageView& image, void* tensor, ImageToTensor* mapping,
                   TensorPadding* padding = nullptr);

  const TensorRecipe& recipe() const;

 private:
  struct State;
  explicit Preprocessor(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sightline
