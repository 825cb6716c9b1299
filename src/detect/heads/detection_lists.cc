#include "detect/heads/detection_lists.h"

#include <vector>

namespace sightline {

std::optional<DetectionLists> FindDetectionLists(std::span<const TensorInfo> outputs,
                                                 bool batched) {
  const size_t list_rank = batched ? 2 : 1;
  std::optional<size_t> boxes, labels, scores, masks;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::vector<int64_t>& s = outputs[i].shape;
    const DataType type = outputs[i].dtype;
    const bool integer = type == DataType::kInt64 || type == DataType::kInt32;
    std::optional<size_t>* slot = nullptr;
    if (s.size() == list_rank + 1 && s.back() == 4) slot = &boxes;
    if (s.size() == list_rank) slot = integer ? &labels : &scores;
    if (!batched && s.size() == 4 && s[1] == 1) slot = &masks;
    if (slot == nullptr || slot->has_value()) return std::nullopt;
    if (slot != &labels && type != DataType::kFloat32) return std::nullopt;
    *slot = i;
  }
  if (!boxes || !labels || !scores) return std::nullopt;
  return DetectionLists{*boxes, *labels, *scores, masks};
}

DetectionLists PlacedAmongAll(const DetectionLists& lists, std::span<const size_t> meant) {
  DetectionLists placed{meant[lists.boxes], meant[lists.labels], meant[lists.scores], {}};
  if (lists.masks) placed.masks = meant[*lists.masks];
  return placed;
}

int64_t IntegerAt(const TensorView& view, int64_t i) {
  return view.dtype == DataType::kInt64 ? static_cast<const int64_t*>(view.data)[i]
                                        : static_cast<const int32_t*>(view.data)[i];
}

}  // namespace sightline
