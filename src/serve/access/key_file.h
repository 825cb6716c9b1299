// The file of API keys: who may do what, how much of it, and the hash that proves it; never a key itself.
//
//   {"version": 1, "keys": [{"id": "0f3a91c27be4", "name": "front", "role": "infer", "sha256": "...",
//     "created": "2026-01-31T12:00:00Z", "expires": "2026-05-01T12:00:00Z", "rate": 100, "burst": 200,
//     "concurrency": 8, "models": ["yolox_nano"]}]}
//
// Written with mode 0600, whole or not at all. A file that others than its owner may write is not read:
// whoever writes it can give himself a key.
//
// Threads: reentrant; EditKeyFile locks the file against other programs that edit it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "serve/http/router.h"

namespace sightline::serve {

// Each may do what those before it may.
enum class KeyRole : uint8_t {
  kViewer,  // health, metadata, metrics, statistics
  kInfer,
  kAdmin,  // loading models, shared memory, settings of log and traces
};
std::string_view ToString(KeyRole role);  // "viewer"
std::optional<KeyRole> KeyRoleNamed(std::string_view name);
bool MayDo(KeyRole role, RouteRole needed);

// What one caller may ask of the server. 0: no limit.
struct CallerLimits {
  double rate_per_s = 0;  // requests, on average
  double burst = 0;       // at once; 0 with a rate: as many as a second has, at least 1
  int concurrency = 0;    // that are being worked on

  double capacity() const { return burst > 0 ? burst : (rate_per_s > 1 ? rate_per_s : 1); }
};

struct KeyRecord {
  std::string id;
  std::string name;  // printable, at most kLongestKeyName bytes
  KeyRole role = KeyRole::kViewer;
  std::string sha256;  // of the whole key
  int64_t created_utc_us = 0;
  int64_t expires_utc_us = 0;  // 0: never
  int64_t revoked_utc_us = 0;  // 0: not
  CallerLimits limits;
  std::vector<std::string> models;  // empty: all

  bool ValidAt(int64_t utc_us) const {
    return revoked_utc_us == 0 && (expires_utc_us == 0 || utc_us < expires_utc_us);
  }
};

inline constexpr size_t kLongestKeyName = 100;
inline constexpr size_t kMostKeys = 100'000;               // chosen
inline constexpr uint64_t kMaxKeyFileBytes = 64ull << 20;  // chosen

// InvalidArgument, with `file` and what is wrong where. Read strictly: nothing is guessed about keys.
absl::StatusOr<std::vector<KeyRecord>> ParseKeys(std::string_view json, const std::string& file);
std::string KeysText(const std::vector<KeyRecord>& keys);

// NotFound; FailedPrecondition for one that others may write; as ParseKeys.
absl::StatusOr<std::vector<KeyRecord>> ReadKeyFile(const std::string& path);

// Reads (an absent file has no keys), lets `edit` change the records, and writes them; nothing is written
// when `edit` fails. Unavailable when another program is at it.
absl::Status EditKeyFile(const std::string& path,
                         const std::function<absl::Status(std::vector<KeyRecord>&)>& edit);

}  // namespace sightline::serve
