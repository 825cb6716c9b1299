// Detections as lists of boxes, integer labels and scores, as graphs give them that choose their
// boxes themselves: torchvision's of one picture, RT-DETR's own export in a batch.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "types/tensor.h"

namespace sightline {

// Indices among a model's outputs.
struct DetectionLists {
  size_t boxes = 0;
  size_t labels = 0;
  size_t scores = 0;
  std::optional<size_t> masks;
  bool operator==(const DetectionLists&) const = default;
};

// Boxes [.., n, 4] and scores [.., n] of float32, labels [.., n] of integers, in any order; `batched`:
// with a batch in front. Without one, masks [n, 1, rows, columns] of float32 may be there too.
// Nothing when the outputs are not exactly that.
std::optional<DetectionLists> FindDetectionLists(std::span<const TensorInfo> outputs, bool batched);

// Their places among all of a model's outputs, where `lists` are among the meant ones alone.
DetectionLists PlacedAmongAll(const DetectionLists& lists, std::span<const size_t> meant);

// Whether IntegerAt() can read it: what a model gives need not be what its file declares.
inline bool HoldsIntegers(const TensorView& view) {
  return view.dtype == DataType::kInt64 || view.dtype == DataType::kInt32;
}
// Element `i` of such a tensor.
int64_t IntegerAt(const TensorView& view, int64_t i);

}  // namespace sightline
