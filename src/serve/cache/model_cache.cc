#include "serve/cache/model_cache.h"

#include <utility>

namespace sightline::serve {
namespace {

CacheKey KeyOf(const CacheKey& scope, const PictureLook& look) {
  CacheKeyHasher hasher;
  hasher.Add(std::string_view("look")).Add(scope).Add(look.hash.bits);
  for (const uint64_t word : look.hash.words) hasher.Add(word);
  hasher.Add(std::string_view(reinterpret_cast<const char*>(look.embedding.data()),
                              look.embedding.size() * sizeof(float)));
  return hasher.Finish();
}

}  // namespace

std::string_view ToString(CacheKind kind) {
  switch (kind) {
    case CacheKind::kOff:
      return "off";
    case CacheKind::kExact:
      return "exact";
    case CacheKind::kPerceptual:
      return "perceptual";
    case CacheKind::kEmbedding:
      return "embedding";
  }
  return "";
}

bool ModelCache::IsComparable(const PictureLook& look) const {
  if (!look.embedding.empty()) return true;
  return look.hash.bits > 0 &&
         (look.hash.bits != BitsOf(HashKind::kPdq) || look.hash.quality >= kLeastPdqQuality);
}

void ModelCache::GetAlike(const CacheKey& scope, PictureLook look, ResultCache::Compute compute,
                          ResultCache::Done done, int64_t deadline_us) {
  const CacheHit kind = look.embedding.empty() ? CacheHit::kPerceptual : CacheHit::kEmbedding;
  const CacheKey key = KeyOf(scope, look);
  const auto near = index_.Nearest(scope, look, settings_.radius);
  auto go_on = [this, scope, look = std::move(look), key, kind, deadline_us,
                compute = std::move(compute)](ResultCache::Done answer) mutable {
    results_.Get(
        key, std::move(compute),
        [this, scope, look = std::move(look), key,
         answer = std::move(answer)](absl::StatusOr<CachedAnswer>&& result) {
          if (result.ok() && result->hit == CacheHit::kNone) index_.Add(scope, look, key);
          answer(std::move(result));
        },
        deadline_us, kind);
  };
  if (!near) return go_on(std::move(done));
  results_.Find(near->key, kind,
                [this, near = *near, kind, go_on = std::move(go_on),
                 done = std::move(done)](CachedBytes bytes) mutable {
                  if (bytes != nullptr) {
                    return done(CachedAnswer{std::move(bytes), kind, near.distance});
                  }
                  index_.Erase(near.key);
                  go_on(std::move(done));
                });
}

}  // namespace sightline::serve
