// Recordings as files: whether one can be read, its content's identity, and its bytes into memory
// that is reused (writing, and reading once: base/whole_file.h).
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

}  // namespace sightline
