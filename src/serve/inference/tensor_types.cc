#include "serve/inference/tensor_types.h"

#include <utility>

namespace sightline::serve {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 40;
constexpr size_t kLengthBytes = 4;

constexpr std::pair<DataType, std::string_view> kNames[] = {
    {DataType::kFloat32, "FP32"},  {DataType::kFloat16, "FP16"},  {DataType::kUint8, "UINT8"},
    {DataType::kInt64, "INT64"},   {DataType::kInt32, "INT32"},   {DataType::kBool, "BOOL"},
    {DataType::kInt8, "INT8"},     {DataType::kInt16, "INT16"},   {DataType::kUint16, "UINT16"},
    {DataType::kUint32, "UINT32"}, {DataType::kUint64, "UINT64"}, {DataType::kFloat64, "FP64"},
    {DataType::kBfloat16, "BF16"}, {DataType::kString, "BYTES"},
};

uint32_t LengthAt(std::string_view bytes) {
  uint32_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= uint32_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  return length;
}

}  // namespace

std::string_view WireName(DataType type) {
  for (const auto& [known, name] : kNames) {
    if (known == type) return name;
  }
  return "";
}

std::optional<DataType> DataTypeNamed(std::string_view wire_name) {
  for (const auto& [known, name] : kNames) {
    if (name == wire_name) return known;
  }
  return std::nullopt;
}

absl::StatusOr<int64_t> CountElements(std::span<const int64_t> shape) {
  int64_t count = 1;
  bool is_empty = false;
  for (const int64_t dimension : shape) {
    if (dimension < 0) return InvalidArgument("a dimension of its shape is {}", dimension);
    if (dimension == 0) {
      is_empty = true;
    } else if (dimension > kMostElements / count) {
      return InvalidArgument("its shape has more than {} elements", kMostElements);
    } else {
      count *= dimension;
    }
  }
  return is_empty ? 0 : count;
}

void AppendString(std::string_view text, std::string& bytes) {
  const auto length = static_cast<uint32_t>(text.size());
  for (size_t i = 0; i < kLengthBytes; ++i) {
    bytes.push_back(static_cast<char>(length >> (8 * i) & 0xFF));
  }
  bytes.append(text);
}

absl::Status CheckStrings(std::string_view bytes, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    if (bytes.size() < kLengthBytes) {
      return InvalidArgument("it ends after {} strings; its shape has {}", i, count);
    }
    const uint32_t length = LengthAt(bytes);
    bytes.remove_prefix(kLengthBytes);
    if (length > bytes.size()) {
      return InvalidArgument("string {} is said to have {} bytes, of which {} are there", i, length,
                             bytes.size());
    }
    bytes.remove_prefix(length);
  }
  if (bytes.empty()) return absl::OkStatus();
  return InvalidArgument("{} bytes are left over behind its {} strings", bytes.size(), count);
}

std::string_view TakeString(std::string_view& bytes) {
  const uint32_t length = LengthAt(bytes);
  const std::string_view text = bytes.substr(kLengthBytes, length);
  bytes.remove_prefix(kLengthBytes + text.size());
  return text;
}

}  // namespace sightline::serve
