// The directory of a ZIP archive, read within limits: what is in it and where, and the entries that are
// not compressed. For model files that are archives; nothing is unpacked.
//
// Format: APPNOTE.TXT 6.3.10 of PKWARE, one disk, no encryption, no comment, nothing between the
// directory and its end; ZIP64 only where the ordinary records say the same. Threads: reentrant. Nothing here trusts the file.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sightline {

// Fills `into` with the bytes from `at` on; false when there are not so many.
using ReadBytesAt = std::function<bool(uint64_t at, std::span<uint8_t> into)>;
ReadBytesAt ReadFrom(std::span<const uint8_t> bytes);  // which must outlive what is given back

struct ZipEntry {
  std::string name;           // as written: may hold "..", and need not be UTF-8
  uint16_t method = 0;        // 0 = stored as it is, 8 = deflated
  uint64_t packed_bytes = 0;  // in the archive
  uint64_t bytes = 0;         // as the archive says
  uint64_t header_at = 0;     // of its own header, in front of its bytes
};

// InvalidArgument when the bytes are no ZIP archive; DataLoss when it is cut short or does not hold
// together (entries beyond the end); ResourceExhausted beyond 50,000 entries or 16 MiB of directory.
// `name` stands in errors.
absl::StatusOr<std::vector<ZipEntry>> ReadZipDirectory(const ReadBytesAt& read, uint64_t file_bytes,
                                                       std::string_view name);

// The bytes of an entry that is stored as it is. InvalidArgument for one that is compressed,
// ResourceExhausted beyond `max_bytes`, DataLoss when it cannot be read.
absl::StatusOr<std::string> ReadStoredEntry(const ReadBytesAt& read, const ZipEntry& entry,
                                            uint64_t max_bytes);

}  // namespace sightline
