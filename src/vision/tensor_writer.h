// The last step into a tensor: rows of 8-bit pixels to the recipe's element type, channel order and
// layout, normalised, with the padding around them.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "types/model_spec.h"
#include "vision/resize_plan.h"
#include "vision/row_kernels.h"

namespace sightline {

// Threads: one at a time. Cost: no allocation after construction.
class TensorWriter {
 public:
  explicit TensorWriter(const TensorRecipe& recipe);

  // Starts a picture at `place` in `tensor`; with `fill_padding`, fills everything around it.
  void Begin(void* tensor, const Placement& place, bool fill_padding);
  // Row `y` of the tensor: the picture's pixels, rows B, G and R of place.width.
  void WriteRow(int y, const std::array<const uint8_t*, 3>& bgr);

  // Whether rows may be stored straight into the tensor, and where row `y` goes then.
  bool planar_f32() const {
    return recipe_.dtype == DataType::kFloat32 && recipe_.layout == TensorLayout::kNchw;
  }
  FloatRow RowOfTensor(int y) const;

 private:
  // Fills `count` pixels from (x, y) on with padding.
  void Pad(int x, int y, size_t count);

  const TensorRecipe recipe_;
  const RowKernels& kernels_;
  std::array<Normalization, 3> normalization_;  // in the order of the recipe's channels
  std::array<float, 3> pad_;                    // normalised
  std::array<std::array<uint8_t, 256>, 3> to_uint8_;
  bool uint8_unchanged_ = false;
  std::vector<uint16_t> halves_;
  void* tensor_ = nullptr;
  Placement place_;
};

}  // namespace sightline
