// For tests and fuzzing: an ONNX file as a tree of its fields, by the schema as far as matters here,
// that can be changed and written again, with lengths that fit or that lie.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "infer/onnx_wire.h"

namespace sightline::onnx_tree {

enum Message {
  kNone,
  kModel,
  kGraph,
  kNode,
  kAttributeMessage,
  kTensor,
  kSparseTensor,
  kValue,
  kType,
  kTensorType,
  kShape,
  kDim,
  kOpsetId,
  kEntry,
  kFunction
};

inline Message Within(Message message, uint32_t field) {
  switch (message) {
    case kModel:
      return field == 7    ? kGraph
             : field == 8  ? kOpsetId
             : field == 14 ? kEntry
             : field == 25 ? kFunction
                           : kNone;
    case kGraph:
      return field == 1                                  ? kNode
             : field == 5                                ? kTensor
             : field == 15                               ? kSparseTensor
             : field == 11 || field == 12 || field == 13 ? kValue
                                                         : kNone;
    case kNode:
      return field == 5 ? kAttributeMessage : kNone;
    case kFunction:
      return field == 7 ? kNode : field == 11 ? kAttributeMessage : kNone;
    case kAttributeMessage:
      return field == 5 || field == 10 ? kTensor : field == 6 || field == 11 ? kGraph : kNone;
    case kTensor:
      return field == 13 ? kEntry : kNone;
    case kSparseTensor:
      return field == 1 || field == 2 ? kTensor : kNone;
    case kValue:
      return field == 2 ? kType : kNone;
    case kType:
      return field == 1 ? kTensorType : kNone;
    case kTensorType:
      return field == 2 ? kShape : kNone;
    case kShape:
      return field == 1 ? kDim : kNone;
    default:
      return kNone;
  }
}

struct OnnxItem {
  uint32_t number = 0;
  uint32_t wire_type = 2;
  uint64_t varint = 0;
  std::string text;  // of bytes that are no known message, and of four and eight bytes
  Message message = kNone;
  std::vector<OnnxItem> children;
  uint64_t length_lie = 0;  // instead of the length; 0: the truth

  static void AppendVarint(uint64_t value, std::string* out) {
    while (value >= 0x80) {
      out->push_back(static_cast<char>(value | 0x80));
      value >>= 7;
    }
    out->push_back(static_cast<char>(value));
  }
  std::string Content() const {
    if (message == kNone) return text;
    std::string content;
    for (const OnnxItem& child : children) child.Append(&content);
    return content;
  }
  uint64_t Size() const { return Content().size(); }
  void Append(std::string* out) const {
    AppendVarint(uint64_t{number} << 3 | wire_type, out);
    if (wire_type == 0) return AppendVarint(varint, out);
    const std::string content = Content();
    if (wire_type == 2) AppendVarint(length_lie > 0 ? length_lie : content.size(), out);
    *out += content;
  }
};

inline OnnxItem Varint(uint32_t number, uint64_t value) {
  OnnxItem item;
  item.number = number;
  item.wire_type = 0;
  item.varint = value;
  return item;
}
inline OnnxItem Bytes(uint32_t number, std::string text) {
  OnnxItem item;
  item.number = number;
  item.text = std::move(text);
  return item;
}
inline OnnxItem Inner(uint32_t number, Message message, std::vector<OnnxItem> children) {
  OnnxItem item;
  item.number = number;
  item.message = message;
  item.children = std::move(children);
  return item;
}

inline bool Parse(std::string_view bytes, Message message, std::vector<OnnxItem>* to) {
  WireReader reader({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  WireReader::Field field;
  while (reader.Next(field)) {
    OnnxItem item;
    item.number = field.number;
    item.wire_type = field.wire_type;
    item.varint = field.varint;
    item.text = field.text();
    if (field.is_bytes()) item.message = Within(message, field.number);
    if (item.message != kNone && !Parse(field.text(), item.message, &item.children)) {
      item.message = kNone;
    }
    to->push_back(std::move(item));
  }
  return reader.ok();
}

}  // namespace sightline::onnx_tree
