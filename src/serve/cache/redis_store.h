// Cached values in a Redis server, which several processes may share and which outlives them.
//
// One connection for all models, on the thread "redis"; nobody waits for it on another thread. A look-up
// that is not answered within `timeout_us` is a miss, and the connection is given up and made anew; while
// there is none, every look-up is a miss at once and every write is left out. All of that is counted.
// Values come from a server that others may write to: whoever reads them checks them, and whoever may
// write there may forge answers.
//
// Over TLS (rediss://, 1.2 or 1.3) the server's certificate must be for the URL's host and lead to an authority
// that is trusted.
//
// Threads: safe. Memory: max_waiting commands with at most max_waiting_bytes of values on their way.
// Source: Redis' commands AUTH, SELECT, PING, GET, SET with PX, DEL, in hiredis' words.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "serve/cache/cache_store.h"
#include "serve/cache/redis_url.h"

namespace sightline::serve {

// Of TLS: paths of PEM files.
struct RedisTlsFiles {
  std::string ca;                // authorities; "": those of the system
  std::string certificate, key;  // of this client, where the server wants one; both or none
};

struct RedisOptions {
  RedisUrl url;
  RedisTlsFiles tls;
  // All chosen.
  int64_t timeout_us = 50'000;
  int64_t connect_timeout_us = 2'000'000;
  int64_t least_pause_us = 250'000;  // between tries to connect; doubles
  int64_t most_pause_us = 5'000'000;
  size_t max_waiting = 4096;
  size_t max_waiting_bytes = size_t{64} << 20;
  size_t max_value_bytes = size_t{8} << 20;
};

// The connection.
class RedisClient {
 public:
  // Does not wait for the server. ResourceExhausted without a thread or descriptors; InvalidArgument for
  // files of TLS that cannot be used.
  static absl::StatusOr<std::shared_ptr<RedisClient>> Create(const RedisOptions& options);
  ~RedisClient();  // what waits is a miss

  // Whether commands are taken at this moment.
  bool connected() const;

 private:
  friend class RedisStore;
  class Core;
  explicit RedisClient(std::shared_ptr<Core> core);
  const std::shared_ptr<Core> core_;
};

class RedisStore final : public CacheStore {
 public:
  RedisStore(std::shared_ptr<RedisClient> client, int64_t ttl_us)
      : client_(std::move(client)), ttl_us_(ttl_us) {}

  CachedBytes FindNow(const CacheKey&) override { return nullptr; }
  void Find(const CacheKey& key, Found found) override;
  void Put(const CacheKey& key, CachedBytes value) override;
  void Erase(const CacheKey& key) override;
  // Of the connection, whatever store it serves.
  StoreCounts Counts() const override;

 private:
  const std::shared_ptr<RedisClient> client_;
  const int64_t ttl_us_;
};

}  // namespace sightline::serve
