// The configuration file of `sightline serve` (docs/serving.md lists the keys).
//
// Read strictly, as every file here: unknown and repeated keys, wrong types and impossible values are
// refused with file, line and column. Threads: reentrant.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "serve/access/access_gate.h"
#include "serve/cache/redis_store.h"
#include "serve/http/tls_credentials.h"
#include "serve/inference/model_repository.h"

namespace sightline::serve {

inline constexpr size_t kMostHttpConnections = 16384;  // chosen

struct ServingConfig {
  // [ADDRESS:]PORT, or "off".
  std::string http = "8000";
  std::string grpc = "8001";
  std::string metrics = "8002";
  // Whether clients may register shared memory: any object that this process's user may open.
  bool shared_memory = false;
  std::string trace_file;
  TlsFiles tls;  // of HTTP and gRPC, not of metrics; empty: none
  int64_t drain_us = 30'000'000;
  // HTTP connections of one address, of kMostHttpConnections together; 0: as many as of all.
  size_t address_connections = kMostHttpConnections / 4 * 3;
  AccessOptions access;
  // Where cached answers lie: "" in memory, else redis://... or rediss://...; a secret, if it has a password.
  std::string cache;
  RedisTlsFiles cache_tls;  // of rediss://
  std::vector<ServedModelChoice> models;
};

// `file` stands in errors; its folder is where relative model files start. InvalidArgument with every
// mistake on a line of its own.
absl::StatusOr<ServingConfig> ParseServingConfig(std::string_view text, const std::string& file);
absl::StatusOr<ServingConfig> ReadServingConfig(const std::string& path);

}  // namespace sightline::serve
