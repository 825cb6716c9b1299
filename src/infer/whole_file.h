// Reading and writing files in one piece, for models and their descriptions.
// Threads: reentrant.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sightline {

// NotFound, InvalidArgument when it is no regular file (folders, pipes and devices are refused, so
// that nothing blocks or never ends), ResourceExhausted beyond `max_bytes`.
absl::StatusOr<std::string> ReadWholeFile(const std::string& path, uint64_t max_bytes);

// Atomically: into a file beside `path`, flushed to the disk, then renamed over it. On an error
// `path` is as it was.
absl::Status WriteWholeFile(const std::string& path, std::string_view content);

inline std::span<const uint8_t> AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace sightline
