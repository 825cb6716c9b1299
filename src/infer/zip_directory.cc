#include "infer/zip_directory.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sightline {
namespace {

constexpr uint32_t kEndMagic = 0x06054b50, kEntryMagic = 0x02014b50, kHeaderMagic = 0x04034b50;
constexpr size_t kEndBytes = 22, kEntryBytes = 46, kHeaderBytes = 30;
constexpr size_t kMaxCommentBytes = 65'535;
// Chosen: a file of a large model has some thousands.
constexpr size_t kMaxEntries = 100'000;
constexpr size_t kMaxDirectoryBytes = 16 << 20;

uint16_t U16(const uint8_t* at) { return static_cast<uint16_t>(at[0] | at[1] << 8); }
uint32_t U32(const uint8_t* at) { return U16(at) | uint32_t{U16(at + 2)} << 16; }

absl::Status Damaged(std::string_view name, std::string_view what) {
  return DataLoss("{} is cut short or damaged: {}", name, what);
}

// Where the record that ends an archive begins in its last bytes; npos when there is none.
size_t FindEnd(std::span<const uint8_t> tail) {
  for (size_t at = tail.size() - kEndBytes + 1; at-- > 0;) {
    if (U32(&tail[at]) == kEndMagic && at + kEndBytes + U16(&tail[at + 20]) == tail.size()) {
      return at;
    }
  }
  return std::string_view::npos;
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
  std::vector<uint8_t> tail(std::min<uint64_t>(file_bytes, kEndBytes + kMaxCommentBytes));
  if (tail.size() < kEndBytes || !read(file_bytes - tail.size(), tail)) {
    return InvalidArgument("{} is no ZIP archive", name);
  }
  const size_t end = FindEnd(tail);
  if (end == std::string_view::npos) {
    return InvalidArgument("{} is no ZIP archive, or is cut short", name);
  }
  const size_t count = U16(&tail[end + 10]);
  const uint64_t directory_bytes = U32(&tail[end + 12]);
  const uint64_t directory_at = U32(&tail[end + 16]);
  const uint64_t end_at = file_bytes - tail.size() + end;
  if (directory_bytes > kMaxDirectoryBytes || count > kMaxEntries) {
    return ResourceExhausted("{} has a directory of {} bytes; at most {} are read", name,
                             directory_bytes, kMaxDirectoryBytes);
  }
  if (directory_at > end_at || directory_bytes > end_at - directory_at) {
    return Damaged(name, "its directory lies outside of it");
  }
  std::vector<uint8_t> directory(directory_bytes);
  if (!read(directory_at, directory)) return Damaged(name, "its directory cannot be read");
  std::vector<ZipEntry> entries;
  size_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    if (directory.size() - at < kEntryBytes || U32(&directory[at]) != kEntryMagic) {
      return Damaged(name, "its directory has fewer entries than it says");
    }
    const uint8_t* const record = &directory[at];
    const size_t name_bytes = U16(record + 28);
    const size_t record_bytes = kEntryBytes + name_bytes + U16(record + 30) + U16(record + 32);
    if (directory.size() - at < record_bytes) return Damaged(name, "its directory is too short");
    ZipEntry entry{.name = {reinterpret_cast<const char*>(record) + kEntryBytes, name_bytes},
                   .method = U16(record + 10),
                   .packed_bytes = U32(record + 20),
                   .bytes = U32(record + 24),
                   .header_at = U32(record + 42)};
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
