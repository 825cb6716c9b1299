#include "serve/pictures/picture_value.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

namespace sightline::serve {
namespace {

constexpr std::string_view kMagic = "slpv1\n";

class Packer {
 public:
  template <typename T>
  requires std::is_trivially_copyable_v<T>
  void Put(const T& value) { bytes_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  template <typename T>
  requires std::is_trivially_copyable_v<T>
  void Put(const std::vector<T>& values) {
    Put<uint64_t>(values.size());
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  void Put(const std::string& text) {
    Put<uint64_t>(text.size());
    bytes_ += text;
  }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_{kMagic};
};

class Unpacker {
 public:
  explicit Unpacker(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  requires std::is_trivially_copyable_v<T>
  bool Take(T& value) {
    if (bytes_.size() < sizeof value) return false;
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_.remove_prefix(sizeof value);
    return true;
  }
  template <typename T>
  requires std::is_trivially_copyable_v<T>
  bool Take(std::vector<T>& values) {
    uint64_t count = 0;
    if (!Take(count) || count > bytes_.size() / sizeof(T)) return false;
    values.resize(count);
    if (count == 0) return true;
    std::memcpy(values.data(), bytes_.data(), count * sizeof(T));
    bytes_.remove_prefix(count * sizeof(T));
    return true;
  }
  bool Take(std::string& text) {
    uint64_t size = 0;
    if (!Take(size) || size > bytes_.size()) return false;
    text.assign(bytes_.substr(0, size));
    bytes_.remove_prefix(size);
    return true;
  }
  // A count of things of at least `least` bytes each.
  bool TakeCount(uint64_t& count, size_t least) {
    return Take(count) && count <= bytes_.size() / least;
  }
  bool is_empty() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
};

void PutGrid(const auto& grid, const auto& values, Packer& to) {
  to.Put(grid.extent_px);
  to.Put(grid.width);
  to.Put(grid.height);
  to.Put(values);
}

bool TakeGrid(Unpacker& from, auto& grid, auto& values) {
  return from.Take(grid.extent_px) && from.Take(grid.width) && from.Take(grid.height) &&
         from.Take(values) && grid.width >= 0 && grid.height >= 0;
}

bool IsFull(int width, int height, size_t cells) {
  return static_cast<uint64_t>(width) * static_cast<uint64_t>(height) == cells;
}

// Whether every item's place in the arrays beside it is one.
bool HoldsTogether(const Detections& found) {
  if (found.keypoints_per_item < 0) return false;
  size_t rows = SIZE_MAX;
  const auto bound = [&](size_t count) {
    if (count > 0) rows = std::min(rows, count);
  };
  if (found.keypoints_per_item > 0) {
    bound(found.keypoints.size() / static_cast<size_t>(found.keypoints_per_item));
  }
  bound(found.rotated_boxes.size());
  bound(found.masks.size());
  if (rows == SIZE_MAX) rows = 0;
  for (const Detection& item : found.items) {
    if (item.detail < -1 || (item.detail >= 0 && static_cast<size_t>(item.detail) >= rows)) {
      return false;
    }
  }
  for (const InstanceMask& mask : found.masks) {
    uint64_t cells = 0;
    for (const uint32_t run : mask.runs) cells += run;
    if (!IsFull(mask.width, mask.height, cells)) return false;
  }
  return IsFull(found.class_map.width, found.class_map.height, found.class_map.class_ids.size()) &&
         IsFull(found.anomaly.width, found.anomaly.height, found.anomaly.values.size());
}

bool TakeResults(Unpacker& from, Detections& found) {
  if (!from.Take(found.items) || !from.Take(found.keypoints_per_item) ||
      !from.Take(found.keypoints) || !from.Take(found.rotated_boxes)) {
    return false;
  }
  uint64_t masks = 0;
  if (!from.TakeCount(masks, sizeof(Box))) return false;
  found.masks.resize(masks);
  for (InstanceMask& mask : found.masks) {
    if (!TakeGrid(from, mask, mask.runs)) return false;
  }
  return from.Take(found.classes) && from.Take(found.embedding) &&
         TakeGrid(from, found.class_map, found.class_map.class_ids) &&
         from.Take(found.anomaly.score) && TakeGrid(from, found.anomaly, found.anomaly.values) &&
         HoldsTogether(found);
}

bool TakeLabels(Unpacker& from, std::shared_ptr<const LabelSet>& labels) {
  uint8_t has_labels = 0;
  if (!from.Take(has_labels)) return false;
  if (has_labels == 0) return true;
  uint64_t names = 0;
  if (!from.TakeCount(names, sizeof(uint64_t))) return false;
  auto taken = std::make_shared<LabelSet>();
  taken->names.resize(names);
  for (std::string& name : taken->names) {
    if (!from.Take(name)) return false;
  }
  labels = std::move(taken);
  return true;
}

}  // namespace

absl::StatusOr<std::string> PackPicture(const PictureAnswer& answer) {
  const Detections& found = answer.results;
  if (!found.stages.empty()) return Unimplemented("results of further models are not kept");
  Packer to;
  to.Put(answer.model);
  to.Put(answer.version);
  to.Put(answer.width);
  to.Put(answer.height);
  to.Put(answer.drawn);
  to.Put<uint8_t>(found.labels != nullptr ? 1 : 0);
  if (found.labels != nullptr) {
    to.Put<uint64_t>(found.labels->names.size());
    for (const std::string& name : found.labels->names) to.Put(name);
  }
  to.Put(found.items);
  to.Put(found.keypoints_per_item);
  to.Put(found.keypoints);
  to.Put(found.rotated_boxes);
  to.Put<uint64_t>(found.masks.size());
  for (const InstanceMask& mask : found.masks) PutGrid(mask, mask.runs, to);
  to.Put(found.classes);
  to.Put(found.embedding);
  PutGrid(found.class_map, found.class_map.class_ids, to);
  to.Put(found.anomaly.score);
  PutGrid(found.anomaly, found.anomaly.values, to);
  return to.Take();
}

absl::StatusOr<PictureAnswer> UnpackPicture(std::string_view bytes) {
  PictureAnswer answer;
  const bool is_ours = bytes.starts_with(kMagic);
  Unpacker from(is_ours ? bytes.substr(kMagic.size()) : std::string_view());
  if (!is_ours || !from.Take(answer.model) || !from.Take(answer.version) ||
      !from.Take(answer.width) || !from.Take(answer.height) || !from.Take(answer.drawn) ||
      !TakeLabels(from, answer.results.labels) || !TakeResults(from, answer.results) ||
      !from.is_empty()) {
    return DataLoss("a cached answer is damaged");
  }
  answer.results.frame.width = answer.width;
  answer.results.frame.height = answer.height;
  return answer;
}

}  // namespace sightline::serve
