// Where cached values lie: in this process (memory_store.h), or in Redis (redis_store.h).
//
// A store forgets whenever it likes and never fails: what it cannot find or keep is a miss, counted.
// Threads: safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "serve/cache/cache_key.h"

namespace sightline::serve {

using CachedBytes = std::shared_ptr<const std::string>;

struct StoreCounts {
  uint64_t entries = 0;  // at this moment; 0 where it is not known
  uint64_t bytes = 0;    // of that, with keys and what lies around them
  uint64_t limit_bytes = 0;
  uint64_t evictions = 0;  // for room
  uint64_t expired = 0;    // their time was over when they were asked for
  uint64_t too_large = 0;  // values that were not kept: larger than a store's part
  uint64_t failures =
      0;  // look-ups and writes that another machine did not answer in time, or at all
  uint64_t dropped = 0;  // of those, not sent at all: too many were waiting
  bool is_away = false;  // the other machine, at this moment
};

class CacheStore {
 public:
  // Null: not there. On the calling thread or one of the store's; must not block.
  using Found = std::function<void(CachedBytes)>;

  virtual ~CacheStore() = default;
  // What can be had at once, without waiting for anybody; null also where only Find() can tell.
  virtual CachedBytes FindNow(const CacheKey& key) = 0;
  virtual void Find(const CacheKey& key, Found found) = 0;
  // Not null. Replaces what is there, which is then young again.
  virtual void Put(const CacheKey& key, CachedBytes value) = 0;
  virtual void Erase(const CacheKey& key) = 0;
  virtual StoreCounts Counts() const = 0;
};

}  // namespace sightline::serve
