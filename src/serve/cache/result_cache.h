// Answers that were computed before, by key, and each computed once however many ask at a time.
//
// Who asks for what is not there computes it; who asks for the same meanwhile waits for that (single
// flight) without a thread being blocked. A computation that fails is not kept. Its error goes to
// everybody who waited, once; but where it was the first caller's own (Cancelled: that one has gone;
// DeadlineExceeded: its time was over) the next of those who wait computes, with its own function.
//
// Threads: safe. Memory: the store's bound (memory_store.h), and of those who wait max_waiting closures;
// whoever comes beyond these computes for itself. Cost of a hit: one look-up and the call of `done`.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/status.h"
#include "base/time.h"
#include "serve/cache/cache_store.h"

namespace sightline::serve {

enum class CacheHit : uint8_t {
  kNone,        // computed for this caller
  kShared,      // computed for another, who asked for the same a moment before
  kExact,       // of the same content
  kPerceptual,  // of a picture that looks alike
  kEmbedding,   // of a picture whose embedding is near
};
// "none", "shared", "exact", "perceptual", "embedding".
std::string_view ToString(CacheHit hit);

struct CachedAnswer {
  CachedBytes bytes;  // never null
  CacheHit hit = CacheHit::kNone;
  double distance = 0;  // kPerceptual: bits; kEmbedding: 1 - cosine
};

struct CacheCounts {
  uint64_t exact = 0, perceptual = 0, embedding = 0, shared = 0;  // hits by kind
  uint64_t misses = 0;                                            // computed, however that ended
  uint64_t failures = 0;                                          // of those
  uint64_t late = 0;     // waited for another's computation until their time was over
  uint64_t alone = 0;    // of the misses: did not wait, because too many did
  uint64_t waiting = 0;  // at this moment
  StoreCounts store;
  uint64_t hits() const { return exact + perceptual + embedding + shared; }
};

struct ResultCacheOptions {
  size_t max_waiting = 16384;           // chosen
  const Clock* clock = &Clock::Real();  // outlives the cache and its computations
};

class ResultCache {
 public:
  // At most once; never called: an Internal error when it is destroyed. On any thread.
  using Computed = std::function<void(absl::StatusOr<CachedBytes>)>;
  using Compute = std::function<void(Computed)>;
  // Exactly once, on the calling thread or that of the store, the computation or ReleaseLate(); must
  // not block.
  using Done = std::function<void(absl::StatusOr<CachedAnswer>&&)>;

  ResultCache(std::shared_ptr<CacheStore> store, const ResultCacheOptions& options);
  // Computations on their way still end, and are answered.
  ~ResultCache();

  // `deadline_us` on the monotonic clock, 0 = none: how long to wait for another's computation at most
  // (DeadlineExceeded). The own `compute` keeps to it by itself. `kind`: as what a hit counts.
  void Get(const CacheKey& key, Compute compute, Done done, int64_t deadline_us = 0,
           CacheHit kind = CacheHit::kExact);
  // Null where it is not there. Counts a hit of that kind, and no miss.
  void Find(const CacheKey& key, CacheHit kind, CacheStore::Found found);
  void Put(const CacheKey& key, CachedBytes value);

  // Answers those whose time is over; returns when the next one's is, 0 when nobody waits for a
  // time. To be called while that is not 0.
  int64_t ReleaseLate();
  // Called when somebody begins to wait until a time; before anybody calls Get(). May be empty.
  void OnDeadline(std::function<void()> wake);

  CacheCounts Counts() const;

 private:
  class Core;
  const std::shared_ptr<Core> core_;
};

}  // namespace sightline::serve
