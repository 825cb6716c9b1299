// Instance masks as sums of prototypes (YOLACT, Bolya et al. 2019, arXiv 1904.02689): the model gives
// prototypes [batch, count, rows, columns], usually at a quarter of the input's size, and `count`
// coefficients for each box. Their sum is brought to the input's size bilinearly, in one of two
// ways.
//
// Cost: per object, its box's share of the prototypes times `count`, and the box's area at the
// input's size. Errors: DataLoss for an output that is not of the declared shape.
#pragma once

#include <cstdint>
#include <span>

#include "detect/heads/head.h"

namespace sightline {

enum class MaskRule : uint8_t {
  kEnlargeThenCut,  // the sum; object where it is above 0 and within the box (ultralytics 8)
  kCutThenEnlarge   // its sigmoid, 0 beyond the box's prototype cells; object above 0.5 (yolov5)
};

class PrototypeMasks {
 public:
  // `width` and `height` are the input tensor's.
  PrototypeMasks(size_t output, int count, int width, int height,
                 MaskRule rule = MaskRule::kEnlargeThenCut)
      : output_(output), count_(count), width_(width), height_(height), rule_(rule) {}

  int count() const { return count_; }
  size_t output() const { return output_; }

  // The prototypes of the picture's entry.
  struct View {
    const float* planes = nullptr;
    int64_t rows = 0;
    int64_t columns = 0;
  };
  absl::StatusOr<View> Of(const RawResult& raw) const;

  // The mask of one object: its coefficients and its box in pixels of the input tensor.
  InstanceMask Make(const View& view, std::span<const float> coefficients, const Box& box_tensor_px,
                    const ImageToTensor& mapping) const;

 private:
  const size_t output_;
  const int count_;
  const int width_;
  const int height_;
  const MaskRule rule_;
};

// How many prototypes `output` holds. InvalidArgument when it is no [batch, prototypes, rows,
// columns].
absl::StatusOr<int> PrototypeCount(const ModelSpec& spec, const TensorInfo& output);

}  // namespace sightline
