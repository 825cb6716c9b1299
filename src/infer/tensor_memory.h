// Memory that sessions bind to a runtime's tensors. Internal to infer/backends/.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "types/tensor.h"

namespace sightline {

inline constexpr size_t kTensorAlignmentBytes = 64;  // a cache line, the widest vector register
// Chosen, not measured: far above any picture batch, far below what would take the machine down.
inline constexpr int64_t kMaxTensorBytes = int64_t{4} << 30;

// Zeroed; grows, never shrinks.
class AlignedBuffer {
 public:
  // Null when there is no such memory.
  void* Reserve(size_t bytes) {
    if (bytes > capacity_ || memory_ == nullptr) {
      const size_t rounded = (std::max<size_t>(bytes, 1) + kTensorAlignmentBytes - 1) /
                             kTensorAlignmentBytes * kTensorAlignmentBytes;
      memory_.reset(std::aligned_alloc(kTensorAlignmentBytes, rounded));
      capacity_ = memory_ == nullptr ? 0 : rounded;
      if (memory_ != nullptr) std::memset(memory_.get(), 0, rounded);
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> memory_;
  size_t capacity_ = 0;
};

// Strings of a tensor, at most: 512 MB of empty ones. Chosen.
inline constexpr int64_t kMaxTensorStrings = int64_t{16} << 20;

inline std::string ShapeText(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ","));
}

// Bytes of a tensor; empty when a dimension is not positive or the product is beyond the limit.
inline std::optional<size_t> TensorBytes(DataType type, std::span<const int64_t> shape) {
  auto bytes = static_cast<int64_t>(SizeOf(type));
  if (bytes <= 0) return std::nullopt;
  for (const int64_t dimension : shape) {
    if (dimension <= 0 || dimension > kMaxTensorBytes / bytes) return std::nullopt;
    bytes *= dimension;
  }
  return static_cast<size_t>(bytes);
}

// Strings of a tensor; empty as above.
inline std::optional<size_t> TensorStrings(std::span<const int64_t> shape) {
  int64_t count = 1;
  for (const int64_t dimension : shape) {
    if (dimension <= 0 || dimension > kMaxTensorStrings / count) return std::nullopt;
    count *= dimension;
  }
  return static_cast<size_t>(count);
}

// Whether a tensor declared so (-1 is any size) may have this shape.
inline bool TakesShape(std::span<const int64_t> declared, std::span<const int64_t> shape) {
  if (declared.size() != shape.size()) return false;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (declared[d] != shape[d] && !(declared[d] == -1 && shape[d] > 0)) return false;
  }
  return true;
}

}  // namespace sightline
