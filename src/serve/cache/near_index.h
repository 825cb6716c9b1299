// Which cached picture is the nearest to another one: by Hamming distance of perceptual hashes, or by the
// cosine of embeddings. Knows keys, not values.
//
// Every entry is looked at (brute force), with the processor's population count or SIMD: 100,000 hashes
// of 64 bits take some 0.2 ms, 10,000 embeddings of 512 numbers 1 to 3 ms (benchmarks/cache_bench). Fine up
// to some 10,000 embeddings and 100,000 hashes; a cache of more wants an index that is not built here.
//
// Threads: safe; look-ups exclude each other. Memory: max_entries times 104 bytes, and the embeddings,
// which max_embedding_bytes bounds. The oldest entries are overwritten.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/metrics.h"
#include "base/mutex.h"
#include "serve/cache/cache_key.h"
#include "vision/perceptual_hash.h"

namespace sightline::serve {

// What a picture looks like: one of the two.
struct PictureLook {
  PerceptualHash hash;           // with bits > 0
  std::vector<float> embedding;  // of length 1
};

struct NearIndexOptions {
  size_t max_entries = 16384;                     // chosen
  size_t max_embedding_bytes = size_t{64} << 20;  // chosen
};

class NearIndex {
 public:
  explicit NearIndex(const NearIndexOptions& options) : options_(options) {}

  struct Found {
    CacheKey key;
    double distance = 0;  // bits, or 1 - cosine
  };
  // The nearest of that scope within `radius` (inclusive), the youngest of equal ones.
  std::optional<Found> Nearest(const CacheKey& scope, const PictureLook& look, double radius) const
      EXCLUDES(mutex_);
  // An embedding of another size than the earlier ones, or larger than the bound, is not taken.
  void Add(const CacheKey& scope, const PictureLook& look, const CacheKey& key) EXCLUDES(mutex_);
  // Forgets the entries of a key whose value has gone.
  void Erase(const CacheKey& key) EXCLUDES(mutex_);

  size_t size() const EXCLUDES(mutex_);
  size_t bytes() const EXCLUDES(mutex_);
  uint64_t overwritten() const { return overwritten_.value(); }

 private:
  struct Entry {
    std::array<uint64_t, 4> words{};
    CacheKey scope, key;
    bool is_used = false;
  };
  size_t Limit(size_t embedding) const REQUIRES(mutex_);

  const NearIndexOptions options_;
  mutable Mutex mutex_;
  std::vector<Entry> entries_ GUARDED_BY(mutex_);  // a ring once it is full
  std::vector<float> embeddings_ GUARDED_BY(mutex_);
  size_t dimensions_ GUARDED_BY(mutex_) = 0;
  size_t next_ GUARDED_BY(mutex_) = 0;
  size_t used_ GUARDED_BY(mutex_) = 0;
  Counter overwritten_;
};

}  // namespace sightline::serve
