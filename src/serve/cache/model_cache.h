// The cache of one served model: exact answers by content, and answers of pictures that look alike.
//
// A look-alike is answered with what was computed for another picture: whether that is right depends on
// the model and the radius (`sightline cache audit` measures it). Pictures are compared within a scope
// alone (model, version, content of the model, parameters), which callers put into a key.
//
// Threads: safe. Memory: the store's bound and the index's (near_index.h).
#pragma once

#include <memory>
#include <string>

#include "serve/cache/near_index.h"
#include "serve/cache/result_cache.h"

namespace sightline::serve {

enum class CacheKind : uint8_t { kOff, kExact, kPerceptual, kEmbedding };
std::string_view ToString(CacheKind kind);  // "off", "exact", "perceptual", "embedding"

// As the serving configuration has it, of one model.
struct CacheSettings {
  CacheKind kind = CacheKind::kOff;
  HashKind hash = HashKind::kDct;  // kPerceptual
  // Bits that may differ (kPerceptual), or 1 - cosine (kEmbedding).
  double radius = 0;
  int64_t ttl_us = int64_t{3600} * 1'000'000;
  size_t max_bytes = size_t{64} << 20;
  size_t max_entries = 100'000;
  std::string embedder;  // kEmbedding: the served model that gives embeddings

  bool operator==(const CacheSettings&) const = default;
};

class ModelCache {
 public:
  ModelCache(const CacheSettings& settings, std::shared_ptr<CacheStore> store, const Clock& clock)
      : settings_(settings), results_(std::move(store), {.clock = &clock}) {}

  const CacheSettings& settings() const { return settings_; }
  ResultCache& results() { return results_; }
  const ResultCache& results() const { return results_; }

  // Whether pictures that look like this are compared: PDQ's authors take none of low quality for a
  // match.
  bool IsComparable(const PictureLook& look) const;

  // The answer of the nearest picture of that scope within the radius, or `compute`'s, which is kept
  // and compared from then on. Pictures of the same look are computed once. As ResultCache::Get().
  // The cache outlives its callers.
  void GetAlike(const CacheKey& scope, PictureLook look, ResultCache::Compute compute,
                ResultCache::Done done, int64_t deadline_us = 0);

  size_t looks() const { return index_.size(); }
  size_t look_bytes() const { return index_.bytes(); }

 private:
  const CacheSettings settings_;
  NearIndex index_{{}};
  ResultCache results_;
};

}  // namespace sightline::serve
