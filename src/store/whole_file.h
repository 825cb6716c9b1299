// Files that appear whole or not at all, and the errors of files in words for people.
//
// Threads: reentrant. Cost: one write and one fsync.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sightline {

// Writes `<path>.partial`, syncs it and renames it to `path`, so that a reader never meets half a
// file and an older one stays until the new one is whole. Errors: those of FileError; the .partial
// is then removed.
absl::Status WriteWholeFile(const std::string& path, std::span<const uint8_t> bytes);

// One line for an errno of open, write, fsync or rename. `doing` reads like "writing to".
//   ResourceExhausted   no space, quota, size limit
//   FailedPrecondition  no such folder, not a file, no permission, read-only
//   Internal            anything else
absl::Status FileError(int error, std::string_view doing, const std::string& path);

}  // namespace sightline
