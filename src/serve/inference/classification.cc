#include "serve/inference/classification.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string_view>
#include <type_traits>
#include <vector>

#include "serve/inference/tensor_types.h"

namespace sightline::serve {
namespace {

template <typename T>
void ClassifyRow(const T* values, int64_t count, int64_t classes, const LabelSet* labels,
                 std::string& bytes) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  const auto is_higher = [values](int64_t a, int64_t b) {
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(values[a]) != std::isnan(values[b])) return std::isnan(values[b]);
      if (std::isnan(values[a])) return a < b;
    }
    return values[a] != values[b] ? values[a] > values[b] : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + classes, order.end(), is_higher);
  for (int64_t i = 0; i < classes; ++i) {
    const int64_t index = order[static_cast<size_t>(i)];
    std::string text = std::to_string(values[index]) + ":" + std::to_string(index);
    if (labels != nullptr && static_cast<size_t>(index) < labels->names.size()) {
      text += ":" + labels->names[static_cast<size_t>(index)];
    }
    AppendString(text, bytes);
  }
}

template <typename T>
void ClassifyRows(const TensorView& view, int64_t first, int64_t count, int64_t rows, int classes,
                  const LabelSet* labels, std::string& bytes) {
  const int64_t per_row = count / rows;
  const auto* values = static_cast<const T*>(view.data) + first;
  for (int64_t row = 0; row < rows; ++row) {
    ClassifyRow(values + row * per_row, per_row, std::min<int64_t>(classes, per_row), labels,
                bytes);
  }
}

}  // namespace

absl::Status Classify(const TensorView& view, int64_t first, int64_t count, int64_t rows,
                      int classes, const LabelSet* labels, std::string& bytes) {
  const auto as = [&](auto zero) {
    ClassifyRows<decltype(zero)>(view, first, count, rows, classes, labels, bytes);
    return absl::OkStatus();
  };
  switch (view.dtype) {
    case DataType::kFloat32:
      return as(float{});
    case DataType::kFloat64:
      return as(double{});
    case DataType::kInt8:
      return as(int8_t{});
    case DataType::kInt16:
      return as(int16_t{});
    case DataType::kInt32:
      return as(int32_t{});
    case DataType::kInt64:
      return as(int64_t{});
    case DataType::kUint8:
      return as(uint8_t{});
    case DataType::kUint16:
      return as(uint16_t{});
    case DataType::kUint32:
      return as(uint32_t{});
    case DataType::kUint64:
      return as(uint64_t{});
    default:
      return InvalidArgument("class result not available for output due to unsupported type '{}'",
                             WireName(view.dtype));
  }
}

}  // namespace sightline::serve
