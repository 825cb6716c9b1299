// Dense tensors, and views of them. Data is C-contiguous, little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sightline {

enum class DataType : uint8_t {
  kFloat32,
  kFloat16,
  kUint8,
  kInt64,
  kInt32,
  kBool,
  kInt8,
  kInt16,
  kUint16,
  kUint32,
  kUint64,
  kFloat64,
  kBfloat16,
  kString,  // elements of any length: std::string
  kOther
};
enum class TensorLayout : uint8_t { kNchw, kNhwc };

size_t SizeOf(DataType type);              // bytes of one element; 0 for kString and kOther
std::string_view ToString(DataType type);  // "float32"

// Name, element type and shape of a model's input or output; -1 is a dynamic dimension.
struct TensorInfo {
  std::string name;
  DataType dtype = DataType::kFloat32;
  std::vector<int64_t> shape;
};
std::string ToString(const TensorInfo& info);  // "images float32[1,3,416,416]"

// Borrowed tensor data; whoever hands it out says how long it lives. Of kString `data` is an array of
// std::string.
struct TensorView {
  DataType dtype = DataType::kFloat32;
  std::vector<int64_t> shape;
  const void* data = nullptr;

  int64_t elements() const {
    int64_t n = 1;
    for (const int64_t d : shape) n *= d;
    return n;
  }
  const float* f32() const { return static_cast<const float*>(data); }
};

}  // namespace sightline
