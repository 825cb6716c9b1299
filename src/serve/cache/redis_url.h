// Where a Redis server is, as a URL says it: redis://[[USER:]PASSWORD@]HOST[:PORT][/DATABASE], or rediss://
// where it speaks TLS.
// Threads: reentrant.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace sightline::serve {

struct RedisUrl {
  std::string host;
  int port = 6379;
  int database = 0;
  std::string user;      // "" = the default one
  std::string password;  // "" = none
  bool tls = false;

  // Without user and password, for people.
  std::string Shown() const;
};

// InvalidArgument, without the password. User and password may have escapes (%40).
absl::StatusOr<RedisUrl> ParseRedisUrl(std::string_view url);

}  // namespace sightline::serve
