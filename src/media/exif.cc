#include <optional>

#include "media/image_formats.h"

namespace sightline {
namespace {

// Reads of a TIFF structure in either byte order; nothing is believed about offsets.
class TiffReader {
 public:
  explicit TiffReader(ByteSpan bytes) : bytes_(bytes) {}

  bool Start() {
    if (bytes_.size() < 8) return false;
    if (bytes_[0] == 'I' && bytes_[1] == 'I') {
      little_ = true;
    } else if (bytes_[0] != 'M' || bytes_[1] != 'M') {
      return false;
    }
    return U16(2) == 42;
  }
  std::optional<uint32_t> U16(size_t at) const {
    if (at + 2 > bytes_.size() || at + 2 < at) return std::nullopt;
    return little_ ? bytes_[at] | bytes_[at + 1] << 8 : bytes_[at] << 8 | bytes_[at + 1];
  }
  std::optional<uint32_t> U32(size_t at) const {
    const std::optional<uint32_t> first = U16(at);
    const std::optional<uint32_t> second = U16(at + 2);
    if (!first || !second) return std::nullopt;
    return little_ ? *first | *second << 16 : *first << 16 | *second;
  }

 private:
  ByteSpan bytes_;
  bool little_ = false;
};

}  // namespace

Orientation OrientationOfExif(ByteSpan exif) {
  constexpr uint32_t kOrientationTag = 0x0112;
  constexpr uint32_t kShort = 3;
  constexpr size_t kEntryBytes = 12;
  TiffReader reader(exif);
  if (!reader.Start()) return Orientation::kUpright;
  const std::optional<uint32_t> directory = reader.U32(4);
  if (!directory) return Orientation::kUpright;
  const std::optional<uint32_t> entries = reader.U16(*directory);
  for (uint32_t i = 0; entries && i < *entries; ++i) {
    const size_t at = size_t{*directory} + 2 + i * kEntryBytes;
    const std::optional<uint32_t> tag = reader.U16(at);
    if (!tag) break;
    if (*tag != kOrientationTag || reader.U16(at + 2) != kShort) continue;
    const std::optional<uint32_t> value = reader.U16(at + 8);
    if (value && *value >= 1 && *value <= 8) return static_cast<Orientation>(*value);
    break;
  }
  return Orientation::kUpright;
}

}  // namespace sightline
