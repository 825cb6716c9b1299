#include "serve/cache/memory_store.h"

#include <algorithm>
#include <utility>

namespace sightline::serve {

MemoryStore::MemoryStore(const MemoryStoreOptions& options) : options_(options) {
  const size_t parts = std::clamp<size_t>(options.max_bytes / kPartBytes, 1, kMostParts);
  for (size_t i = 0; i < parts; ++i) parts_.push_back(std::make_unique<Part>());
  part_bytes_ = options.max_bytes / parts;
  part_entries_ = std::max<size_t>(1, options.max_entries / parts);
}

void MemoryStore::Drop(Part& part, std::list<Entry>::iterator entry,
                       std::vector<CachedBytes>& gone) {
  part.counts.bytes -= BytesOf(*entry);
  gone.push_back(std::move(entry->value));
  part.by_key.erase(entry->key);
  part.by_use.erase(entry);
}

CachedBytes MemoryStore::FindNow(const CacheKey& key) {
  Part& part = PartOf(key);
  const int64_t now_us = options_.clock->NowMonotonicUs();
  std::vector<CachedBytes> gone;
  const MutexLock lock(part.mutex);
  const auto at = part.by_key.find(key);
  if (at == part.by_key.end()) return nullptr;
  const auto entry = at->second;
  if (entry->end_us <= now_us) {
    ++part.counts.expired;
    Drop(part, entry, gone);
    return nullptr;
  }
  part.by_use.splice(part.by_use.begin(), part.by_use, entry);
  return entry->value;
}

void MemoryStore::Put(const CacheKey& key, CachedBytes value) {
  Part& part = PartOf(key);
  const int64_t end_us = options_.clock->NowMonotonicUs() + options_.ttl_us;
  const size_t bytes = kEntryBytes + value->capacity();
  std::vector<CachedBytes> gone;
  const MutexLock lock(part.mutex);
  if (const auto at = part.by_key.find(key); at != part.by_key.end()) Drop(part, at->second, gone);
  if (bytes > part_bytes_) {
    ++part.counts.too_large;
    return;
  }
  while (!part.by_use.empty() &&
         (part.counts.bytes + bytes > part_bytes_ || part.by_use.size() >= part_entries_)) {
    ++part.counts.evictions;
    Drop(part, std::prev(part.by_use.end()), gone);
  }
  part.by_use.push_front({key, std::move(value), end_us});
  part.by_key.emplace(key, part.by_use.begin());
  part.counts.bytes += bytes;
}

void MemoryStore::Erase(const CacheKey& key) {
  Part& part = PartOf(key);
  std::vector<CachedBytes> gone;
  const MutexLock lock(part.mutex);
  if (const auto at = part.by_key.find(key); at != part.by_key.end()) Drop(part, at->second, gone);
}

StoreCounts MemoryStore::Counts() const {
  StoreCounts all;
  all.limit_bytes = part_bytes_ * parts_.size();
  for (const auto& part : parts_) {
    const MutexLock lock(part->mutex);
    all.entries += part->by_use.size();
    all.bytes += part->counts.bytes;
    all.evictions += part->counts.evictions;
    all.expired += part->counts.expired;
    all.too_large += part->counts.too_large;
  }
  return all;
}

}  // namespace sightline::serve
