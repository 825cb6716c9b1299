// Cached values in this process: the least recently used go first, none is older than its time.
//
// Memory: at most max_bytes, in parts with a lock each. What an entry takes is counted with its key, its
// nodes and the table's slot (kEntryBytes, from the sizes that GNU's library allocates), not only its
// value. Values that callers still hold after they were evicted are not counted. Cost: one lock, O(1).
#pragma once

#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/time.h"
#include "serve/cache/cache_store.h"

namespace sightline::serve {

struct MemoryStoreOptions {
  size_t max_bytes = size_t{64} << 20;
  size_t max_entries = 100'000;
  int64_t ttl_us = int64_t{3600} * 1'000'000;
  const Clock* clock = &Clock::Real();  // outlives the store
};

class MemoryStore final : public CacheStore {
 public:
  // A list node (two links, key, pointer, time), a table node (link, key, iterator), a slot, the
  // value's control block with its string; each with the allocator's own 8 bytes, rounded to 16.
  static constexpr size_t kEntryBytes = 256;
  static constexpr size_t kPartBytes = size_t{8} << 20;  // at least, but for small caches
  static constexpr size_t kMostParts = 16;

  explicit MemoryStore(const MemoryStoreOptions& options);

  CachedBytes FindNow(const CacheKey& key) override;
  void Find(const CacheKey& key, Found found) override { found(FindNow(key)); }
  // A value that is larger than a part is not kept.
  void Put(const CacheKey& key, CachedBytes value) override;
  void Erase(const CacheKey& key) override;
  StoreCounts Counts() const override;

 private:
  struct Entry {
    CacheKey key;
    CachedBytes value;
    int64_t end_us = 0;  // on the monotonic clock
  };
  struct Part {
    mutable Mutex mutex;
    std::list<Entry> by_use GUARDED_BY(mutex);  // the last used first
    std::unordered_map<CacheKey, std::list<Entry>::iterator, CacheKeyHash> by_key GUARDED_BY(mutex);
    StoreCounts counts GUARDED_BY(mutex);
  };

  static size_t BytesOf(const Entry& entry) { return kEntryBytes + entry.value->capacity(); }
  // The value goes to `gone`, to be freed without the lock.
  static void Drop(Part& part, std::list<Entry>::iterator entry, std::vector<CachedBytes>& gone)
      REQUIRES(part.mutex);
  Part& PartOf(const CacheKey& key) { return *parts_[key.bytes[31] % parts_.size()]; }

  const MemoryStoreOptions options_;
  std::vector<std::unique_ptr<Part>> parts_;
  size_t part_bytes_ = 0, part_entries_ = 0;
};

}  // namespace sightline::serve
