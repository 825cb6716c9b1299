// Walking over the fields of a protobuf message in place, and writing some. Internal to onnx_file.cc,
// onnx_batch.cc and their tests.
//
// Source: Protocol Buffers encoding, https://protobuf.dev/programming-guides/encoding/. Groups
// (wire types 3 and 4) occur in no ONNX message and are refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace sightline {

class WireReader {
 public:
  struct Field {
    uint32_t number = 0;
    uint32_t wire_type = 0;          // 0 varint, 1 eight bytes, 2 bytes, 5 four bytes
    uint64_t varint = 0;             // wire type 0
    std::span<const uint8_t> bytes;  // wire type 2: the content
    std::span<const uint8_t> whole;  // tag, length and content

    bool is_bytes() const { return wire_type == 2; }
    bool is_varint() const { return wire_type == 0; }
    int64_t as_int64() const { return static_cast<int64_t>(varint); }
    std::string_view text() const {
      return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
  };

  explicit WireReader(std::span<const uint8_t> message) : message_(message) {}

  // False at the end of the message and at the first thing that is no field; see ok().
  bool Next(Field& field) {
    if (position_ == message_.size() || !ok_) return false;
    const size_t begin = position_;
    uint64_t tag = 0;
    ok_ = ReadVarint(tag) && tag >> 3 != 0 && tag >> 32 == 0 && ReadContent(field, tag & 7);
    if (!ok_) {
      position_ = begin;
      return false;
    }
    field.number = static_cast<uint32_t>(tag >> 3);
    field.wire_type = static_cast<uint32_t>(tag & 7);
    field.whole = message_.subspan(begin, position_ - begin);
    return true;
  }

  bool ok() const { return ok_; }
  size_t position() const { return position_; }  // of the next field, or of the damage

 private:
  bool ReadVarint(uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 70 && position_ < message_.size(); shift += 7) {
      const uint8_t byte = message_[position_++];
      if (shift == 63 && byte > 1) return false;  // beyond 64 bits
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return true;
    }
    return false;
  }

  bool ReadContent(Field& field, uint64_t wire_type) {
    uint64_t length = 0;
    field.varint = 0;
    field.bytes = {};
    switch (wire_type) {
      case 0:
        return ReadVarint(field.varint);
      case 1:
        length = 8;
        break;
      case 5:
        length = 4;
        break;
      case 2:
        if (!ReadVarint(length)) return false;
        break;
      default:
        return false;
    }
    if (length > message_.size() - position_) return false;
    field.bytes = message_.subspan(position_, length);
    position_ += length;
    return true;
  }

  std::span<const uint8_t> message_;
  size_t position_ = 0;
  bool ok_ = true;
};

// Calls `visit(field)` for every field; false when the message is damaged or a visit says so.
template <typename Visit>
bool ForEachField(std::span<const uint8_t> message, Visit visit) {
  WireReader reader(message);
  WireReader::Field field;
  while (reader.Next(field)) {
    if (!visit(field)) return false;
  }
  return reader.ok();
}

// The number at the beginning of `bytes` and how many of them it takes; false when there is none.
inline bool ReadWireVarint(std::span<const uint8_t> bytes, uint64_t& value, size_t& length) {
  value = 0;
  for (length = 0; length < bytes.size() && length < 10;) {
    const uint8_t byte = bytes[length];
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * length);
    ++length;
    if ((byte & 0x80) == 0) return true;
  }
  return false;
}

inline void AppendWireVarint(uint64_t value, std::string& out) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

// A field that holds bytes: a text or a message.
inline void AppendWireBytes(uint32_t number, std::string_view content, std::string& out) {
  AppendWireVarint(uint64_t{number} << 3 | 2, out);
  AppendWireVarint(content.size(), out);
  out += content;
}

}  // namespace sightline
