// For tests: ZIP archives of entries that are stored as they are, with whatever lies a test wants.
#pragma once

#include <cstdint>
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

inline void Put(std::string& to, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to += static_cast<char>(value >> 8 * i & 0xff);
}

// Checksums are 0: nothing here looks at them.
inline std::string ZipArchive(const std::vector<ZipPart>& parts) {
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
