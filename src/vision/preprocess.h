// From a decoded picture straight into a model's input tensor, in one pass over the rows: colour
// conversion, resize, channel order, normalisation, layout and padding. No full-size copy is made:
// only the source rows that the resize reads are touched, and when shrinking only the pixels.
//
// The result is that of the chain which users and reference implementations run:
//   cv::cvtColor (YUV to BGR, see color.h)  ->  cv::resize on 8-bit pixels  ->  cv::copyMakeBorder
//   ->  (pixel - mean) * scale
// Against OpenCV 4.6 (its plain C++ and SIMD code, not an IPP build): nearest and bilinear bit for
// bit; area and cubic within 1 of 255, on the rare pixel where OpenCV's float sums fall just at the
// rounding edge. All instruction sets give the same bits.
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
// Memory: a few rows, and tables for the last 16 source geometries (size and pixel format).
// Cost: no allocation once the geometry is known. 1920x1080 to 640x360 in NV12 takes about 0.1 ms,
// 768x576 to 416x312 in I420 about 0.2 ms (one core, AVX2; benchmarks/preprocess_bench).
class Preprocessor {
 public:
  // InvalidArgument for sides outside 1..8192, element types other than float32, float16 and uint8,
  // and means or scales that are not finite.
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
