// For tests: ZIP archives of entries that are stored as they are, with whatever lies a test wants.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sightline::test {

struct ZipPart {
  std::string name;
  std::string bytes{};
  uint16_t method = 0;
  int64_t says_bytes = -1;   // unpacked, by the directory; -1 = the truth
  int64_t says_packed = -1;  // in the archive, by the directory; -1 = the truth
};

// Little-endian; zeros beyond the value's eight bytes.
inline void Put(std::string& to, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i, value >>= 8) to += static_cast<char>(value & 0xff);
}

// What the ZIP64 record of an archive's end says more than there is; none is written without this.
struct Zip64Lies {
  int count = 0, bytes = 0, at = 0, record_at = 0;
};

// Checksums are 0: nothing here looks at them.
inline std::string ZipArchive(const std::vector<ZipPart>& parts,
                              std::optional<Zip64Lies> zip64 = std::nullopt) {
  std::string archive, directory;
  for (const ZipPart& part : parts) {
    const uint64_t at = archive.size();
    const uint64_t packed = part.says_packed < 0 ? part.bytes.size() : part.says_packed;
    const uint64_t unpacked = part.says_bytes < 0 ? part.bytes.size() : part.says_bytes;
    const auto fields = [&](std::string& to) {
      Put(to, 20, 2);
      Put(to, 0, 2);
      Put(to, part.method, 2);
      Put(to, 0, 8);  // time, date, checksum
      Put(to, packed, 4);
      Put(to, unpacked, 4);
      Put(to, part.name.size(), 2);
    };
    Put(archive, 0x04034b50, 4);
    fields(archive);
    Put(archive, 0, 2);
    archive += part.name + part.bytes;
    Put(directory, 0x02014b50, 4);
    Put(directory, 20, 2);
    fields(directory);
    Put(directory, 0, 12);  // extra field, comment, disk, attributes
    Put(directory, at, 4);
    directory += part.name;
  }
  const uint64_t directory_at = archive.size();
  archive += directory;
  if (zip64) {
    const uint64_t record_at = archive.size();
    Put(archive, 0x06064b50, 4);
    Put(archive, 44, 8);
    Put(archive, 45 | 45 << 16, 4);
    Put(archive, 0, 8);
    Put(archive, parts.size() + zip64->count, 8);
    Put(archive, parts.size() + zip64->count, 8);
    Put(archive, directory.size() + zip64->bytes, 8);
    Put(archive, directory_at + zip64->at, 8);
    Put(archive, 0x07064b50, 4);
    Put(archive, 0, 4);
    Put(archive, record_at + zip64->record_at, 8);
    Put(archive, 1, 4);
  }
  Put(archive, 0x06054b50, 4);
  Put(archive, 0, 4);
  Put(archive, parts.size(), 2);
  Put(archive, parts.size(), 2);
  Put(archive, directory.size(), 4);
  Put(archive, directory_at, 4);
  Put(archive, 0, 2);
  return archive;
}

}  // namespace sightline::test
