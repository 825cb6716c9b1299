#include "infer/zip_directory.h"

#include <cstring>
#include <utility>

namespace sightline {
namespace {

constexpr uint32_t kEndMagic = 0x06054b50, kEntryMagic = 0x02014b50, kHeaderMagic = 0x04034b50;
constexpr uint32_t kEnd64Magic = 0x06064b50, kLocatorMagic = 0x07064b50;
constexpr size_t kEndBytes = 22, kEntryBytes = 46, kHeaderBytes = 30;
constexpr size_t kEnd64Bytes = 56, kLocatorBytes = 20;
// Chosen: a file of a large model has some thousands.
constexpr size_t kMaxEntries = 50'000;
constexpr size_t kMaxDirectoryBytes = 16 << 20;

uint16_t U16(const uint8_t* at) { return static_cast<uint16_t>(at[0] | at[1] << 8); }
uint32_t U32(const uint8_t* at) { return U16(at) | uint32_t{U16(at + 2)} << 16; }
uint64_t U64(const uint8_t* at) { return U32(at) | uint64_t{U32(at + 4)} << 32; }

absl::Status Damaged(std::string_view name, std::string_view what) {
  return DataLoss("{} is cut short or damaged: {}", name, what);
}

// Where the directory is and how much it holds, by the record that ends the archive.
struct End {
  uint64_t count, bytes, at;
  bool operator==(const End&) const = default;
};

// Where the directory must end: at the record that ends the archive, or at the one of ZIP64 in front of
// it. PyTorch writes that one always and its reader believes it rather than the other, so both have to
// say the same.
absl::StatusOr<uint64_t> EndOfDirectory(const ReadBytesAt& read, uint64_t end_at, const End& end,
                                        std::string_view name) {
  uint8_t locator[kLocatorBytes];
  if (end_at < kLocatorBytes || !read(end_at - kLocatorBytes, locator) ||
      U32(locator) != kLocatorMagic) {
    return end_at;
  }
  const uint64_t at = U64(locator + 8);
  uint8_t record[kEnd64Bytes];
  if (at > end_at || !read(at, record) || U32(record) != kEnd64Magic ||
      U64(record + 24) != end.count ||
      End{U64(record + 32), U64(record + 40), U64(record + 48)} != end) {
    return Damaged(name, "its two records of its end do not say the same");
  }
  return at;
}

}  // namespace

ReadBytesAt ReadFrom(std::span<const uint8_t> bytes) {
  return [bytes](uint64_t at, std::span<uint8_t> into) {
    if (at > bytes.size() || into.size() > bytes.size() - at) return false;
    if (!into.empty()) std::memcpy(into.data(), bytes.data() + at, into.size());
    return true;
  };
}

absl::StatusOr<std::vector<ZipEntry>> ReadZipDirectory(const ReadBytesAt& read, uint64_t file_bytes,
                                                       std::string_view name) {
  uint8_t record[kEndBytes];
  if (file_bytes < kEndBytes || !read(file_bytes - kEndBytes, record)) {
    return InvalidArgument("{} is no ZIP archive", name);
  }
  // Readers look for this record from the end on and do not agree about comments behind it or what
  // looks like a second one: what is checked here has to be what they read.
  if (U32(record) != kEndMagic || U16(record + 20) != 0) {
    return InvalidArgument("{} is no ZIP archive, is cut short, or has a comment", name);
  }
  for (size_t i = 1; i + 4 <= kEndBytes; ++i) {
    if (U32(record + i) == kEndMagic) return Damaged(name, "it ends twice");
  }
  const uint64_t end_at = file_bytes - kEndBytes;
  const auto [count, directory_bytes, directory_at] =
      End{U16(record + 10), U32(record + 12), U32(record + 16)};
  if (count > kMaxEntries) {
    return ResourceExhausted("{} has {} entries; at most {} are read", name, count, kMaxEntries);
  }
  if (directory_bytes > kMaxDirectoryBytes) {
    return ResourceExhausted("{} has a directory of {} bytes; at most {} are read", name,
                             directory_bytes, kMaxDirectoryBytes);
  }
  SL_ASSIGN_OR_RETURN(const uint64_t directory_end,
                      EndOfDirectory(read, end_at, {count, directory_bytes, directory_at}, name));
  if (directory_at > directory_end || directory_bytes != directory_end - directory_at) {
    return Damaged(name, "its directory is not in front of its end");
  }
  std::vector<uint8_t> directory(directory_bytes);
  if (!read(directory_at, directory)) return Damaged(name, "its directory cannot be read");
  std::vector<ZipEntry> entries;
  size_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    if (directory.size() - at < kEntryBytes || U32(&directory[at]) != kEntryMagic) {
      return Damaged(name, "its directory has fewer entries than it says");
    }
    const uint8_t* const entry_record = &directory[at];
    const size_t name_bytes = U16(entry_record + 28);
    const size_t record_bytes =
        kEntryBytes + name_bytes + U16(entry_record + 30) + U16(entry_record + 32);
    if (directory.size() - at < record_bytes) return Damaged(name, "its directory is too short");
    ZipEntry entry{.name = {reinterpret_cast<const char*>(entry_record) + kEntryBytes, name_bytes},
                   .method = U16(entry_record + 10),
                   .packed_bytes = U32(entry_record + 20),
                   .bytes = U32(entry_record + 24),
                   .header_at = U32(entry_record + 42)};
    if (entry.header_at > directory_at || entry.packed_bytes > directory_at - entry.header_at) {
      return Damaged(name, "an entry lies outside of it");
    }
    entries.push_back(std::move(entry));
    at += record_bytes;
  }
  return entries;
}

absl::StatusOr<std::string> ReadStoredEntry(const ReadBytesAt& read, const ZipEntry& entry,
                                            uint64_t max_bytes) {
  if (entry.method != 0) return InvalidArgument("{} is compressed", entry.name);
  if (entry.bytes > max_bytes) {
    return ResourceExhausted("{} has {} bytes; at most {} are read", entry.name, entry.bytes,
                             max_bytes);
  }
  uint8_t header[kHeaderBytes];
  if (!read(entry.header_at, header) || U32(header) != kHeaderMagic) {
    return DataLoss("{} is not where the directory says", entry.name);
  }
  std::string bytes(entry.bytes, '\0');
  if (!read(entry.header_at + kHeaderBytes + U16(header + 26) + U16(header + 28),
            {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()})) {
    return DataLoss("{} lies outside of its file", entry.name);
  }
  return bytes;
}

}  // namespace sightline
