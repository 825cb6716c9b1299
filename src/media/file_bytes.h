// Whole files: what one is, its content's identity, reading it, and writing it in one go.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/uuid.h"

namespace sightline {

// OK when `path` is a regular file with at least one byte that may be read. Otherwise one sentence:
// NotFound, InvalidArgument (a folder, a device), FailedPrecondition (no permission), DataLoss
// (empty).
absl::Status CheckReadableFile(const std::string& path);

// A hash of a file's content that does not change when the file is moved or renamed: of everything
// up to 8 MiB; beyond that of its size, its first and last MiB and 62 blocks of 64 KiB evenly
// between. Cost: reads at most 8 MiB.
absl::StatusOr<Hash128> FingerprintFile(const std::string& path);

// The file's bytes into `bytes` (its capacity is reused). ResourceExhausted beyond `max_bytes`,
// DataLoss when it is empty.
absl::Status ReadFileBytes(const std::string& path, size_t max_bytes, std::vector<uint8_t>* bytes);

// Writes a temporary file beside `path` and renames it: at every moment `path` is what it was or
// what it becomes. Errors name the path; ResourceExhausted when the disk or the quota is full.
absl::Status WriteFileAtomically(const std::string& path, std::span<const uint8_t> bytes);

// A failed write, as a sentence: ResourceExhausted for a full disk, quota or file size limit.
absl::Status WriteError(const std::string& path, int error_number);

}  // namespace sightline
