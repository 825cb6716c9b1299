// Where a server listens, as people write it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sightline {

struct ListenAddress {
  std::string address;  // an IP address; empty: every address of this machine
  uint16_t port = 0;    // 0: any free one
  bool operator==(const ListenAddress&) const = default;
};

// "9100" and "localhost:9100" are this machine alone (127.0.0.1), ":9100" everyone who can reach it,
// "10.0.0.7:9100" and "[::1]:9100" an address of it. InvalidArgument for anything else.
absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text);

// "127.0.0.1:9100", "[::1]:9100", ":9100".
std::string ToString(const ListenAddress& address);

}  // namespace sightline
