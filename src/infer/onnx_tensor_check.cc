#include "infer/onnx_tensor_check.h"

#include <algorithm>
#include <map>
#include <optional>

namespace sightline {
namespace {

using Field = WireReader::Field;
using Bytes = std::span<const uint8_t>;

constexpr uint64_t kMaxTensorBytes = uint64_t{2} << 30;  // as much as a file may have
constexpr size_t kMaxRank = 64;

// How TensorProto keeps the elements of a type, by TensorProto.DataType.
struct ElementType {
  uint32_t bits = 0;       // in raw_data; 0: not possible there
  uint32_t field = 0;      // of the typed data
  uint32_t per_field = 1;  // numbers of that field for one element
};
constexpr uint32_t kFloatData = 4, kInt32Data = 5, kStringData = 6, kInt64Data = 7, kRawData = 9,
                   kDoubleData = 10, kUint64Data = 11;

std::optional<ElementType> TypeOf(uint64_t data_type) {
  switch (data_type) {
    case 1:  // float
      return ElementType{32, kFloatData};
    case 2:   // uint8
    case 3:   // int8
    case 9:   // bool
    case 17:  // the float8 types
    case 18:
    case 19:
    case 20:
    case 24:
      return ElementType{8, kInt32Data};
    case 4:   // uint16
    case 5:   // int16
    case 10:  // float16
    case 16:  // bfloat16
      return ElementType{16, kInt32Data};
    case 6:  // int32
      return ElementType{32, kInt32Data};
    case 7:  // int64
      return ElementType{64, kInt64Data};
    case 8:  // string
      return ElementType{0, kStringData};
    case 11:  // double
      return ElementType{64, kDoubleData};
    case 12:  // uint32
      return ElementType{32, kUint64Data};
    case 13:  // uint64
      return ElementType{64, kUint64Data};
    case 14:  // complex64
      return ElementType{64, kFloatData, 2};
    case 15:  // complex128
      return ElementType{128, kDoubleData, 2};
    case 21:  // uint4, int4, float4
    case 22:
    case 23:
      return ElementType{4, kInt32Data};
    default:
      return std::nullopt;
  }
}

size_t VarintsIn(Bytes packed) {
  return static_cast<size_t>(
      std::ranges::count_if(packed, [](uint8_t byte) { return (byte & 0x80) == 0; }));
}

// Numbers in one occurrence of a repeated field of numbers, packed or not; 0 for what readers pass
// over because its wire type is another.
size_t NumbersIn(const Field& field) {
  const uint32_t size = field.number == kFloatData ? 4 : field.number == kDoubleData ? 8 : 0;
  if (size == 0) return field.is_varint() ? 1 : field.is_bytes() ? VarintsIn(field.bytes) : 0;
  if (field.is_bytes()) return field.bytes.size() / size;
  return field.wire_type == (size == 4 ? 5u : 1u) ? 1 : 0;
}

}  // namespace

std::string OnnxTensorChecker::Quoted(std::string_view name) {
  std::string text(name.substr(0, 80));
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return "\"" + text + "\"";
}

absl::Status OnnxTensorChecker::Dimensions(const Field& field, std::vector<int64_t>* dims) const {
  if (field.is_varint()) dims->push_back(field.as_int64());
  if (field.is_bytes()) {  // packed: as varints of a message without tags
    uint64_t value = 0;
    int shift = 0;
    for (const uint8_t byte : field.bytes) {
      if (shift > 63) return Bad("a dimension has no end");
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      shift += 7;
      if ((byte & 0x80) != 0) continue;
      dims->push_back(static_cast<int64_t>(value));
      value = 0;
      shift = 0;
      if (dims->size() > kMaxRank) break;
    }
  }
  return dims->size() > kMaxRank ? TooMuch("a tensor of more than 64 dimensions")
                                 : absl::OkStatus();
}

absl::StatusOr<uint64_t> OnnxTensorChecker::Elements(const std::vector<int64_t>& dims,
                                                     uint32_t bits, std::string_view name) {
  const uint64_t most = kMaxTensorBytes * 8 / std::max(bits, 1u);
  uint64_t elements = 1;
  bool empty = false;
  for (const int64_t d : dims) {
    if (d < 0) return Bad("the tensor {} has a dimension of {}", Quoted(name), d);
    empty |= d == 0;
    if (d > 0 && elements > most / static_cast<uint64_t>(d)) {
      return TooMuch(fmt::format("the tensor {} says it has more than 2 GiB", Quoted(name)));
    }
    elements *= std::max<uint64_t>(static_cast<uint64_t>(d), 1);
  }
  if (empty) elements = 0;
  total_bits_ += elements * std::max(bits, 8u);
  if (total_bits_ / 8 > 2 * kMaxTensorBytes) {
    return TooMuch("all tensors together say they have more than 4 GiB");
  }
  return elements;
}

struct OnnxTensorChecker::Parts {
  std::vector<int64_t> dims;
  uint64_t type = 0;
  std::map<uint32_t, uint64_t> numbers;  // of each typed field
  std::optional<size_t> raw_bytes;
  bool external = false;
};

absl::Status OnnxTensorChecker::Tensor(Bytes bytes, std::string_view* name) {
  Parts tensor;
  bool type_seen = false, location_seen = false;
  SL_RETURN_IF_ERROR(EachField(bytes, [&](const Field& field) -> absl::Status {
    switch (field.number) {
      case 1:
        return Dimensions(field, &tensor.dims);
      case 2:
        if (!field.is_varint()) return absl::OkStatus();
        if (std::exchange(type_seen, true)) return Twice("element type of a tensor");
        tensor.type = field.varint;
        return absl::OkStatus();
      case kFloatData:
      case kInt32Data:
      case kInt64Data:
      case kDoubleData:
      case kUint64Data:
        tensor.numbers[field.number] += NumbersIn(field);
        return absl::OkStatus();
      case kStringData:
        tensor.numbers[kStringData] += field.is_bytes() ? 1 : 0;
        return absl::OkStatus();
      case 8:
        if (field.is_bytes()) *name = field.text();
        return absl::OkStatus();
      case kRawData:
        if (!field.is_bytes()) return absl::OkStatus();
        if (tensor.raw_bytes) return Twice("data of a tensor");
        tensor.raw_bytes = field.bytes.size();
        return absl::OkStatus();
      case 14:  // data_location
        if (!field.is_varint()) return absl::OkStatus();
        if (std::exchange(location_seen, true)) return Twice("place of a tensor's data");
        tensor.external = field.varint == 1;
        return absl::OkStatus();
      default:
        return absl::OkStatus();
    }
  }));
  return CheckParts(tensor, *name);
}

absl::Status OnnxTensorChecker::CheckParts(const Parts& tensor, std::string_view name) {
  const std::optional<ElementType> type = TypeOf(tensor.type);
  if (!type) {
    return Bad("the tensor {} has elements of the unknown type {}", Quoted(name), tensor.type);
  }
  SL_ASSIGN_OR_RETURN(const uint64_t elements, Elements(tensor.dims, type->bits, name));
  // Data in another file are refused elsewhere (CheckSelfContained).
  if (tensor.external && !tensor.raw_bytes && tensor.numbers.empty()) return absl::OkStatus();
  if (tensor.raw_bytes) {
    const uint64_t wanted = (elements * type->bits + 7) / 8;
    if (type->bits > 0 && *tensor.raw_bytes == wanted) return absl::OkStatus();
    return Bad("the tensor {} has {} bytes where its type and dimensions say {}", Quoted(name),
               *tensor.raw_bytes, wanted);
  }
  const auto found = tensor.numbers.find(type->field);
  const uint64_t numbers = found == tensor.numbers.end() ? 0 : found->second;
  uint64_t wanted = elements * type->per_field;
  if (type->bits == 4) wanted = (elements + 1) / 2;
  if (numbers == wanted) return absl::OkStatus();
  return Bad("the tensor {} has {} numbers where its type and dimensions say {}", Quoted(name),
             numbers, wanted);
}

absl::Status OnnxTensorChecker::Sparse(
    Bytes bytes, std::string_view* name) {  // values = 1, indices = 2, dims = 3
  std::vector<int64_t> dims;
  bool values = false, indices = false;
  SL_RETURN_IF_ERROR(EachField(bytes, [&](const Field& field) -> absl::Status {
    std::string_view ignored;
    if (field.number == 1 && field.is_bytes()) {
      if (std::exchange(values, true)) return Twice("sparse tensor's values");
      return Tensor(field.bytes, name);
    }
    if (field.number == 2 && field.is_bytes()) {
      if (std::exchange(indices, true)) return Twice("sparse tensor's indices");
      return Tensor(field.bytes, &ignored);
    }
    return field.number == 3 ? Dimensions(field, &dims) : absl::OkStatus();
  }));
  constexpr uint32_t kWidestBits = 128;  // a runtime fills it up to all of its elements
  return Elements(dims, kWidestBits, *name).status();
}

}  // namespace sightline
